"""Salt-and-pepper noise."""

from __future__ import annotations

from statistics import NormalDist
from typing import ClassVar

import torch

from isthmus.checks import number
from isthmus.part import Corruption
from isthmus.types import Noise, Seen

__all__ = ["SaltAndPepper"]


class SaltAndPepper(Corruption):
    """Sets each value to ``low`` or ``high``, each with probability p/2 (Vincent et al. 2010, section 3.3).

    Parameters
    ----------
    p : float
        Probability in [0, 1) that a value is replaced.
    low, high : float
        Pepper and salt, in scaled units: 0 and 1 for images.
    """

    formula: ClassVar[str] = "x̃ᵢ = low or high, each with probability p/2, else xᵢ"
    real_only: ClassVar[bool] = True
    allowed: ClassVar = {"p": number(0, 1, open_high=True), "low": number(), "high": number()}

    def __init__(self, p: float = 0.25, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.p = p
        self.low = low
        self.high = high

    def forward(self, seen: Seen, noise: Noise = torch.randn_like) -> Seen:
        if self.p == 0:
            return seen
        draw, edge = noise(seen.x), NormalDist().inv_cdf(self.p / 2)
        pepper, salt = draw < edge, draw > -edge
        x = seen.x.masked_fill(pepper, self.low).masked_fill(salt, self.high)
        return seen._replace(x=x, hidden=pepper | salt)
