"""Masking noise."""

from __future__ import annotations

from statistics import NormalDist
from typing import ClassVar

import torch

from isthmus.checks import number
from isthmus.part import Corruption
from isthmus.types import Noise, Seen

__all__ = ["Masking"]


class Masking(Corruption):
    """Sets each value to 0 with probability p, without rescaling (Vincent et al. 2010, section 3.3).

    A value is masked where its standard normal noise lies below Φ⁻¹(p), so that one source of
    noise serves all parts. Zero is the mean of a standardised column.

    Parameters
    ----------
    p : float
        Probability in [0, 1).
    """

    formula: ClassVar[str] = "x̃ᵢ = 0 with probability p, else xᵢ"
    real_only: ClassVar[bool] = True
    allowed: ClassVar = {"p": number(0, 1, open_high=True)}

    def __init__(self, p: float = 0.25) -> None:
        super().__init__()
        self.p = p

    def forward(self, seen: Seen, noise: Noise = torch.randn_like) -> Seen:
        if self.p == 0:
            return seen
        hidden = noise(seen.x) < NormalDist().inv_cdf(self.p)
        return seen._replace(x=seen.x.masked_fill(hidden, 0.0), hidden=hidden)
