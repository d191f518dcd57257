"""The Transformer's encoder."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import nn

from isthmus.checks import choice, optional
from isthmus.nn.dropout import Dropout
from isthmus.nn.statistics import position_mean
from isthmus.nn.symbols import Symbols, require_sequence
from isthmus.nn.transformer import TRANSFORMER_PARAMETERS, Layer, Positions, check_heads, shape_of
from isthmus.part import Encoder, built
from isthmus.types import Features, Seen, Space

__all__ = ["TransformerEncoder"]


class TransformerEncoder(Encoder):
    """Layers of self-attention over a sequence (Vaswani et al. 2017).

    Where we differ by default: normalisation comes first in a layer (Xiong et al. 2020), the activation is a
    GELU. Dropout acts on what is added and inside the feed-forward, not on attention's weights, so that
    the fused kernel serves.

    Parameters
    ----------
    d_model : int
        Width throughout.
    num_heads : int
        It must divide ``d_model``.
    num_layers : int
    feedforward : int, optional
        Width inside; None: 4 · d_model.
    dropout : float
    norm_first : bool
        False is the paper's order.
    positions : {"sinusoidal", "learnt", "rotary"}
        Added sines (the paper's), an added table of ``max_length`` rows, or queries and keys turned by their
        position (Su et al. 2021).
    activation : {"gelu", "relu", "swiglu"}
    pool : {None, "mean"}
        None: every position, for a decoder that attends to them.
    max_length : int
        Of the table of "learnt".
    """

    formula: ClassVar[str] = "x ← x + attention(norm x);  x ← x + W₂ a(W₁ norm x)"
    any_size: ClassVar[bool] = True
    sequences: ClassVar[bool] = True
    allowed: ClassVar = TRANSFORMER_PARAMETERS | {"pool": optional(choice(["mean"]))}

    def __init__(
        self,
        d_model: int = 256,
        num_heads: int = 4,
        num_layers: int = 4,
        feedforward: int | None = None,
        dropout: float = 0.1,
        norm_first: bool = True,
        positions: str = "sinusoidal",
        activation: str = "gelu",
        pool: str | None = None,
        max_length: int = 1024,
    ) -> None:
        super().__init__()
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.feedforward = feedforward
        self.dropout = dropout
        self.norm_first = norm_first
        self.positions = positions
        self.activation = activation
        self.pool = pool
        self.max_length = max_length

    def check(self) -> None:
        super().check()
        check_heads(self)

    def build(self, space: Space) -> Self:
        super().build(space)
        space = Space.of(space)
        require_sequence("transformer encoder", space)
        self.symbols = Symbols(space, self.d_model, extra=1)
        self.told = nn.Linear(space.condition, self.d_model) if space.condition else None
        self.where = Positions(self.positions, self.d_model, self.max_length)
        self.layers = nn.ModuleList(Layer(shape_of(self)) for _ in range(self.num_layers))
        self.norm = nn.LayerNorm(self.d_model) if self.norm_first else nn.Identity()
        self.drop = Dropout(self.dropout)
        positions = () if self.pool is not None else space.shape[:1]
        self.out = Space((*positions, self.d_model), condition=space.condition)
        return self

    def forward(self, seen: Seen) -> Features:
        built(self)
        mask, x = seen.bypass.mask, self.symbols(seen.x)
        if self.told is not None and seen.bypass.condition is not None:
            x = x + self.told(seen.bypass.condition).unsqueeze(1)
        positions = torch.arange(x.shape[1], device=x.device)
        x = self.drop(self.where(x, positions))
        for layer in self.layers:
            x = layer(x, positions, mask)
        x = self.norm(x)
        if self.pool is None:
            return Features(x, seen.bypass)
        return Features(position_mean(x, mask), seen.bypass._replace(mask=None))
