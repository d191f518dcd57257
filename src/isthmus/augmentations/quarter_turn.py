"""Rotations that need no interpolation."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from isthmus.errors import ShapeError
from isthmus.part import Augmentation
from isthmus.types import Space

__all__ = ["QuarterTurn"]


class QuarterTurn(Augmentation):
    """Turns the last two axes of positions by 0°, 90°, 180° or 270°, each as likely.

    Where the two differ in length, by 0° or 180°. With `Flip` each of the eight symmetries of a square
    is as likely as the others.
    """

    formula: ClassVar[str] = "(r, c) ← (c, s − 1 − r), k times; k from {0, 1, 2, 3}, s the patch's size"

    def build(self, space: Space) -> Self:
        if len(Space.of(space).shape) < 3:
            raise ShapeError(f"QuarterTurn needs two axes of positions or more, got the shape {Space.of(space).shape}")
        return super().build(space)

    def place(self, coordinates: Tensor, generator: torch.Generator) -> Tensor:
        *outer, row, column = coordinates.unbind(-1)  # each (B, *size)
        batch, *_, height, width = row.shape
        step = 1 if height == width else 2
        turns = step * torch.randint(4 // step, (batch, *[1] * (row.dim() - 1)), generator=generator)
        turns = turns.to(row.device)
        odd = turns % 2 == 1
        row, column = torch.where(odd, column, row), torch.where(odd, row, column)
        row = torch.where(turns >= 2, height - 1 - row, row)
        column = torch.where((turns == 1) | (turns == 2), width - 1 - column, column)
        return torch.stack([*outer, row, column]).movedim(0, -1)
