"""Attention over the positions of a latent sequence: the scores of Bahdanau and Luong, and many heads at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SCORES", "Attention", "attended", "join_heads", "rotated", "sinusoids", "split_heads"]

SCORES = ("additive", "multiplicative", "dot")


class Attention(nn.Module):
    """One context a query: c = Σₛ aₛ mₛ with a = softmax(score(q, mₛ)) over the positions s of the memory.

    "additive": vᵀ tanh(W q + U m) (Bahdanau et al. 2015). "multiplicative": qᵀ W m, and "dot": qᵀ m (Luong
    et al. 2015, "general" and "dot"); for "dot" a memory of another width than the query is mapped to it.

    Parameters
    ----------
    score : {"additive", "multiplicative", "dot"}
    query_width, memory_width : int
    """

    def __init__(self, score: str, query_width: int, memory_width: int) -> None:
        super().__init__()
        self.score = score
        identity = score == "dot" and query_width == memory_width
        self.of_memory = nn.Identity() if identity else nn.Linear(memory_width, query_width, bias=False)
        if score == "additive":
            self.of_query = nn.Linear(query_width, query_width)
            self.direction = nn.Linear(query_width, 1, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        """What queries are compared with, ``(B, S, query_width)``: computed once a memory."""
        keys: Tensor = self.of_memory(memory)
        return keys

    def forward(self, query: Tensor, keys: Tensor, memory: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Contexts ``(B, T, memory_width)`` and weights ``(B, T, S)`` for queries ``(B, T, query_width)``.

        ``mask`` is ``(B, S)``, True where the memory counts.
        """
        if self.score == "additive":
            both = self.of_query(query).unsqueeze(2) + keys.unsqueeze(1)  # (B, T, S, H)
            scores = self.direction(both.tanh()).squeeze(-1)
        else:
            scores = query @ keys.transpose(1, 2)
        if mask is not None:
            scores = scores.masked_fill(~mask.unsqueeze(1), -math.inf)
        weights = scores.softmax(-1)
        return weights @ memory, weights


# ---------------------------------------------------------------------- several heads


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``(B, T, heads · d)`` to ``(B, heads, T, d)``."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """``(B, heads, T, d)`` to ``(B, T, heads · d)``."""
    return x.transpose(1, 2).flatten(2)


def attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
    """softmax(Q Kᵀ/√d) V for each head (Vaswani et al. 2017), by PyTorch's fused kernel.

    ``mask`` is ``(B, S)``, True where a key counts. On a processor numbers of 16 bits are widened for it: the way back
    through PyTorch's kernel takes 14 × as long in bfloat16 as in float32.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        with torch.autocast("cpu", enabled=False):
            return attended(query.float(), key.float(), value.float(), mask, causal).to(query.dtype)
    if mask is not None:
        mask = mask[:, None, None, :].expand(-1, -1, query.shape[2], -1)
        if causal:
            mask = mask & torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=mask.device).tril()
            causal = False
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)


# ---------------------------------------------------------------------- where a position is


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """sin(p ωᵢ) and cos(p ωᵢ) in turn with ωᵢ = 10000^(−2i/width) (Vaswani et al. 2017), ``(*positions, width)``."""
    angles = positions.unsqueeze(-1).float() * _frequencies(width, positions.device)
    waves = torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)
    return waves[..., :width]


def rotated(x: Tensor, positions: Tensor) -> Tensor:
    """Each pair of numbers of ``(B, heads, T, d)`` turned by its position times ωᵢ (Su et al. 2021, RoPE)."""
    angles = positions.unsqueeze(-1).float() * _frequencies(x.shape[-1], x.device)  # (T, d/2)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1).flatten(-2)


def _frequencies(width: int, device: torch.device) -> Tensor:
    steps = torch.arange(0, width, 2, dtype=torch.float32, device=device)
    return torch.exp(steps * (-math.log(10000.0) / width))
