"""Tikhonov's penalty."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.nn.weights import weights_of
from isthmus.part import Penalty
from isthmus.types import Noise, Trace

__all__ = ["L2Weights"]


class L2Weights(Penalty):
    """λ ‖W‖², a scalar over all weight matrices; biases and normalisation gains are excluded.

    Its gradient is 2λW, so a step of gradient descent is W ← W − η (∂Loss/∂W + 2λW). Many texts write
    λ/2 ‖W‖²: halve their λ.

    Parameters
    ----------
    weight : float
        λ.
    """

    formula: ClassVar[str] = "λ Σ W²"

    def __init__(self, weight: float = 1e-4) -> None:
        super().__init__(weight)

    def forward(self, trace: Trace, model: nn.Module, noise: Noise = torch.randn_like) -> Tensor:
        return torch.stack([weight.square().sum() for weight in weights_of(model)]).sum()
