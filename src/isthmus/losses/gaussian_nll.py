"""The Gaussian likelihood, with four ways to hold its variance."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from isthmus.checks import choice, either, number
from isthmus.errors import ShapeError
from isthmus.part import Loss, built
from isthmus.types import Noise, Space, sum_features

__all__ = ["GaussianNLL"]

LOG_2PI = math.log(2 * math.pi)


class GaussianNLL(Loss):
    """½ Σᵢ [(yᵢ − μᵢ)²/σᵢ² + log σᵢ² + log 2π] per sample, in nats.

    Parameters
    ----------
    variance : float or {"learned", "per_feature", "predicted"}
        A number fixes σ² (in scaled units²); "learned" learns one number for all features,
        "per_feature" one a feature (of the last axis), "predicted" lets the decoder give log σ² too.
        "learned" is the σ-VAE (Rybkin et al. 2021).
    min_variance : float
        The floor f of σ² where it is learnt: a constant column would otherwise drive it to 0 and the
        likelihood to infinity. It is soft: σ² = f + exp(s), where s is what is learnt or predicted, so that s
        has a gradient at the floor, too.
    """

    formula: ClassVar[str] = "½ Σᵢ [(yᵢ − μᵢ)²/σᵢ² + log σᵢ² + log 2π]"
    is_likelihood: ClassVar[bool] = True
    allowed: ClassVar = {
        "variance": either(number(0, open_low=True), choice(["learned", "per_feature", "predicted"])),
        "min_variance": number(0, open_low=True),
    }

    def __init__(self, variance: float | str = "per_feature", min_variance: float = 1e-4) -> None:
        super().__init__()
        self.variance = variance
        self.min_variance = min_variance

    def build(self, space: Space) -> Self:
        super().build(space)
        width = Space.of(space).shape[-1]
        if self.variance == "learned":
            self.log_variance = nn.Parameter(torch.zeros(1))
        elif self.variance == "per_feature":
            if width is None:
                super().output_shape(Space.of(space))  # which refuses classes
                raise ShapeError("gaussian_nll with variance='per_feature' needs a known width of the last axis")
            self.log_variance = nn.Parameter(torch.zeros(width))
        return self

    def output_shape(self, target: Space) -> Space:
        if self.variance != "predicted":
            return super().output_shape(target)
        *axes, width = super().output_shape(target).shape
        if width is None:
            raise ShapeError("gaussian_nll with variance='predicted' needs a known width of the last axis")
        return Space((*axes, 2 * width))

    def moments(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ², which broadcast to the target."""
        if self.variance == "predicted":
            mean, log_variance = output.chunk(2, -1)
        elif isinstance(self.variance, str):
            built(self)
            mean, log_variance = output, self.log_variance
        else:
            return output, output.new_full((1,), math.log(self.variance))
        floor = math.log(self.min_variance)
        return mean, floor + softplus(log_variance - floor)  # log(min_variance + exp(log_variance))

    def mean(self, output: Tensor) -> Tensor:
        return self.moments(output)[0]

    def sample(self, output: Tensor, noise: Noise = torch.randn_like) -> Tensor:
        mean, log_variance = self.moments(output)
        return mean + (0.5 * log_variance).exp() * noise(mean)

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        mean, log_variance = self.moments(output)
        nll = 0.5 * ((target - mean).square() * (-log_variance).exp() + (log_variance + LOG_2PI))
        return sum_features(nll, mask)
