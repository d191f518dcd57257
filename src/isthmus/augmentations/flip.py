"""Mirror images."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.checks import number
from isthmus.part import Augmentation

__all__ = ["Flip"]


class Flip(Augmentation):
    """Mirrors each axis of positions by itself with probability p.

    Parameters
    ----------
    p : float
        Probability in [0, 1].
    """

    formula: ClassVar[str] = "cᵢ ← sᵢ − 1 − cᵢ with probability p, axis by axis; s the patch's size"
    allowed: ClassVar = {"p": number(0, 1)}

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def place(self, coordinates: Tensor, generator: torch.Generator) -> Tensor:
        batch, *size, dims = coordinates.shape
        flipped = torch.rand(batch, *[1] * len(size), dims, generator=generator) < self.p
        sign, shift = 1 - 2 * flipped.long(), flipped * (torch.tensor(size) - 1)
        return coordinates * sign.to(coordinates) + shift.to(coordinates)
