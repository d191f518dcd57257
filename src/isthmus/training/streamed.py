"""Training batches from rows that are read in blocks, ahead of the step."""

from __future__ import annotations

from collections.abc import Callable
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

    Both windows are places in memory that are filled again and again: new ones for each would not be given back.

    Parameters
    ----------
    read : callable
        From where rows begin and end to the rows, scaled: ``(stop − start, …)``.
    sample : Batch
        Some rows, scaled, for what needs rows outside of training.
    sampler : BlockSampler
    """

    by_number = False

    def __init__(self, read: Callable[[int, int], Tensor], sample: Batch, sampler: BlockSampler) -> None:
        super().__init__(sample, sampler.batch_size, 0)
        self.read, self.sampler = read, sampler  # type: ignore[assignment]
        room = sampler.window * int((sampler.blocks[:, 1] - sampler.blocks[:, 0]).max())
        self.next_rows = sample.x.new_empty(room, *sample.x.shape[1:])
        self.rows_here = sample.x.new_empty(room + sampler.batch_size, *sample.x.shape[1:])
        self.ahead: Future[Tensor] | None = None
        # one thread, or else two teams of OpenMP would wait for each other's turn on the processor
        self.reader = ThreadPoolExecutor(1, "isthmus reader", torch.set_num_threads, (1,))
        self.fresh = True

    def next(self) -> Batch:
        """The next training batch: a view, good until the next window."""
        sampler: Any = self.sampler
        if self.fresh and len(sampler.ids):  # a run that goes on
            self._take_up(sampler.ids)
        self.fresh = False
        while sampler.cursor + sampler.batch_size > len(sampler.ids):
            self._advance()
        sampler.cursor += sampler.batch_size
        return Batch(self.rows_here[sampler.cursor - sampler.batch_size : sampler.cursor])

    def _advance(self) -> None:
        """The next window behind what is left of this one."""
        sampler: Any = self.sampler
        ids = self.ahead.result() if self.ahead is not None else self._window(sampler.planned())
        order = sampler.mixed(len(ids))
        left = len(sampler.ids) - sampler.cursor
        self.rows_here[:left] = self.rows_here[sampler.cursor : len(sampler.ids)].clone()
        into = self.rows_here[left : left + len(ids)]
        torch.index_select(self.next_rows[: len(ids)], 0, order.to(into.device), out=into)
        sampler.ids, sampler.cursor = torch.cat([sampler.ids[sampler.cursor :], ids[order]]), 0
        sampler.mark()
        self.ahead = self.reader.submit(self._window, sampler.planned())

    def close(self) -> None:
        """Read no more."""
        self.reader.shutdown(cancel_futures=True)

    def _window(self, blocks: Tensor) -> Tensor:
        """Fill the next window; which rows they are."""
        spans, place = [(int(start), int(stop)) for start, stop in blocks], 0
        for start, stop in spans:
            self.next_rows[place : place + stop - start] = self.read(start, stop)
            place += stop - start
        return torch.cat([torch.arange(*span) for span in spans])

    def _take_up(self, ids: Tensor) -> None:
        """The window of a run that goes on, read in runs of neighbours."""
        ordered, place = ids.sort()
        breaks = (ordered.diff() != 1).nonzero().flatten() + 1
        for run, where in zip(ordered.tensor_split(breaks), place.tensor_split(breaks), strict=True):
            self.rows_here[where.to(self.rows_here.device)] = self.read(int(run[0]), int(run[-1]) + 1)
