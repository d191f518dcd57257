"""Sparsity of mean activations."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.checks import number
from isthmus.errors import ParameterError
from isthmus.nn.statistics import unit_means
from isthmus.part import Penalty
from isthmus.types import Noise, Trace

__all__ = ["KLSparsity"]


class KLSparsity(Penalty):
    """Σⱼ KL(ρ ‖ ρ̂ⱼ), a scalar in nats, with ρ̂ⱼ the batch's mean activation of unit j.

    KL(ρ ‖ ρ̂) = ρ log(ρ/ρ̂) + (1 − ρ) log((1 − ρ)/(1 − ρ̂)), so that J_sparse = J + β Σⱼ KL(ρ ‖ ρ̂ⱼ)
    (Ng, CS294A lecture notes, Sparse autoencoder, 2011; there ρ̂ⱼ is the mean over the whole set:
    with mini-batches it is the batch's). Activations must lie in (0, 1), as a sigmoid's do; ρ̂ is
    kept 1e-7 away from both ends.

    Parameters
    ----------
    weight : float
        β.
    rho : float
        ρ, the mean activation asked for, in (0, 1).
    """

    formula: ClassVar[str] = "β Σⱼ [ρ log(ρ/ρ̂ⱼ) + (1 − ρ) log((1 − ρ)/(1 − ρ̂ⱼ))]"
    allowed: ClassVar = {"weight": number(0), "rho": number(0, 1, open_low=True, open_high=True)}

    def __init__(self, weight: float = 1.0, rho: float = 0.05) -> None:
        super().__init__(weight)
        self.rho = rho

    def attach(self, model: nn.Module) -> None:
        activation = getattr(getattr(model, "bottleneck", None), "activation", "sigmoid")
        if activation != "sigmoid":
            raise ParameterError(
                f"kl_sparsity needs activations in (0, 1): bottleneck must be Dense('sigmoid'), got {activation!r}"
            )

    def forward(self, trace: Trace, model: nn.Module, noise: Noise = torch.randn_like) -> Tensor:
        rho_hat = unit_means(trace.latent.z, trace.weight, trace.latent.bypass.mask)
        rho_hat = rho_hat.clamp(1e-7, 1 - 1e-7)
        rho = torch.full_like(rho_hat, self.rho)
        return (rho * (rho / rho_hat).log() + (1 - rho) * ((1 - rho) / (1 - rho_hat)).log()).sum()
