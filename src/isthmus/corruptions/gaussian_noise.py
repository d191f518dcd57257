"""Additive Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from isthmus.checks import either, number
from isthmus.part import Corruption
from isthmus.types import Noise, Seen

__all__ = ["GaussianNoise"]


def rising(value: object) -> str | None:
    """The two ends of a range."""
    one = number(0)
    pair = isinstance(value, (tuple, list)) and len(value) == 2 and all(one(end) is None for end in value)
    return None if pair and value[0] <= value[1] else "a pair (low, high) with 0 <= low <= high"  # type: ignore[index]


class GaussianNoise(Corruption):
    """x̃ = x + std · ε, ε ~ N(0, I) (Vincent et al. 2010, section 3.3).

    Parameters
    ----------
    std : float or pair of float
        Standard deviation, in scaled units. A pair is a range, from which each sample draws its own
        uniformly, for a model that is blind to the strength (Zhang et al. 2017, DnCNN-B).
    """

    formula: ClassVar[str] = "x̃ = x + std ε,  ε ~ N(0, I)"
    real_only: ClassVar[bool] = True
    allowed: ClassVar = {"std": either(number(0), rising)}

    def __init__(self, std: float | Sequence[float] = 0.5) -> None:
        super().__init__()
        self.std = std

    def forward(self, seen: Seen, noise: Noise = torch.randn_like) -> Seen:
        if isinstance(self.std, (int, float)):
            return seen._replace(x=torch.add(seen.x, noise(seen.x), alpha=self.std))
        low, high = self.std
        one = seen.x[(slice(None), *[slice(0, 1)] * (seen.x.dim() - 1))]  # (B, 1, …)
        share = torch.special.ndtr(noise(one))  # Φ of a standard normal draw is uniform
        return seen._replace(x=torch.addcmul(seen.x, low + (high - low) * share, noise(seen.x)))
