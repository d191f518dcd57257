"""Search and sampling, against sequences counted out one by one."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import pytest
import torch

from isthmus.nn.decoding import beam_search, drawn, likeliest, unrolled, write

K = 4  # classes 0 … 3; 4 ends, 5 begins
END, BEGIN = K, K + 1


class Past(NamedTuple):
    """The row of a table, and the classes so far."""

    row: torch.Tensor
    t: torch.Tensor

    def select(self, rows):
        return Past(self.row[rows], self.t[rows])


class Model:
    """log p of the next class from a random table of (row, time, previous class)."""

    def __init__(self, rows=3, length=4, seed=0, end=0.0):
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(rows, length + 1, K + 2, K + 1, generator=generator, dtype=torch.float64) * 1.5
        self.table[..., END] += end
        self.calls = 0

    def start(self, rows=3):
        return Past(torch.arange(rows), torch.zeros(rows, dtype=torch.long))

    def step(self, previous, state):
        self.calls += len(previous)
        return self.table[state.row, state.t, previous], state._replace(t=state.t + 1)

    def log_p(self, row, classes, ended=True):
        total, previous = 0.0, BEGIN
        for t, chosen in enumerate([*classes, END] if ended else classes):
            total += float(self.table[row, t, previous].log_softmax(-1)[chosen])
            previous = chosen
        return total


def everything(model, row, longest):
    """Every sequence of at most so many classes with its log p."""
    for length in range(longest + 1):
        for classes in itertools.product(range(K), repeat=length):
            yield list(classes), model.log_p(row, classes)


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_enough_beam_finds_the_best(seed, power):
    model = Model(seed=seed)
    found = beam_search(model.step, model.start(), 3, BEGIN, END, 4, beam_size=K**4, length_penalty=power, n_best=5)
    for row in range(3):
        worth = sorted(((v / ((6 + len(c)) / 6) ** power, c) for c, v in everything(model, row, 4)), reverse=True)
        assert [written.classes for written in found[row]] == [classes for _, classes in worth[:5]]
        for written in found[row]:
            assert written.log_probability == pytest.approx(model.log_p(row, written.classes))


def test_one_beam_is_greedy_where_greedy_ends():
    model = Model(rows=8, length=12, end=1.0)
    greedy = write(model.step, model.start(8), 8, BEGIN, END, 12)
    beams = beam_search(model.step, model.start(8), 8, BEGIN, END, 12, beam_size=1)
    for one, (other,) in zip(greedy, beams, strict=True):
        if len(one.classes) < 12:
            assert one.classes == other.classes
            assert one.log_probability == pytest.approx(other.log_probability)


def test_a_wider_beam_is_not_worse():
    model = Model(rows=20, length=8)
    worth = []
    for size in (1, 2, 4, 8, 32):
        found = beam_search(model.step, model.start(20), 20, BEGIN, END, 8, beam_size=size, length_penalty=0.0)
        worth.append(sum(written[0].log_probability for written in found))
    assert worth[-1] >= max(worth[:3])


def test_rows_do_not_see_one_another():
    model = Model(rows=6, length=6)
    together = beam_search(model.step, model.start(6), 6, BEGIN, END, 6, beam_size=3)
    for row in range(6):
        state = Past(torch.tensor([row]), torch.zeros(1, dtype=torch.long))
        (alone,) = beam_search(model.step, state, 1, BEGIN, END, 6, beam_size=3)
        assert alone[0].classes == together[row][0].classes


def test_what_has_ended_costs_nothing_more():
    model = Model(rows=3, length=30)
    model.table[..., END] = -50.0
    model.table[0, 2, :, END] = 50.0  # the first row ends after two classes, the others at the limit
    found = write(model.step, model.start(), 3, BEGIN, END, 30)
    assert [len(written.classes) for written in found] == [2, 30, 30]
    assert model.calls == 3 * 3 + 2 * 27


def test_lengths_are_kept():
    model = Model(rows=3, length=9, end=3.0)
    lengths = torch.tensor([9, 1, 4])
    found = write(model.step, model.start(), 3, BEGIN, END, 99, lengths=lengths)
    assert [len(written.classes) for written in found] == lengths.tolist()


def test_draws_have_the_probabilities():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, -2.0]])
    n = 20_000
    generator = torch.Generator().manual_seed(0)
    for arguments, kept in (
        ({}, 5),
        ({"temperature": 0.5}, 5),
        ({"top_k": 2}, 2),
        ({"top_p": 0.8}, 2),
        ({"top_p": 0.1}, 1),
        ({"top_p": 1e-300}, 1),  # each is 0 in 32 bits
        ({"temperature": 1e-300}, 1),
    ):
        p = (logits[0].double() / arguments.get("temperature", 1.0)).softmax(-1)
        p[kept:] = 0
        p = p / p.sum()
        found = drawn(generator, **arguments)(logits.expand(n, -1)).bincount(minlength=5) / n
        assert (found - p).abs().max() < 5 * math.sqrt(0.25 / n)
        assert (found[kept:] == 0).all()
    assert likeliest(logits).tolist() == [0]


def test_unrolled_reads_what_it_wrote():
    class Sum(NamedTuple):
        total: torch.Tensor

    def step(previous, state):
        state = Sum(state.total + previous)
        return state.total + 1, state

    outputs = unrolled(step, Sum(torch.zeros(2, 1)), torch.ones(2, 1), 4, lambda output: output * 0.5)
    assert outputs[0].flatten().tolist() == [2.0, 3.0, 4.5, 6.75]
