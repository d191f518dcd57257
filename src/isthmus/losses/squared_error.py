"""Squared error."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from isthmus.checks import choice, optional
from isthmus.part import Loss
from isthmus.types import sum_features

__all__ = ["SquaredError"]


class SquaredError(Loss):
    """Σᵢ (x̂ᵢ − yᵢ)² per sample, in squared scaled units. It is no likelihood: no ELBO.

    Parameters
    ----------
    link : {None, "sigmoid"}
        "sigmoid" keeps x̂ in (0, 1), for targets that must lie there.
    """

    formula: ClassVar[str] = "Σᵢ (x̂ᵢ − yᵢ)²"
    allowed: ClassVar = {"link": optional(choice(["sigmoid"]))}

    def __init__(self, link: str | None = None) -> None:
        super().__init__()
        self.link = link

    def mean(self, output: Tensor) -> Tensor:
        return output.sigmoid() if self.link == "sigmoid" else output

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return sum_features(F.mse_loss(self.mean(output), target, reduction="none"), mask)
