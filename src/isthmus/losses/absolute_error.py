"""Absolute error."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from isthmus.part import Loss
from isthmus.types import sum_features

__all__ = ["AbsoluteError"]


class AbsoluteError(Loss):
    """Σᵢ |x̂ᵢ − yᵢ| per sample, in scaled units; its optimum is the median, so outliers weigh less.

    It is −log of a Laplace density of scale 1 up to d·log 2, but claims no scale and so no likelihood.
    """

    formula: ClassVar[str] = "Σᵢ |x̂ᵢ − yᵢ|"

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return sum_features((output - target).abs(), mask)
