"""Training batches of several models as one, gathered at once from the rows that they share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from isthmus.training.resident import Resident
from isthmus.types import Batch

__all__ = ["Feed", "padded"]

AHEAD = 2**20
"""Bytes that are gathered together."""


class Feed:
    """The next batch of each slot, stacked ``(slots, batch, …)``, each in the order of its own source.

    Parameters
    ----------
    sources : sequence of Resident
        All that will sit in a slot. Those of the same rows share them.
    n_slots : int
    size : int or None
        Batches are padded to so many rows, with a weight of zero.
    """

    def __init__(self, sources: Sequence[Resident], n_slots: int, size: int | None = None) -> None:
        self._pads = size is not None
        self.size = sources[0].sampler.batch_size if size is None else size
        pools = {id(source.rows.x): source.rows for source in sources}
        if self._pads:
            pools = {key: weighted(rows) for key, rows in pools.items()}
        fields = zip(*pools.values(), strict=True)
        self._rows = Batch(*[None if some[0] is None else torch.cat(some) for some in fields])  # type: ignore[arg-type]
        lengths = [len(rows.x) for rows in pools.values()]
        self._starts = dict(zip(pools, [sum(lengths[:i]) for i in range(len(lengths))], strict=True))
        bytes_a_step = n_slots * self.size * sum(field[0].nbytes for field in self._rows if field is not None)
        self._ahead = self._at = max(1, AHEAD // bytes_a_step)
        self._sources: list[Resident | None] = [None] * n_slots
        self._order = torch.zeros(self._ahead, n_slots, self.size, dtype=torch.int64)
        self._real = torch.ones(n_slots, self.size)
        self._block = self._gathered(self._order)

    def seat(self, slot: int, source: Resident | None) -> None:
        """From now on the slot has batches of this source; None: it keeps what it had, which nobody reads."""
        self._sources[slot] = source
        if source is None:
            return
        self._real[slot] = (torch.arange(self.size) < source.sampler.batch_size).to(self._real.dtype)
        rest = slice(self._at, self._ahead)
        if self._at < self._ahead:
            self._draw(slot, self._at)
            for field, new in zip(self._block, self._gathered(self._order[rest]), strict=True):
                if field is not None and new is not None:
                    field[rest] = new

    def keep(self, slots: list[int]) -> None:
        """Go on with these slots alone."""
        self._sources = [self._sources[slot] for slot in slots]
        self._order, self._real = self._order[:, slots], self._real[slots]
        self._block = self._block.map(lambda field: field[:, slots])

    def like(self) -> Batch:
        """A batch of the shape of all others."""
        return self._block.map(lambda field: field[0])

    def next(self) -> Batch:
        """The next batch of all slots."""
        if self._at == self._ahead:
            for slot in range(len(self._sources)):
                self._draw(slot, 0)
            self._block, self._at = self._gathered(self._order), 0
        self._at += 1
        return self._block.map(lambda field: field[self._at - 1])

    def _draw(self, slot: int, start: int) -> None:
        """The order of a slot's batches from here to the end of the block."""
        if (source := self._sources[slot]) is None:
            return
        sampler = source.sampler
        batches = torch.stack([sampler.next() for _ in range(self._ahead - start)])
        missing = self.size - sampler.batch_size
        batches = torch.cat([batches, batches[:, :1].expand(-1, missing)], 1) if missing else batches
        self._order[start:, slot] = batches + self._starts[id(source.rows.x)]

    def _gathered(self, order: Tensor) -> Batch:
        batch = self._rows.map(lambda field: field.index_select(0, order.view(-1)).view(*order.shape, *field.shape[1:]))
        if not self._pads or batch.weight is None:
            return batch
        return batch._replace(weight=batch.weight * self._real.to(batch.weight.dtype))


def weighted(rows: Batch) -> Batch:
    """The rows with a weight each, 1 where they have none."""
    weight = rows.x.new_ones(len(rows.x)) if rows.weight is None else rows.weight
    return rows._replace(weight=weight)


def padded(batch: Batch, size: int) -> Batch:
    """The batch with rows of weight zero up to this size."""
    missing = size - len(batch.x)
    batch = weighted(batch).map(lambda field: torch.cat([field, field[:1].expand(missing, *field.shape[1:])]))
    assert batch.weight is not None
    batch.weight[size - missing :] = 0
    return batch
