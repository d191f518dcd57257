"""The Bernoulli likelihood."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.part import Loss
from isthmus.types import Noise, sum_features

__all__ = ["BinaryCrossEntropy"]


class BinaryCrossEntropy(Loss):
    """−Σᵢ [yᵢ log pᵢ + (1 − yᵢ) log(1 − pᵢ)] per sample, in nats; the output holds the logits of p.

    Targets lie in [0, 1]. It counts as a likelihood; for values strictly between 0 and 1 it is one
    only up to a constant (Loaiza-Ganem & Cunningham 2019), so compare such numbers among themselves.
    """

    formula: ClassVar[str] = "−Σᵢ [yᵢ log pᵢ + (1 − yᵢ) log(1 − pᵢ)],  p = sigmoid(output)"
    is_likelihood: ClassVar[bool] = True
    bounds: ClassVar = (0.0, 1.0)

    def mean(self, output: Tensor) -> Tensor:
        return output.sigmoid()

    def sample(self, output: Tensor, noise: Noise = torch.randn_like) -> Tensor:
        uniform = torch.special.ndtr(noise(output))  # Φ of a standard normal draw
        return (uniform < self.mean(output)).to(output.dtype)

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return sum_features(F.binary_cross_entropy_with_logits(output, target, reduction="none"), mask)
