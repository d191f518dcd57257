"""The price of a posterior that differs from the prior."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.checks import number
from isthmus.errors import UnsupportedError
from isthmus.nn.statistics import batch_mean
from isthmus.part import Penalty
from isthmus.types import Noise, Trace, sum_features

__all__ = ["KLPrior"]


class KLPrior(Penalty):
    """β KL(q(z|x) ‖ p(z)), per sample in nats, summed over units; β = 1 makes the objective −ELBO.

    β > 1 is the β-VAE (Higgins et al. 2017). With ``free_bits`` = λ it is Σⱼ max(λ, mean KLⱼ), a
    scalar over the batch, so that no unit is pushed below λ nats (Kingma et al. 2016, appendix C.8);
    a unit is a channel, its KL summed over positions.
    Where a bottleneck has no closed form, its sample log q(z|x) − log p(z) is taken.

    Parameters
    ----------
    weight : float
        β.
    free_bits : float
        λ, nats per unit.
    """

    formula: ClassVar[str] = "β Σⱼ KL(q(zⱼ|x) ‖ p(zⱼ)), at least free_bits a unit"
    allowed: ClassVar = {"weight": number(0), "free_bits": number(0)}

    def __init__(self, weight: float = 1.0, free_bits: float = 0.0) -> None:
        super().__init__(weight)
        self.free_bits = free_bits

    def forward(self, trace: Trace, model: nn.Module, noise: Noise = torch.randn_like) -> Tensor:
        latent = trace.latent
        if latent.kl is None and latent.log_ratio is None:
            raise UnsupportedError("kl_prior needs a bottleneck with a posterior, such as 'gaussian'")
        if latent.kl is None and self.free_bits > 0:
            raise UnsupportedError("kl_prior: free_bits must be 0 where the posterior's KL has no closed form")
        if latent.kl is None:
            return latent.log_ratio  # type: ignore[return-value]
        if self.free_bits == 0:
            return sum_features(latent.kl)
        units = latent.kl.flatten(1, -2).sum(1) if latent.kl.dim() > 2 else latent.kl  # (B, D)
        return batch_mean(units, trace.weight).clamp(min=self.free_bits).sum()
