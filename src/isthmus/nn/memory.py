"""What the steps of a decoder attend to, kept once for all the rows that read it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["together", "which_memories"]


def which_memories(rows: Tensor, n_memories: int, readers: int) -> tuple[Tensor | None, int]:
    """The memories that the selected rows read, and how many neighbours read each; None: all of them, in order.

    ``readers`` neighbours share a memory so far. The beams of a sentence do; rows in a mixed order get one each.
    """
    of_row = rows // readers
    memories, counts = of_row.unique_consecutive(return_counts=True)
    if len(rows) == 0 or not bool((counts == counts[0]).all()):
        return of_row, 1
    as_they_are = len(memories) == n_memories and torch.equal(memories, torch.arange(n_memories, device=rows.device))
    return None if as_they_are else memories, int(counts[0])


def together(x: Tensor, readers: int) -> Tensor:
    """``(B, T, H)`` as ``(B / readers, readers T, H)``: neighbours that share a memory are queries to it."""
    return x if readers == 1 else x.reshape(-1, readers * x.shape[1], x.shape[2])
