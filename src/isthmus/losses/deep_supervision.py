"""A loss at several levels of a decoder."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from isthmus.checks import instance, integer
from isthmus.losses.sum_loss import SumLoss
from isthmus.part import Loss
from isthmus.types import Noise, Space

__all__ = ["DeepSupervision"]


class DeepSupervision(Loss):
    """Σₗ 2⁻ˡ loss(outputₗ) / Σₗ 2⁻ˡ over the levels l = 0, 1, … of the decoder, the finest first.

    For ``UNetDecoder(deep_supervision=levels)``, whose output holds the levels' predictions beside one
    another on the last axis; the prediction is the finest (Lee et al. 2015; the weights are those of
    Isensee et al. 2021). Where we differ: coarse predictions are enlarged to the target, not the
    target reduced to them.

    Parameters
    ----------
    loss : Loss, optional
        Of each level; None is `SumLoss`.
    levels : int
    """

    formula: ClassVar[str] = "Σₗ 2⁻ˡ loss(outputₗ) / Σₗ 2⁻ˡ"
    allowed: ClassVar = {"loss": instance((Loss, type(None)), "a loss"), "levels": integer(1)}

    def __init__(self, loss: Loss | None = None, levels: int = 2) -> None:
        super().__init__()
        self.loss = loss
        self.levels = levels

    @property
    def each(self) -> Any:
        """The loss of a level: as built, or as given."""
        return self.built_loss if self.out is not None else self.loss or SumLoss()

    @property
    def bounds(self) -> tuple[float, float] | None:  # type: ignore[override]
        """Those of the loss of a level."""
        return self.each.bounds

    @property
    def whole(self) -> bool:  # type: ignore[override]
        """Whether the loss of a level asks for whole numbers."""
        return self.each.whole

    def build(self, space: Space) -> Self:
        self.out = None
        self.check()
        self.built_loss = self.each.build(space)
        return super().build(space)

    def output_shape(self, target: Space) -> Space:
        *positions, width = self.each.output_shape(target).shape
        return Space((*positions, width and width * self.levels))

    def mean(self, output: Tensor) -> Tensor:
        return self.each.mean(output.chunk(self.levels, -1)[0])

    def sample(self, output: Tensor, noise: Noise = torch.randn_like) -> Tensor:
        return self.each.sample(output.chunk(self.levels, -1)[0], noise)

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        shares = [2.0**-level for level in range(self.levels)]
        values = [
            share / sum(shares) * self.each(level, target, mask)
            for share, level in zip(shares, output.chunk(self.levels, -1), strict=True)
        ]
        return torch.stack(values).sum(0)  # (levels, B) → (B,)
