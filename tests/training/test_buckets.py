"""Batches of sequences: every row once a pass, little padding, an order of the seed's, exactly resumable."""

from __future__ import annotations

import pytest
import torch

from isthmus.training.buckets import Buckets
from isthmus.types import Batch

N = 500


def rows(n=N, seed=0, longest=40):
    """Pairs whose lengths go together, as those of translations do; what stands there is the row's number."""
    generator = torch.Generator().manual_seed(seed)
    x_length = torch.randint(3, longest, (n,), generator=generator)
    y_length = (x_length + torch.randint(-2, 3, (n,), generator=generator)).clamp(1, longest)
    masks = [torch.arange(longest) < length[:, None] for length in (x_length, y_length)]
    number = torch.arange(n)[:, None].expand(n, longest)
    return Batch(number * masks[0], number * masks[1], *masks, weight=torch.arange(n).float())


def passes(source, n_passes=1):
    """The rows of each batch of so many passes."""
    found, seen = [], 0
    while seen < n_passes * len(source):
        found.append(source.next())
        seen += len(found[-1].x)
    return found


@pytest.mark.parametrize("batch_tokens", [None, 64, 400])
def test_every_row_comes_once_a_pass(batch_tokens):
    source = Buckets(rows(), 32, 0, batch_tokens)
    for _ in range(3):
        numbers = torch.cat([batch.weight for batch in passes(source)])
        assert sorted(numbers.tolist()) == list(range(N))


def test_a_batch_is_cut_to_its_longest_and_its_fields_agree():
    for batch in passes(Buckets(rows(), 32, 0, 200)):
        assert batch.x.shape[1] == int(batch.x_mask.sum(1).max())
        assert batch.y.shape[1] == int(batch.y_mask.sum(1).max())
        assert len(batch.x) * max(batch.x.shape[1], batch.y.shape[1]) <= 200
        assert torch.equal(batch.x.amax(1).float(), batch.weight)
        assert torch.equal(batch.y.amax(1).float(), batch.weight)


def test_little_is_padding():
    source = Buckets(rows(5000), 64, 0, 1024)
    batches = passes(source)
    real = sum(int(batch.x_mask.sum() + batch.y_mask.sum()) for batch in batches)
    assert 1 - real / sum(batch.x.numel() + batch.y.numel() for batch in batches) < 0.05


def test_the_order_is_the_seeds_and_changes_from_pass_to_pass():
    one, same, other = (Buckets(rows(), 32, seed) for seed in (0, 0, 1))
    first, again, third = ([batch.weight.tolist() for batch in passes(source, 2)] for source in (one, same, other))
    assert first == again != third
    assert first[: len(first) // 2] != first[len(first) // 2 :]


def test_goes_on_where_it_stood():
    one, other = Buckets(rows(), 32, 0, 300), Buckets(rows(), 32, 0, 300)
    for _ in range(7):
        one.next()
    other.sampler.load_state_dict(one.sampler.state_dict())
    for _ in range(2 * one.steps_per_epoch):
        assert torch.equal(one.next().weight, other.next().weight)


def test_chunks_hold_every_row():
    source = Buckets(rows(), 32, 0)
    assert sorted(torch.cat([batch.weight for batch in source.chunks(64)]).tolist()) == list(range(N))


def test_series_without_targets_or_masks():
    x = torch.randn(20, 7, 3)
    source = Buckets(Batch(x), 8, 0)
    assert source.steps_per_epoch == 3
    batch = source.next()
    assert batch.y is None
    assert batch.x.shape[1:] == (7, 3)


def test_a_row_longer_than_the_limit_comes_alone():
    source = Buckets(rows(20), 8, 0, batch_tokens=5)
    assert all(len(batch.x) == 1 or batch.x.shape[1] * len(batch.x) <= 5 for batch in passes(source))
