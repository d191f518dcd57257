"""Sparsity by the absolute value of the code."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.part import Penalty
from isthmus.types import Noise, Trace, sum_features

__all__ = ["L1Activity"]


class L1Activity(Penalty):
    """Σⱼ |zⱼ| per sample, over all units and unmasked positions.

    Parameters
    ----------
    weight : float
        λ.
    """

    formula: ClassVar[str] = "λ Σⱼ |zⱼ|"

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__(weight)

    def forward(self, trace: Trace, model: nn.Module, noise: Noise = torch.randn_like) -> Tensor:
        z = trace.latent.z
        return sum_features(z.abs(), trace.latent.bypass.mask if z.dim() > 2 else None)
