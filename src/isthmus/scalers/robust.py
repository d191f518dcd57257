"""A scaler that outliers do not bend."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from isthmus.nn.statistics import observed, quantiles
from isthmus.part import Scaler
from isthmus.types import Space, sum_features

__all__ = ["RobustScaler"]

NORMAL_IQR = 1.349
"""The interquartile range of N(0, 1): with it ``scale`` is a normal column's deviation."""


class RobustScaler(Scaler):
    """scaled = asinh((x − median) / scale), scale = IQR / 1.349, for each column (of the last axis).

    Linear near the median and logarithmic far from it, so that a few extreme values neither set the
    scale nor rule the loss. A column whose quartiles agree takes its standard deviation, and a constant
    one takes 1. Median and quartiles have a breakdown point of one half and one quarter (Huber 1981);
    the asinh is that of Burbidge, Magee & Robb (1988). Held in float64.
    """

    formula: ClassVar[str] = "asinh((x − median) / (IQR / 1.349))"

    shift: Tensor
    scale: Tensor

    def build(self, space: Space) -> Self:
        super().build(space)
        space = Space.of(space)
        width = 1 if space.classes is not None else space.shape[-1] or 1
        self.register_buffer("shift", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(width, dtype=torch.float64))
        return self

    def fit(self, x: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Self:
        columns, weight = observed(x, mask, weight)
        values = columns.cpu().numpy()
        weights = None if weight is None else weight.cpu().numpy()
        low, median, high = quantiles(values, [0.25, 0.5, 0.75], weights)
        rounding = 1e-12 * np.abs(median)
        scale = (high - low) / NORMAL_IQR
        scale = np.where(scale > rounding, scale, _deviation(values, weights))
        self.shift.copy_(torch.from_numpy(median))
        self.scale.copy_(torch.from_numpy(np.where((scale > rounding) & np.isfinite(scale), scale, 1.0)))
        return self

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return ((x - self.shift) / self.scale).asinh(), mask

    def inverse(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x.double().sinh(), self.scale)

    def log_volume(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Σ −log scale − ½ log(1 + ((x − median) / scale)²)."""
        z = (x - self.shift) / self.scale
        return sum_features(-self.scale.log() - 0.5 * z.square().log1p(), mask)


def _deviation(values: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.sqrt(np.average((values - np.average(values, 0, weight)) ** 2, 0, weight))
