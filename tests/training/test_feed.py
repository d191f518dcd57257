"""Batches of several sources as one: each in its own order, padded, seated and left at any time."""

import torch

from isthmus.training import feed
from isthmus.training.feed import Feed, padded
from isthmus.training.resident import Resident
from isthmus.types import Batch


def source(n=10, batch_size=4, seed=0, offset=0, weight=None):
    x = torch.arange(offset, offset + 2.0 * n).view(n, 2)
    return Resident(Batch(x, y=x[:, :1] + 0.5, weight=weight), batch_size, seed)


def assert_own_order(fed, slot, alone):
    expected = alone.next()
    size = len(expected.x)
    torch.testing.assert_close(fed.x[slot, :size], expected.x, rtol=0, atol=0)
    torch.testing.assert_close(fed.y[slot, :size], expected.y, rtol=0, atol=0)


def test_each_slot_has_the_order_of_its_source(monkeypatch):
    monkeypatch.setattr(feed, "AHEAD", 3 * 2 * 4 * 12)  # three steps of two slots are gathered together
    first, second = source(), source(n=7, seed=1, offset=100)
    fed = Feed([first, second], 2)
    fed.seat(0, first)
    fed.seat(1, second)
    alone = [source(), source(n=7, seed=1, offset=100)]
    for _ in range(8):
        batch = fed.next()
        for slot in (0, 1):
            assert_own_order(batch, slot, alone[slot])


def test_a_place_that_is_taken_later_begins_at_the_beginning(monkeypatch):
    monkeypatch.setattr(feed, "AHEAD", 4 * 2 * 4 * 12)
    sources = [source(seed=seed) for seed in range(3)]
    fed = Feed(sources, 2)
    fed.seat(0, sources[0])
    fed.seat(1, sources[1])
    alone = [source(seed=seed) for seed in range(3)]
    for _ in range(2):
        assert_own_order(fed.next(), 0, alone[0])
    fed.seat(1, None)
    fed.seat(1, sources[2])
    for _ in range(2):
        batch = fed.next()
        assert_own_order(batch, 0, alone[0])
        assert_own_order(batch, 1, alone[2])
    fed.keep([1])
    for _ in range(5):
        assert_own_order(fed.next(), 0, alone[2])


def test_equal_rows_are_held_once():
    one = source()
    other = Resident(one.rows, 4, 1)
    assert len(Feed([one, other], 2)._rows.x) == 10


def test_smaller_batches_are_padded_with_rows_of_weight_zero():
    weight = torch.arange(1.0, 9)
    small, large = source(n=8, batch_size=20, weight=weight), source(n=9, batch_size=20)
    fed = Feed([small, large], 2, size=9)
    fed.seat(0, small)
    fed.seat(1, large)
    batch = fed.next()
    assert batch.x.shape == (2, 9, 2)
    assert batch.weight[0].tolist() == [*source(n=8, batch_size=20, weight=weight).next().weight.tolist(), 0.0]
    assert batch.weight[1].tolist() == [1.0] * 9


def test_padding_by_hand():
    batch = padded(Batch(torch.tensor([[1.0], [2.0]])), 4)
    assert batch.x.tolist() == [[1.0], [2.0], [1.0], [1.0]]
    assert batch.weight.tolist() == [1.0, 1.0, 0.0, 0.0]
