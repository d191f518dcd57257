"""Lost pieces of a sequence."""

from __future__ import annotations

from statistics import NormalDist
from typing import ClassVar, Self

import torch

from isthmus.checks import number
from isthmus.errors import ShapeError
from isthmus.nn.symbols import without
from isthmus.part import Corruption, built
from isthmus.types import Noise, Seen, Space

__all__ = ["TokenDropout"]


class TokenDropout(Corruption):
    """Takes each class of a sequence out with probability p; the others move up (Iyyer et al. 2015; Hill et al. 2016).

    A row's first position always stays, so that none is empty.

    Parameters
    ----------
    p : float
        Probability in [0, 1).
    """

    formula: ClassVar[str] = "xₜ is left out with probability p"
    allowed: ClassVar = {"p": number(0, 1, open_high=True)}

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = p

    def build(self, space: Space) -> Self:
        super().build(space)
        if built(self).classes is None:
            raise ShapeError("token_dropout needs sequences of classes; Masking hides real numbers")
        return self

    def forward(self, seen: Seen, noise: Noise = torch.randn_like) -> Seen:
        built(self)
        if self.p == 0:
            return seen
        lost = noise(seen.x.float()) < NormalDist().inv_cdf(self.p)
        first = torch.arange(seen.x.shape[1], device=seen.x.device) == 0
        return without(seen, lost & ~first)
