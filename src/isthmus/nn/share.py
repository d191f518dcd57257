"""A batch whose rows are shared out, over processes or over parts of a step, and what makes the shares one batch again.

Outside of `sharing` everything here is what it is for a batch in one piece: a sum over one, a draw for its own rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from isthmus.types import Batch, Noise

__all__ = ["Share", "all_rows", "by_rows", "drawn", "n_rows", "own_rows", "reduce", "sharing"]

Sum = Callable[[Tensor], Tensor]


class Share(NamedTuple):
    """Rows ``start`` … ``stop`` − 1 of a batch of ``n``, whose statistics are taken over ``first`` … ``last`` − 1.

    A share without a row, of which there are some where the rows are fewer than the processes, takes row ``first``
    with weight zero, so that every process runs the same operations.

    ``among`` says how many processes share the rows, and ``sum`` adds tensors over them, with a gradient.
    """

    start: int
    stop: int
    first: int
    last: int
    n: int
    among: int = 1
    sum: Sum = lambda values: values

    @property
    def held(self) -> int:
        """Rows that the share's batch has."""
        return max(1, self.stop - self.start)

    def own(self, rows: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """The share's of the batch's rows ``first`` … ``last`` − 1; where each stands for several, all of those."""
        times = len(rows) // ((self.n if last is None else last) - first)
        start = (self.start if self.stop > self.start else self.first) - first
        return rows[start * times : (start + self.held) * times]

    def weighed(self, mine: Batch) -> Batch:
        """The share's batch, with weights where a process has no row."""
        if self.last - self.first >= self.among:
            return mine
        weight = mine.weight if mine.weight is not None else torch.ones(self.held, device=mine.x.device)
        return mine._replace(weight=weight * (self.stop > self.start))


_SHARE: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """What runs inside sees these rows of a batch, and its statistics are those of the whole batch."""
    token = _SHARE.set(share)
    try:
        yield
    finally:
        _SHARE.reset(token)


def reduce(values: Tensor) -> Tensor:
    """The sum over all processes of what each computed from its rows, with its gradient."""
    share = _SHARE.get()
    return values if share is None else share.sum(values)


def n_rows(values: Tensor) -> int:
    """How many rows (the first axis) all processes have together."""
    share = _SHARE.get()
    return len(values) if share is None else len(values) // share.held * (share.last - share.first)


def all_rows(values: Tensor) -> Tensor:
    """The rows of all processes in the order of the batch, without a gradient."""
    share = _SHARE.get()
    if share is None:
        return values
    times = len(values) // share.held
    whole = values.new_zeros((share.last - share.first) * times, *values.shape[1:])
    start, stop = share.start - share.first, share.stop - share.first
    whole[start * times : stop * times] = values[: (stop - start) * times].detach()
    return share.sum(whole)


def own_rows(values: Tensor) -> Tensor:
    """This process's of what `all_rows` gives."""
    share = _SHARE.get()
    return values if share is None else share.own(values, share.first, share.last)


def drawn(like: Tensor, draw: Noise) -> Tensor:
    """``draw(like)``; of a share, its rows of what is drawn for the whole batch.

    So what a row gets depends on the seed, the step and the row's place in the batch, not on who computes it. Every
    share draws for all rows.
    """
    share = _SHARE.get()
    if share is None or len(like) % share.held:
        return draw(like)
    shape = (len(like) // share.held * share.n, *like.shape[1:])
    return share.own(draw(_like(like, shape)))


def _like(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """An empty tensor of that shape whose rows lie in memory as those of ``like``, since draws follow memory."""
    rows_first = like.stride(0) >= max(like.stride(), default=0)
    return like.new_empty_strided(shape, like.stride()) if rows_first else like.new_empty(shape)


def by_rows(noise: Noise = torch.randn_like) -> Noise:
    """The noise, drawn for the whole batch and cut to the share's rows."""
    return lambda like: drawn(like, noise)
