"""Dropout from 16-bit random numbers, which cost a fraction of what PyTorch's draws cost on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isthmus.nn.share import drawn, n_rows

__all__ = ["Dropout", "by_torch", "kept"]

LEVELS = 2**16
FULL_RANGE = (-(2**63), None)
"""All whole numbers of 64 bits, as `Tensor.random_` takes it."""


class Dropout(nn.Module):
    """x ⊙ m/(1 − p) in training, m ~ Bernoulli(1 − p) a number; the identity in prediction (Srivastava et al. 2014).

    p is rounded to a multiple of 2⁻¹⁶.

    Parameters
    ----------
    p : float
        Share of numbers that are set to zero, in [0, 1).
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = p

    def extra_repr(self) -> str:
        return f"p={self.p}"

    def forward(self, x: Tensor) -> Tensor:
        return kept(x, self.p) if self.training and self.p > 0 else x


def kept(x: Tensor, p: float) -> Tensor:
    """x with a random share p of its numbers set to zero and the rest divided by 1 − p."""
    dropped = round(p * LEVELS)
    if x.device.type != "cpu" or dropped in (0, LEVELS):
        return by_torch(x, p)
    wide = torch.promote_types(x.dtype, torch.float32)  # bfloat16 cannot tell the draws apart
    keep = drawn(x, _sixteen_bits).to(wide).ge_(dropped - LEVELS // 2)  # ones and zeros
    return x * keep.mul_(LEVELS / (LEVELS - dropped)).to(x.dtype)


def by_torch(x: Tensor, p: float) -> Tensor:
    """The same by PyTorch's own draws."""
    if n_rows(x) == len(x):
        return torch.nn.functional.dropout(x, p)
    return x * drawn(x, lambda like: torch.nn.functional.dropout(torch.ones_like(like), p))


def _sixteen_bits(like: Tensor) -> Tensor:
    """A random 16-bit number for each of these, four by one draw."""
    n = like.numel()
    draws = torch.empty(-(-n // 4), dtype=torch.int64).random_(*FULL_RANGE)
    return draws.view(torch.int16)[:n].view(like.shape)
