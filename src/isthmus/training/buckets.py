"""Batches of sequences of like length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from isthmus.training.resident import Resident
from isthmus.types import Batch

__all__ = ["BucketSampler", "Buckets", "lengths_of"]

WIDTH = 0.1
"""Of a group of like targets, as a share of their median length; 2 positions at least."""


class BucketSampler:
    """An endless stream of batches of rows of like length; a generator of its own decides all of it.

    For each pass over the rows they are grouped by the target's length, sorted by the source's within a group,
    upwards and downwards in turn, cut into batches, and the batches shuffled. Where the groups begin and the
    order of equals are random. An epoch is as many batches as the first pass; a later one may have some more
    or fewer, so that it need not end with the epoch.

    Parameters
    ----------
    lengths : Tensor
        ``(n, k)``: of each row's sequences, the source's and the target's.
    batch_size : int
        Rows of a batch, where ``batch_tokens`` is not given.
    batch_tokens : int or None
        Positions of a batch at most, padding counted, of its longest kind of sequence. A row that is longer
        makes a batch alone.
    seed : int
    """

    def __init__(self, lengths: Tensor, batch_size: int, batch_tokens: int | None, seed: int) -> None:
        self.lengths, self.n_rows = lengths, len(lengths)
        self.batch_size, self.batch_tokens = min(batch_size, self.n_rows), batch_tokens
        self.generator = torch.Generator().manual_seed(seed)
        self.width = max(2, round(WIDTH * float(lengths[:, -1].float().median())))
        self._plan()
        self.steps_per_epoch = len(self.ends)

    def next(self) -> Tensor:
        """The next batch's rows."""
        if self.cursor == len(self.turns):
            self._plan()
        batch = int(self.turns[self.cursor])
        self.cursor += 1
        start = int(self.ends[batch - 1]) if batch else 0
        return self.order[start : int(self.ends[batch])]

    def _plan(self) -> None:
        """The batches of one pass, and their turns."""
        offset = int(torch.randint(self.width, (), generator=self.generator))
        group = (self.lengths[:, -1] + offset) // self.width
        place = self.lengths[:, 0] + torch.rand(self.n_rows, generator=self.generator, dtype=torch.float64)
        room = float(self.lengths[:, 0].max()) + 2
        self.order = (group * room + torch.where(group % 2 == 0, place, room - place)).argsort()
        self.ends = self._cut(self.order)
        self.turns = torch.randperm(len(self.ends), generator=self.generator)
        self.cursor = 0

    def _cut(self, order: Tensor) -> Tensor:
        """Where each batch of the sorted rows ends."""
        if self.batch_tokens is None:
            return torch.tensor([*range(self.batch_size, self.n_rows, self.batch_size), self.n_rows])
        ends, start, longest = [], 0, 0
        for place, length in enumerate(self.lengths.amax(1)[order].tolist()):
            grown = max(longest, length)
            if place > start and (place + 1 - start) * grown > self.batch_tokens:
                ends.append(place)
                start, grown = place, length
            longest = grown
        return torch.tensor([*ends, self.n_rows])

    def state_dict(self) -> dict[str, Any]:
        """Where in which pass the stream stands."""
        places = {name: getattr(self, name) for name in ("order", "ends", "turns", "cursor")}
        return {**places, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        for name in ("order", "ends", "turns", "cursor"):
            setattr(self, name, state[name])
        self.generator.set_state(state["generator"])


class Buckets(Resident):
    """Padded sequences in memory; a batch is cut to its longest.

    Parameters
    ----------
    rows : Batch
        x ``(n, T)`` or ``(n, T, D)`` and y, each with its mask where lengths differ; padding at the end.
    batch_size, batch_tokens, seed
        As in `BucketSampler`.
    """

    by_number = False

    def __init__(self, rows: Batch, batch_size: int, seed: int, batch_tokens: int | None = None) -> None:
        super().__init__(rows, batch_size, seed)
        fields = [(rows.x, rows.x_mask), *([] if rows.y is None else [(rows.y, rows.y_mask)])]
        self.lengths = torch.stack([lengths_of(field, mask) for field, mask in fields if field.dim() > 1], 1).cpu()
        self.sampler: Any = BucketSampler(self.lengths, batch_size, batch_tokens, seed)  # type: ignore[assignment]
        self.batch_tokens = batch_tokens
        ends, same = self.sampler.ends, bool((self.lengths == self.lengths[:1]).all())
        self.one_shape = same and len(ends.diff(prepend=ends.new_zeros(1)).unique()) == 1

    def next(self) -> Batch:
        """The next training batch."""
        return self.take(self.sampler.next())

    def take(self, index: Tensor) -> Batch:
        """These rows, cut to the longest of them."""
        x, y = (int(length) for length in self.lengths[index].amax(0)[[0, -1]])
        sizes = Batch(x, y, x, y)  # type: ignore[arg-type]
        index = index.to(self.rows.x.device)

        def cut(field: Tensor | None, size: Any) -> Tensor | None:
            if field is None:
                return None
            rows = field if size is None or field.dim() == 1 else field[:, :size]
            return rows.index_select(0, index)

        return Batch(*[cut(field, size) for field, size in zip(self.rows, sizes, strict=True)])  # type: ignore[arg-type]

    def chunks(self, size: int) -> Iterator[Batch]:
        """All rows, the shortest first, at most ``size`` at a time."""
        for index in self.lengths.sum(1).argsort(stable=True).split(size):
            yield self.take(index)

    def slice(self, start: int, stop: int) -> Batch:
        """Rows start … stop − 1."""
        return self.take(torch.arange(start, min(stop, len(self))))

    def first(self) -> Batch:
        """As many rows as a training batch may have, without moving the sampler."""
        return self.slice(0, self.sampler.batch_size)


def lengths_of(field: Tensor, mask: Tensor | None) -> Tensor:
    """Positions of each row that count, ``(n,)``."""
    if mask is None:
        return torch.full((len(field),), field.shape[1])
    return mask.sum(1)
