"""Data that fit in memory: one tensor a field, gathered a batch at a time by index."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from isthmus.nn.share import Share
from isthmus.types import Batch

__all__ = ["Resident", "Sampler", "batches_ahead", "content_order"]

AHEAD, CACHE_LINE = 2**18, 64
"""Bytes."""


class Sampler:
    """Batches of row numbers from an endless stream of permutations, a generator of its own.

    A batch is always full: an epoch is ceil(n / batch) batches, the last one wrapping into the next
    permutation.
    """

    def __init__(self, n_rows: int, batch_size: int, seed: int) -> None:
        self.n_rows = n_rows
        self.batch_size = min(batch_size, n_rows)
        self.steps_per_epoch = -(-n_rows // self.batch_size)
        self.generator = torch.Generator().manual_seed(seed)
        self.order = torch.arange(0)
        self.cursor = 0

    def next(self) -> Tensor:
        """The next batch's rows, ``(batch_size,)``."""
        start = self.advance()
        return self.order[start : start + self.batch_size]

    def advance(self) -> int:
        """Where in ``order`` the next batch begins; what is left of a permutation goes ahead of the next one."""
        if self.cursor + self.batch_size > len(self.order):
            permutation = torch.randperm(self.n_rows, generator=self.generator)
            self.order, self.cursor = torch.cat([self.order[self.cursor :], permutation]), 0
        self.cursor += self.batch_size
        return self.cursor - self.batch_size

    def state_dict(self) -> dict[str, Any]:
        """Where in which permutation the stream stands."""
        return {"order": self.order, "cursor": self.cursor, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.order, self.cursor = state["order"], state["cursor"]
        self.generator.set_state(state["generator"])


class _Block(NamedTuple):
    """The rows of some batches, gathered together: those of ``order`` from ``start``, as they were at ``versions``."""

    rows: Batch
    order: Tensor
    start: int
    versions: list[int]


class Resident:
    """All rows as one `Batch`, already scaled, and the sampler that orders them.

    Parameters
    ----------
    rows : Batch
        Every field ``(n, …)`` or None.
    batch_size : int
        At most n are taken.
    seed : int
        Of the order.
    """

    one_shape = True
    """Whether every training batch has the shape of the first."""
    by_number = True
    """Whether a batch is rows by their numbers and no more, so that some of it can be had without the rest."""

    def __init__(self, rows: Batch, batch_size: int, seed: int) -> None:
        self.rows = rows
        self.sampler = Sampler(len(rows.x), batch_size, seed)
        self._n_ahead = batches_ahead(rows, self.sampler.batch_size)
        self._block: _Block | None = None

    def __len__(self) -> int:
        return len(self.rows.x)

    @property
    def positions(self) -> int:
        """Of one row, padding counted; 1 in a table."""
        x = self.rows.x
        return math.prod(x.shape[1:-1] if x.is_floating_point() else x.shape[1:])  # a class is a position

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch."""
        return self.sampler.steps_per_epoch

    def next(self) -> Batch:
        """The next training batch: views of rows that are gathered some batches at a time."""
        start, order, size = self.sampler.advance(), self.sampler.order, self.sampler.batch_size
        versions, block = [field._version for field in self.rows if field is not None], self._block
        end = 0 if block is None else block.start + len(block.rows.x)
        if block is None or block.order is not order or block.versions != versions or start + size > end:
            gathered = self.take(order[start : start + self._n_ahead * size])
            block = self._block = _Block(gathered, order, start, versions)
        first = start - block.start
        return block.rows.map(lambda field: field[first : first + size])

    def next_shares(self, share_out: Callable[[int], list[Share]]) -> list[tuple[Share, Batch]]:
        """Of the next training batch, the rows of each share."""
        if self.by_number:
            index = self.sampler.next()
            return [(share, share.weighed(self.take(share.own(index)))) for share in share_out(len(index))]
        batch = self.next()
        return [(share, share.weighed(batch.map(share.own))) for share in share_out(len(batch.x))]

    def take(self, index: Tensor) -> Batch:
        """These rows."""
        index = index.to(self.rows.x.device)
        return self.rows.map(lambda field: field.index_select(0, index))

    def chunks(self, size: int) -> Iterator[Batch]:
        """All rows in order, at most ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.slice(start, start + size)

    def slice(self, start: int, stop: int) -> Batch:
        """Rows start … stop − 1, as views."""
        return self.rows.map(lambda field: field[start:stop])

    def first(self) -> Batch:
        """As many rows as a training batch, without moving the sampler."""
        return self.slice(0, self.sampler.batch_size)


def batches_ahead(rows: Batch, batch_size: int) -> int:
    """How many batches are gathered in one call, which costs more than the rows of a small table.

    One, where the view of a batch would begin off a cache line: that might change the bits of a product.
    """
    sizes = [batch_size * field[0].nbytes for field in rows if field is not None]
    return max(1, AHEAD // sum(sizes)) if all(size % CACHE_LINE == 0 for size in sizes) else 1


def content_order(x: Tensor) -> Tensor:
    """An order of the rows that depends on their content alone: sorted by a fixed random projection.

    With it the same rows in another order give the same model, bit for bit, and a row of weight two
    is the row given twice. Equal rows have equal keys, so their order among themselves is no matter.
    """
    flat = x.reshape(len(x), -1)
    direction = torch.randn(flat.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at_once = min(256, max(1, 2**20 // flat.shape[1]))  # small enough for the cache, or a picture
    keys = torch.cat([chunk.double() @ direction for chunk in flat.split(at_once)])
    return keys.argsort(stable=True)
