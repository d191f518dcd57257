"""Training batches from rows that are read in blocks, ahead of the step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from isthmus.training.resident import Resident
from isthmus.types import Batch

__all__ = ["BlockSampler", "Streamed"]


class BlockSampler:
    """An endless stream of windows of blocks: in each pass the blocks come in an order of their own.

    Rows are mixed within a window. What is left of one, less than a batch, goes ahead of the next, so that a batch
    is always full; an epoch is ceil(n / batch) batches.

    Parameters
    ----------
    blocks : Tensor
        ``(k, 2)``: where each begins and ends.
    window : int
        Blocks of a window.
    batch_size, seed : int
    """

    def __init__(self, blocks: Tensor, window: int, batch_size: int, seed: int) -> None:
        self.blocks, self.window = blocks, window
        self.n_rows = int((blocks[:, 1] - blocks[:, 0]).sum())
        self.batch_size = min(batch_size, self.n_rows)
        self.steps_per_epoch = -(-self.n_rows // self.batch_size)
        self.generator = torch.Generator().manual_seed(seed)
        self.turns, self.place = torch.arange(0), 0
        self.ids, self.cursor = torch.arange(0), 0
        self.mark()

    def planned(self) -> Tensor:
        """The blocks of the next window, ``(window, 2)``; the stream stands behind them then."""
        if self.place >= len(self.turns):
            self.turns, self.place = torch.randperm(len(self.blocks), generator=self.generator), 0
        chosen = self.blocks[self.turns[self.place : self.place + self.window]]
        self.place += self.window
        return chosen

    def mark(self) -> None:
        """Where a run that goes on would plan its next window, which may be read ahead of need."""
        self.marked = {"turns": self.turns, "place": self.place, "generator": self.generator.get_state()}

    def mixed(self, n: int) -> Tensor:
        """An order of n rows."""
        return torch.randperm(n, generator=self.generator)

    def state_dict(self) -> dict[str, Any]:
        """Where in which window the stream stands, and the rows of that window."""
        return {**self.marked, "ids": self.ids, "cursor": self.cursor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        for name in ("turns", "place", "ids", "cursor"):
            setattr(self, name, state[name])
        self.generator.set_state(state["generator"])
        self.mark()


class Streamed(Resident):
    """Rows that are read in windows, the next one while training goes on with this.

    Parameters
    ----------
    read : callable
        From where rows begin and end to the rows, scaled: ``(stop − start, …)``.
    sample : Batch
        Some rows, scaled, for what needs rows outside of training.
    sampler : BlockSampler
    """

    def __init__(self, read: Callable[[int, int], Tensor], sample: Batch, sampler: BlockSampler) -> None:
        super().__init__(sample, sampler.batch_size, 0)
        self.read, self.sampler = read, sampler  # type: ignore[assignment]
        self.rows_here: Tensor | None = None
        self.ahead: Future[tuple[Tensor, Tensor]] | None = None
        self.reader = ThreadPoolExecutor(1, "isthmus reader")

    def next(self) -> Batch:
        """The next training batch."""
        sampler: Any = self.sampler
        if self.rows_here is None and len(sampler.ids):  # a run that goes on
            self.rows_here = self._these(sampler.ids)
        while self.rows_here is None or sampler.cursor + sampler.batch_size > len(self.rows_here):
            self._advance()
        sampler.cursor += sampler.batch_size
        return Batch(self.rows_here[sampler.cursor - sampler.batch_size : sampler.cursor])

    def _advance(self) -> None:
        """The next window behind what is left of this one."""
        sampler: Any = self.sampler
        ids, rows = self.ahead.result() if self.ahead is not None else self._window(sampler.planned())
        order = sampler.mixed(len(ids))
        ids, rows = ids[order], rows.index_select(0, order.to(rows.device))
        if self.rows_here is not None and sampler.cursor < len(self.rows_here):
            ids = torch.cat([sampler.ids[sampler.cursor :], ids])
            rows = torch.cat([self.rows_here[sampler.cursor :], rows])
        sampler.ids, sampler.cursor, self.rows_here = ids, 0, rows
        sampler.mark()
        self.ahead = self.reader.submit(self._window, sampler.planned())

    def close(self) -> None:
        """Read no more."""
        self.reader.shutdown(cancel_futures=True)

    def _window(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        spans = [(int(start), int(stop)) for start, stop in blocks]
        return torch.cat([torch.arange(*span) for span in spans]), torch.cat([self.read(*span) for span in spans])

    def _these(self, ids: Tensor) -> Tensor:
        """These rows, read in runs of neighbours."""
        ordered, back = ids.sort()
        breaks = (ordered.diff() != 1).nonzero().flatten() + 1
        runs = ordered.tensor_split(breaks.tolist())
        rows = torch.cat([self.read(int(run[0]), int(run[-1]) + 1) for run in runs])
        return torch.empty_like(rows).index_copy_(0, back.to(rows.device), rows)

    def chunks(self, size: int) -> Iterator[Batch]:
        """All rows in order."""
        for start, stop in self.sampler.blocks.tolist():  # type: ignore[attr-defined]
            for first in range(start, stop, size):
                yield Batch(self.read(first, min(first + size, stop)))
