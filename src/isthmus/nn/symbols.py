"""What stands at a position of a sequence, as a vector: a class by a table, real numbers by a linear map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from isthmus.errors import ShapeError
from isthmus.nn.share import drawn
from isthmus.types import Latent, Seen, Space

__all__ = ["Symbols", "positions_to_write", "require_sequence", "without"]


class Symbols(nn.Module):
    """``(B, T)`` of classes or ``(B, T, D)`` of real numbers to ``(B, T, width)``.

    A vector has mean square 1 to begin with: the table's rows are N(0, 1/width), multiplied by √width
    (Vaswani et al. 2017).

    Parameters
    ----------
    space : Space
        Of one sequence.
    width : int
    extra : int
        Classes beside those of the space: what begins, ends or hides.
    word_dropout : float
        Share of the space's own classes that in training a blank, one more class, stands for (Bowman et al. 2016).
    """

    def __init__(self, space: Space, width: int, extra: int = 0, word_dropout: float = 0.0) -> None:
        super().__init__()
        self.scale = math.sqrt(width)
        self.classes, self.word_dropout = space.classes or 0, word_dropout
        self.blank = self.classes + extra
        self.table: nn.Embedding | nn.Linear
        if space.classes is not None:
            self.table = nn.Embedding(self.blank + (word_dropout > 0), width)
            nn.init.normal_(self.table.weight, std=1 / self.scale)
        else:
            self.table = nn.Linear(space.shape[-1] or 1, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.word_dropout > 0 and not x.is_floating_point():
            lost = drawn(x, lambda like: torch.rand(like.shape, device=like.device)) < self.word_dropout
            x = torch.where(lost & (x < self.classes), self.blank, x)
        vectors: Tensor = self.table(x)
        return vectors * self.scale if isinstance(self.table, nn.Embedding) else vectors


def require_sequence(owner: str, space: Space) -> None:
    """Raise `ShapeError` where a sample is no sequence: classes ``(T,)`` or real numbers ``(T, D)``."""
    axes = 1 if space.classes is not None else 2
    if len(space.shape) != axes or (space.classes is None and space.shape[-1] is None):
        raise ShapeError(
            f"{owner} needs sequences, (T,) of classes or (T, D) of real numbers, got {tuple(space.shape)}"
        )


def positions_to_write(latent: Latent, out: Space) -> int:
    """How many positions a decoder writes at once: its space's, or where that is free the mask's or the latent's."""
    if out.shape[0] is not None:
        return out.shape[0]
    if latent.bypass.mask is None and latent.z.dim() > 2:
        return latent.z.shape[1]
    if latent.bypass.mask is None:
        raise ShapeError("a decoder of free length must be told how many positions to write: give bypass.mask")
    return latent.bypass.mask.shape[1]


def without(seen: Seen, lost: Tensor) -> Seen:
    """The classes ``(B, T)`` with those at ``lost`` taken out; the others move up, and padding comes last."""
    mask = seen.bypass.mask
    mask = torch.ones_like(lost) if mask is None else mask
    kept = mask & ~lost
    order = (~kept).long().argsort(stable=True, dim=1)
    left = torch.arange(kept.shape[1], device=kept.device) < kept.sum(1, keepdim=True)
    x = seen.x.gather(1, order).masked_fill(~left, 0)
    return seen._replace(x=x, bypass=seen.bypass._replace(mask=left))
