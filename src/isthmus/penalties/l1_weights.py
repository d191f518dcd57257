"""LASSO's penalty."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.checks import instance, number
from isthmus.nn.weights import weights_of
from isthmus.part import Penalty
from isthmus.types import Noise, Trace

__all__ = ["L1Weights"]


class L1Weights(Penalty):
    """λ Σ |W|, a scalar over all weight matrices; biases are excluded.

    Its subgradient is λ sign(W), zero at zero: W ← W − η (∂Loss/∂W + λ sign(W)). Such a step hovers
    round zero and never rests there; with ``proximal=True`` the penalty adds no gradient, and after
    each step W ← sign(W) max(|W| − ηλ, 0) instead (ISTA, Daubechies et al. 2004), so that weights
    reach exact zero. With Adam the threshold is ηλ too, not rescaled by the second moment.

    Parameters
    ----------
    weight : float
        λ.
    proximal : bool
        Soft-threshold after the step, in place of the subgradient.
    """

    formula: ClassVar[str] = "λ Σ |W|"
    allowed: ClassVar = {"weight": number(0), "proximal": instance(bool, "True or False")}

    def __init__(self, weight: float = 1e-4, proximal: bool = False) -> None:
        super().__init__(weight)
        self.proximal = proximal
        self._punished: list[Tensor] = []

    def forward(self, trace: Trace, model: nn.Module, noise: Noise = torch.randn_like) -> Tensor:
        weights = [weight.detach() if self.proximal else weight for weight in weights_of(model)]
        return torch.stack([weight.abs().sum() for weight in weights]).sum()

    def attach(self, model: nn.Module) -> None:
        self._punished = weights_of(model)

    @torch.no_grad()
    def after_step(self, learning_rate: float) -> None:
        """The proximal step."""
        if self.proximal:
            threshold = learning_rate * float(self.strength)
            for weight in self._punished:
                weight.copy_(torch.nn.functional.softshrink(weight, threshold))
