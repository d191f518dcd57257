"""The factor on the learning rate, step by step."""

import math

import pytest

from isthmus.errors import ParameterError
from isthmus.schedules import SCHEDULES, Constant, Cosine, Linear


def test_values_by_hand():
    assert [Constant().factor(i, 4) for i in range(4)] == [1, 1, 1, 1]
    assert [Linear().factor(i, 4) for i in range(4)] == [1, 0.75, 0.5, 0.25]
    assert [Linear(floor=0.2).factor(i, 4) for i in range(4)] == pytest.approx([1, 0.8, 0.6, 0.4])
    half = math.sqrt(0.5)
    assert [Cosine().factor(i, 4) for i in range(4)] == pytest.approx([1, (1 + half) / 2, 0.5, (1 - half) / 2])
    assert Cosine(floor=0.1).factor(2, 4) == pytest.approx(0.55)


@pytest.mark.parametrize("cls", SCHEDULES.values())
def test_a_warm_up_rises_and_then_the_decay_begins(cls):
    factors = [cls(warmup=0.25, floor=0.1).factor(i, 40) for i in range(40)]
    assert factors[:11] == pytest.approx([(i + 1) / 11 for i in range(11)])
    assert factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert all(0.1 <= factor <= 1 for factor in factors[10:])


@pytest.mark.parametrize("cls", SCHEDULES.values())
def test_arguments(cls):
    schedule = cls(0.1, 0.2)
    assert schedule.get_params() == {"warmup": 0.1, "floor": 0.2}
    assert schedule.set_params(warmup=0.3).warmup == 0.3
    with pytest.raises(ParameterError, match="has no parameter 'heat'"):
        schedule.set_params(heat=1)
    with pytest.raises(ParameterError, match="warmup must be"):
        cls(warmup=1.0).check()
