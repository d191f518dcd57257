"""Affine scalers: they differ in the statistics only."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor

from isthmus.nn.statistics import batch_mean, observed
from isthmus.part import Scaler
from isthmus.types import Space, sum_features

__all__ = ["AutoScaler", "MinMaxScaler", "StandardScaler", "UnitScaler"]

LEAST_DEVIATION = 0.05
LEAST_RANGE = 0.5
"""Of a column that is learnt as it is beside standardised ones."""


class _Affine(Scaler):
    """scaled = (x − shift) / scale, by the last axis.

    Both are held in float64, so that large offsets (a time in seconds) lose no digits before the
    network's float32.
    """

    shift: Tensor
    scale: Tensor

    def build(self, space: Space) -> Self:
        super().build(space)
        space = Space.of(space)
        width = 1 if space.classes is not None else space.shape[-1] or 1
        self.register_buffer("shift", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(width, dtype=torch.float64))
        return self

    @abstractmethod
    def statistics(self, x: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """shift and scale of the columns of ``(n, width)``, in float64."""

    def fit(self, x: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Self:
        shift, scale = self.statistics(*observed(x, mask, weight))
        spread = (scale > 1e-12 * shift.abs()) & scale.isfinite()  # else constant, rounding alone, or an overflow
        self.shift.copy_(shift)
        self.scale.copy_(torch.where(spread, scale, 1.0))
        return self

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return (x - self.shift) / self.scale, mask

    def inverse(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)

    def log_volume(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return sum_features((-self.scale.log()).expand_as(x), mask)


class UnitScaler(_Affine):
    """The data as they are (``scale=None``): shift 0 and scale 1."""

    formula: ClassVar[str] = "x"

    def statistics(self, x: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x[0]), torch.ones_like(x[0])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return x, mask

    def inverse(self, x: Tensor) -> Tensor:
        return x


class StandardScaler(_Affine):
    """(x − mean) / deviation of each column (of the last axis); constant columns are only centred."""

    formula: ClassVar[str] = "(x − mean) / std"

    def statistics(self, x: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if weight is None:
            return x.mean(0), x.std(0, correction=0)
        mean = batch_mean(x, weight)
        return mean, batch_mean((x - mean).square(), weight).sqrt()


class MinMaxScaler(_Affine):
    """(x − min) / (max − min) of each column, so that the training rows lie in [0, 1].

    Other rows may lie outside. A loss that asks for [0, 1] counts them as they are.
    """

    formula: ClassVar[str] = "(x − min) / (max − min)"

    def statistics(self, x: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        low, high = x.amin(0), x.amax(0)
        return low, high - low


class AutoScaler(StandardScaler):
    """What the data ask for.

    Images of bytes are divided by 255; sequences and images of real numbers are standardised a channel. A
    table's column that lies within [0, 1] is left as it is where it has a deviation of at least 0.05, or
    where at least half of its values are its lowest or its highest and those are 0.5 apart (an indicator, the
    background of a picture: rare values that would be many deviations away). Any other is standardised, since next to
    wider columns a network would hardly learn it.
    """

    formula: ClassVar[str] = "x/255 for bytes; x for wide or mostly constant columns in [0, 1]; else (x − mean) / std"

    def fit(self, x: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Self:
        super().fit(x, mask, weight)
        if x.dim() > 2 and x.dtype == torch.uint8:
            self.shift.fill_(0)
            self.scale.fill_(255)
        elif x.dim() == 2:
            columns, weight = observed(x, mask, weight)
            low, high = columns.amin(0), columns.amax(0)
            at_an_end = torch.maximum(*(batch_mean((columns == end).double(), weight) for end in (low, high)))
            rare = (at_an_end >= 0.5) & (high - low >= LEAST_RANGE)
            as_it_is = (low >= 0) & (high <= 1) & ((self.scale >= LEAST_DEVIATION) | rare)
            self.shift.masked_fill_(as_it_is, 0)
            self.scale.masked_fill_(as_it_is, 1)
        return self
