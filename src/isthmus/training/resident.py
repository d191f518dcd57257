"""Data that fit in memory: one tensor a field, gathered a batch at a time by index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from isthmus.types import Batch

__all__ = ["Resident", "Sampler", "content_order"]


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
        stop = self.cursor + self.batch_size
        if stop <= len(self.order):
            chosen = self.order[self.cursor : stop]
        else:
            rest = self.order[self.cursor :]
            self.order = torch.randperm(self.n_rows, generator=self.generator)
            stop = self.batch_size - len(rest)
            chosen = torch.cat([rest, self.order[:stop]]) if len(rest) else self.order[:stop]
        self.cursor = stop
        return chosen

    def state_dict(self) -> dict[str, Any]:
        """Where in which permutation the stream stands."""
        return {"order": self.order, "cursor": self.cursor, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.order, self.cursor = state["order"], state["cursor"]
        self.generator.set_state(state["generator"])


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

    def __init__(self, rows: Batch, batch_size: int, seed: int) -> None:
        self.rows = rows
        self.sampler = Sampler(len(rows.x), batch_size, seed)

    def __len__(self) -> int:
        return len(self.rows.x)

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch."""
        return self.sampler.steps_per_epoch

    def next(self) -> Batch:
        """The next training batch."""
        return self.take(self.sampler.next())

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


def content_order(x: Tensor) -> Tensor:
    """An order of the rows that depends on their content alone: sorted by a fixed random projection.

    With it the same rows in another order give the same model, bit for bit, and a row of weight two
    is the row given twice. Equal rows have equal keys, so their order among themselves is no matter.
    """
    flat = x.reshape(len(x), -1)
    direction = torch.randn(flat.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keys = torch.cat([chunk.double() @ direction for chunk in flat.split(4096)])
    return keys.argsort(stable=True)
