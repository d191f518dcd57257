"""Hidden pieces of a sequence."""

from __future__ import annotations

from statistics import NormalDist
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.checks import instance, integer, number
from isthmus.errors import ShapeError
from isthmus.nn.symbols import without
from isthmus.part import Corruption, built
from isthmus.types import Noise, Seen, Space

__all__ = ["TokenMasking"]


class TokenMasking(Corruption):
    """Puts a blank where a class stood, at a share p of the positions.

    The blank is one more class, K, for which encoders of sequences hold a vector. Alone (``span`` 1) as in BERT
    (Devlin et al. 2019), where we always put the blank, never another word or the word itself. Spans of
    ``span`` positions begin so often that about p of all positions lie in one; with ``joined`` each leaves a
    single blank, so that the length is hidden too (BART's infilling, Lewis et al. 2020; theirs have lengths
    drawn from a Poisson distribution).

    Parameters
    ----------
    p : float
        Share in [0, 1).
    span : int
        Positions that are hidden together.
    joined : bool
        One blank a span, and the sequence that much shorter.
    """

    formula: ClassVar[str] = "x̃ₜ = blank with probability p, else xₜ"
    allowed: ClassVar = {
        "p": number(0, 1, open_high=True),
        "span": integer(1),
        "joined": instance(bool, "True or False"),
    }

    def __init__(self, p: float = 0.15, span: int = 1, joined: bool = False) -> None:
        super().__init__()
        self.p = p
        self.span = span
        self.joined = joined

    def build(self, space: Space) -> Self:
        super().build(space)
        if built(self).classes is None:
            raise ShapeError("token_masking needs sequences of classes; Masking hides real numbers")
        return self

    def forward(self, seen: Seen, noise: Noise = torch.randn_like) -> Seen:
        blank = built(self).classes
        if self.p == 0:
            return seen
        begin = 1 - (1 - self.p) ** (1 / self.span)  # of a span at each position, so that p lie in one or more
        starts = noise(seen.x.float()) < NormalDist().inv_cdf(begin)
        hidden = self._spans(starts)
        if seen.bypass.mask is not None:
            hidden = hidden & seen.bypass.mask
        x = seen.x.masked_fill(hidden, blank)  # type: ignore[arg-type]
        if not self.joined:
            return seen._replace(x=x, hidden=hidden)
        follows = hidden & F.pad(hidden, (1, 0))[:, :-1]  # all of a span but its first position
        return without(seen._replace(x=x), follows)

    def _spans(self, starts: Tensor) -> Tensor:
        """True at each start and the span − 1 positions after it."""
        ahead = F.pad(starts.float().unsqueeze(1), (self.span - 1, 0))
        return F.max_pool1d(ahead, self.span, 1).squeeze(1) > 0
