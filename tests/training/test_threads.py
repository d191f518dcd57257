"""The number of threads: chosen by shapes alone, and given back."""

import pytest
import torch
from torch import nn

from isthmus.training.threads import fitting_threads, is_small


@pytest.mark.parametrize(
    ("module", "batch_size", "small"),
    [
        (nn.Linear(64, 64), 255, True),
        (nn.Linear(64, 64), 256, False),
        (nn.Sequential(nn.Linear(30, 64), nn.Linear(64, 32)), 511, True),  # 64 · 32 · 511 < 64 · 64 · 256
        (nn.Sequential(nn.Linear(30, 64), nn.Linear(64, 32)), 512, False),
        (nn.Conv2d(1, 1, 3), 1, False),
    ],
)
def test_shapes_decide(module, batch_size, small):
    assert is_small(module, batch_size) is small


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_inside_and_two_again_outside(two_threads):
    with fitting_threads(nn.Linear(8, 8), 32):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_given_back_where_training_fails(two_threads):
    def fail():
        with fitting_threads(nn.Linear(8, 8), 32):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == 2


def test_a_large_network_keeps_its_threads(two_threads):
    with fitting_threads(nn.Linear(784, 400), 128):
        assert torch.get_num_threads() == 2
