"""The Gaussian posterior of a variational autoencoder."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from isthmus.errors import ShapeError
from isthmus.part import Bottleneck, built
from isthmus.types import Bypass, Features, Latent, Noise, Space, sum_features, wide

__all__ = ["Gaussian"]


class Gaussian(Bottleneck):
    """q(z|x) = N(μ(x), diag σ²(x)) with the prior p(z) = N(0, I), reparameterised.

    z = μ + σ ⊙ ε with ε ~ N(0, I) from ``noise``, log σ² linear in the features, and per unit, in
    nats, KL(q ‖ p) = ½ (μ² + σ² − 1 − log σ²).

    Kingma & Welling, Auto-Encoding Variational Bayes, 2014 (the KL is their Appendix B). We add
    log_ratio = log q(z|x) − log p(z) = ½ Σ (z² − ε² − log σ²) at the drawn z, for importance sampling.
    """

    formula: ClassVar[str] = "z = μ(x) + σ(x) ε,  ε ~ N(0, I)"

    def build(self, space: Space, latent_dim: int | None = None) -> Self:
        super(Bottleneck, self).build(space)
        space = Space.of(space)
        width = space.shape[-1]
        if width is None:
            raise ShapeError(f"gaussian bottleneck needs a known width of the last axis, got {space.shape}")
        self.linear = nn.Linear(width, 2 * (latent_dim or width))
        self.out = space._replace(shape=(*space.shape[:-1], latent_dim or width))
        return self

    def posterior(self, features: Features) -> tuple[Tensor, Tensor]:
        """μ and log σ², each ``(B, *positions, D)``."""
        built(self)
        mean, log_variance = wide(self.linear(features.h)).chunk(2, -1)
        return mean, log_variance

    def forward(self, features: Features, noise: Noise = torch.randn_like) -> Latent:
        mean, log_variance = self.posterior(features)
        epsilon = noise(mean)
        std = (0.5 * log_variance).exp()
        z = torch.addcmul(mean, std, epsilon)
        kl = 0.5 * (mean.square() + std.square() - 1 - log_variance)
        mask = features.bypass.mask if z.dim() > 2 else None
        if mask is not None:
            kl = torch.where(mask.unsqueeze(-1), kl, 0.0)
        log_ratio = 0.5 * sum_features(z.square() - epsilon.square() - log_variance, mask)
        return Latent(z, features.bypass, kl=kl, log_ratio=log_ratio, pre=mean)

    def sample(self, n: int, noise: Noise = torch.randn_like) -> Latent:
        """n draws from N(0, I)."""
        shape = built(self).shape
        if None in shape or built(self).skips:
            raise ShapeError(f"gaussian bottleneck samples codes of a fixed size without skips, got {built(self)}")
        like = self.linear.weight.new_zeros(n, *[length or 1 for length in shape])
        return Latent(noise(like), Bypass())

    @staticmethod
    def log_prior(z: Tensor) -> Tensor:
        """log p(z) = −½ Σ (z² + log 2π), ``(B,)``, nats."""
        return -0.5 * sum_features(z.square() + math.log(2 * math.pi))
