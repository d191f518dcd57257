"""The Poisson likelihood of counts."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from isthmus.part import Loss
from isthmus.types import Noise, sum_features

__all__ = ["PoissonNLL"]


class PoissonNLL(Loss):
    """Σᵢ [exp(oᵢ) − yᵢ oᵢ + log yᵢ!] per sample, in nats; the output o is the log of the rate.

    Targets are counts (not scaled): use ``scale=None``, which ``scale="auto"`` chooses for this loss.
    """

    formula: ClassVar[str] = "Σᵢ [λᵢ − yᵢ log λᵢ + log yᵢ!],  λ = exp(output)"
    is_likelihood: ClassVar[bool] = True
    bounds: ClassVar = (0.0, math.inf)
    whole: ClassVar[bool] = True

    def mean(self, output: Tensor) -> Tensor:
        return output.exp()

    def sample(self, output: Tensor, noise: Noise = torch.randn_like) -> Tensor:
        """A draw by inversion: the least k with P(y ≤ k) > Φ(noise), P by the incomplete gamma function."""
        uniform, rate = torch.special.ndtr(noise(output).double()), self.mean(output).double()
        low, high = torch.zeros_like(rate), (rate + 12 * (rate.sqrt() + 1)).ceil()
        for _ in range(int(math.log2(float(high.max()) + 1)) + 1):  # bisection: P(y ≤ k) = Q(k + 1, rate)
            middle = ((low + high) / 2).floor()
            above = torch.special.gammaincc(middle + 1, rate) > uniform
            low, high = torch.where(above, low, middle + 1), torch.where(above, middle, high)
        return high.to(output.dtype)

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return sum_features(output.exp() - target * output + torch.lgamma(target + 1), mask)
