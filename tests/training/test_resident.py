"""Full batches from an endless stream of permutations."""

from __future__ import annotations

import torch
from hypothesis import given, settings, strategies as st

from isthmus.training.resident import Resident, Sampler, batches_ahead, content_order
from isthmus.types import Batch
from toys import randn


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 5))
def test_every_batch_is_full_and_every_row_comes_once_a_permutation(n, batch, seed):
    sampler = Sampler(n, batch, seed)
    batch = min(batch, n)
    assert sampler.steps_per_epoch == -(-n // batch)
    drawn = [sampler.next() for _ in range(3 * sampler.steps_per_epoch)]
    assert all(len(rows) == batch for rows in drawn)
    stream = torch.cat(drawn)
    for permutation in stream.split(n)[: len(stream) // n]:
        assert sorted(permutation.tolist()) == list(range(n))
    assert len(stream) // n >= 3


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 20))
def test_a_sampler_goes_on_from_where_it_stood(n, batch, moved):
    first, second = Sampler(n, batch, 1), Sampler(n, batch, 2)
    for _ in range(moved):
        first.next()
    state = first.state_dict()
    second.load_state_dict({**state, "order": state["order"].clone()})
    for _ in range(5):
        assert torch.equal(first.next(), second.next())


def test_the_seed_alone_decides_the_order():
    with torch.random.fork_rng():
        one, two, other = Sampler(50, 10, 1), Sampler(50, 10, 1), Sampler(50, 10, 2)
        torch.manual_seed(3)
        assert torch.equal(one.next(), two.next())
        assert not torch.equal(one.next(), other.next())


def test_rows_keep_together():
    rows = Batch(randn(7, 2), weight=torch.arange(7.0))
    source = Resident(rows, 3, 0)
    batch = source.next()
    assert torch.equal(batch.x, rows.x[batch.weight.long()])
    assert batch.y is None
    assert torch.equal(source.first().weight, torch.tensor([0.0, 1, 2]))
    assert [len(chunk.x) for chunk in source.chunks(3)] == [3, 3, 1]
    assert torch.equal(torch.cat([chunk.x for chunk in source.chunks(3)]), rows.x)


def test_the_content_alone_decides_the_content_order():
    x, shuffle = randn(30, 2, 3), torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(x[content_order(x)], x[shuffle][content_order(x[shuffle])])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.sampled_from([1, 3, 4, 16]), st.integers(0, 6))
def test_rows_gathered_ahead_are_those_of_the_sampler(n, batch, resumed_at):
    rows = Batch(torch.arange(16.0 * n).view(n, 16))
    source, plain = Resident(rows, batch, 0), Resident(rows, batch, 0)
    for i in range(3 * source.steps_per_epoch):
        if i == resumed_at:
            source = Resident(rows, batch, 5)
            source.sampler.load_state_dict(plain.sampler.state_dict())
        assert torch.equal(source.next().x, rows.x[plain.sampler.next()])


def test_rows_gathered_ahead_are_dropped_where_the_rows_are_written():
    source = Resident(Batch(torch.zeros(64, 16)), 4, 0)
    assert (source.next().x == 0).all()
    source.rows.x.fill_(1)
    assert (source.next().x == 1).all()


def test_only_whole_cache_lines_are_gathered_ahead():
    weight = torch.ones(64)
    assert batches_ahead(Batch(torch.zeros(64, 16)), 4) == 2**18 // 256
    assert batches_ahead(Batch(torch.zeros(64, 16), weight=weight), 16) == 2**18 // (1024 + 64)
    assert batches_ahead(Batch(torch.zeros(64, 16), weight=weight), 4) == 1  # 16 bytes of weights
    assert batches_ahead(Batch(torch.zeros(64, 5)), 4) == 1
    assert batches_ahead(Batch(torch.zeros(64, 10_000)), 16) == 1
