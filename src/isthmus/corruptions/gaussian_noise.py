"""Additive Gaussian noise."""

from __future__ import annotations

from typing import ClassVar

import torch

from isthmus.checks import number
from isthmus.part import Corruption
from isthmus.types import Noise, Seen

__all__ = ["GaussianNoise"]


class GaussianNoise(Corruption):
    """x̃ = x + std · ε, ε ~ N(0, I) (Vincent et al. 2010, section 3.3).

    Parameters
    ----------
    std : float
        Standard deviation, in scaled units.
    """

    formula: ClassVar[str] = "x̃ = x + std ε,  ε ~ N(0, I)"
    allowed: ClassVar = {"std": number(0)}

    def __init__(self, std: float = 0.5) -> None:
        super().__init__()
        self.std = std

    def forward(self, seen: Seen, noise: Noise = torch.randn_like) -> Seen:
        return seen._replace(x=torch.add(seen.x, noise(seen.x), alpha=self.std))
