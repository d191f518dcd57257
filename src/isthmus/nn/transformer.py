"""The layers of a Transformer, and the keys and values that decoding keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.checks import Check, choice, instance, integer, number, optional
from isthmus.errors import ParameterError, ShapeError
from isthmus.nn.attention import attended, join_heads, rotated, sinusoids, split_heads
from isthmus.nn.dropout import Dropout
from isthmus.nn.memory import together

__all__ = [
    "TRANSFORMER_PARAMETERS",
    "VIT_PARAMETERS",
    "Cache",
    "Layer",
    "Positions",
    "Shape",
    "check_heads",
    "shape_of",
]

POSITIONS = ("sinusoidal", "learnt", "rotary")
FEED_FORWARDS = ("gelu", "relu", "swiglu")

TRANSFORMER_PARAMETERS: dict[str, Check] = {
    "d_model": integer(2),
    "num_heads": integer(1),
    "num_layers": integer(1),
    "feedforward": optional(integer(1)),
    "dropout": number(0, 1, open_high=True),
    "norm_first": instance(bool, "True or False"),
    "positions": choice(POSITIONS),
    "activation": choice(FEED_FORWARDS),
    "max_length": integer(1),
}
VIT_PARAMETERS: dict[str, Check] = {
    "patch_size": integer(1),
    **{name: TRANSFORMER_PARAMETERS[name] for name in ("d_model", "num_heads", "num_layers")},
    **{name: TRANSFORMER_PARAMETERS[name] for name in ("feedforward", "dropout", "activation")},
}


class Shape(NamedTuple):
    """What all layers of a Transformer share."""

    d_model: int
    num_heads: int
    feedforward: int
    dropout: float
    norm_first: bool
    rotary: bool
    activation: str


def shape_of(part: Any) -> Shape:
    """From an encoder's or a decoder's arguments."""
    return Shape(
        part.d_model,
        part.num_heads,
        part.feedforward or 4 * part.d_model,
        part.dropout,
        part.norm_first,
        part.positions == "rotary",
        part.activation,
    )


def check_heads(part: Any) -> None:
    """Raise `ParameterError` where the heads do not share d_model, or a rotated one has no pairs."""
    name, width, heads = type(part).__name__, part.d_model, part.num_heads
    if width % heads:
        raise ParameterError(f"{name}: num_heads must divide d_model, {width}, got {heads}")
    if part.positions == "rotary" and width // heads % 2:
        raise ParameterError(
            f"{name}: positions='rotary' turns pairs: d_model / num_heads must be even, got {width // heads}"
        )


class Cache(NamedTuple):
    """Keys and values of one attention, ``(B, heads, room, d)``, of which the first ``length`` positions are filled."""

    key: Tensor
    value: Tensor
    length: int

    def select(self, rows: Tensor) -> Self:
        """Of these rows."""
        used = slice(0, self.length)
        return self._replace(key=self._rows(self.key, rows, used), value=self._rows(self.value, rows, used))

    @staticmethod
    def _rows(kept: Tensor, rows: Tensor, used: slice) -> Tensor:
        fresh = kept.new_empty(len(rows), *kept.shape[1:])
        fresh[:, :, used] = kept[:, :, used].index_select(0, rows)
        return fresh

    def extended(self, key: Tensor, value: Tensor) -> Cache:
        """With one more position, in place; twice the room where there is none."""
        room, end = self.key.shape[2], self.length + key.shape[2]
        kept_key, kept_value = self.key, self.value
        if end > room:
            kept_key, kept_value = (F.pad(kept, (0, 0, 0, max(room, end - room))) for kept in (kept_key, kept_value))
        kept_key[:, :, self.length : end] = key
        kept_value[:, :, self.length : end] = value
        return Cache(kept_key, kept_value, end)

    @property
    def filled(self) -> tuple[Tensor, Tensor]:
        """Keys and values so far."""
        return self.key[:, :, : self.length], self.value[:, :, : self.length]


class MultiHeadAttention(nn.Module):
    """softmax(Q Kᵀ/√d) V for each head, joined and mapped (Vaswani et al. 2017)."""

    def __init__(self, shape: Shape, memory_width: int | None = None) -> None:
        super().__init__()
        self.heads, self.rotary = shape.num_heads, shape.rotary and memory_width is None
        width = shape.d_model
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(memory_width or width, 2 * width)
        self.out = nn.Linear(width, width)
        for layer in (self.query, self.key_value, self.out):
            glorot_(layer)

    def keys_values(self, memory: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, heads, S, d)`` each."""
        key, value = (split_heads(half, self.heads) for half in self.key_value(memory).chunk(2, -1))
        return (rotated(key, positions) if self.rotary else key), value

    def queries(self, x: Tensor, positions: Tensor) -> Tensor:
        """``(B, heads, T, d)``."""
        query = split_heads(self.query(x), self.heads)
        return rotated(query, positions) if self.rotary else query

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        result: Tensor = self.out(join_heads(attended(query, key, value, mask, causal)))
        return result


class FeedForward(nn.Module):
    """W₂ a(W₁ x), or W₂ (silu(W₁ x) ⊙ V x) for "swiglu" (Shazeer 2020)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gated = shape.activation == "swiglu"
        self.into = nn.Linear(shape.d_model, shape.feedforward * (1 + self.gated))
        self.out = nn.Linear(shape.feedforward, shape.d_model)
        self.activate: Callable[[Tensor], Tensor] = F.relu if shape.activation == "relu" else F.gelu
        self.dropout = Dropout(shape.dropout)
        for layer in (self.into, self.out):
            glorot_(layer)

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        if self.gated:
            gate, h = h.chunk(2, -1)
            h = F.silu(gate) * h
        else:
            h = self.activate(h)
        result: Tensor = self.out(self.dropout(h))
        return result


class Layer(nn.Module):
    """Self-attention, attention to a memory where there is one, and a feed-forward, each added to its input.

    x + f(norm(x)) with ``norm_first`` (Xiong et al. 2020), norm(x + f(x)) without (Vaswani et al. 2017).
    """

    def __init__(self, shape: Shape, memory_width: int | None = None) -> None:
        super().__init__()
        self.norm_first = shape.norm_first
        self.own = MultiHeadAttention(shape)
        self.other = MultiHeadAttention(shape, memory_width) if memory_width is not None else None
        self.feed = FeedForward(shape)
        n_parts = 2 if memory_width is None else 3
        self.norms = nn.ModuleList(nn.LayerNorm(shape.d_model) for _ in range(n_parts))
        self.dropout = Dropout(shape.dropout)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        memory: tuple[Tensor, Tensor] | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """``(B, T, d_model)``; ``memory`` holds keys and values."""

        def look_back(h: Tensor) -> Tensor:
            key, value = self.own.keys_values(h, positions)
            attention: Tensor = self.own(self.own.queries(h, positions), key, value, mask, causal)
            return attention

        return self._rest(self._add(x, look_back, 0), positions, memory, memory_mask)

    def step(
        self,
        x: Tensor,
        positions: Tensor,
        cache: Cache,
        memory: tuple[Tensor, Tensor] | None,
        memory_mask: Tensor | None,
        readers: int = 1,
    ) -> tuple[Tensor, Cache]:
        """One more position ``(B, 1, d_model)``, and the cache with it; ``readers`` neighbours share a memory."""
        grown = cache

        def look_back(h: Tensor) -> Tensor:
            nonlocal grown
            grown = cache.extended(*self.own.keys_values(h, positions))
            attention: Tensor = self.own(self.own.queries(h, positions), *grown.filled)
            return attention

        x = self._add(x, look_back, 0)
        return self._rest(x, positions, memory, memory_mask, readers), grown

    def _rest(
        self,
        x: Tensor,
        positions: Tensor,
        memory: tuple[Tensor, Tensor] | None,
        memory_mask: Tensor | None,
        readers: int = 1,
    ) -> Tensor:
        if self.other is not None and memory is not None:
            other, (key, value) = self.other, memory

            def look_there(h: Tensor) -> Tensor:
                query = other.queries(together(h, readers), positions)
                attention: Tensor = other(query, key, value, memory_mask)
                return attention.view(h.shape)

            x = self._add(x, look_there, 1)
        return self._add(x, self.feed, len(self.norms) - 1)

    def _add(self, x: Tensor, part: Callable[[Tensor], Tensor], number: int) -> Tensor:
        norm = self.norms[number]
        if self.norm_first:
            return x + self.dropout(part(norm(x)))
        result: Tensor = norm(x + self.dropout(part(x)))
        return result


class Positions(nn.Module):
    """Adds where each position is to ``(B, T, d_model)``; "rotary" adds nothing, since attention turns by it."""

    def __init__(self, kind: str, d_model: int, max_length: int) -> None:
        super().__init__()
        self.kind, self.d_model = kind, d_model
        if kind == "learnt":
            self.table = nn.Embedding(max_length, d_model)
            nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        if self.kind == "rotary":
            return x
        if self.kind == "learnt":
            if (room := self.table.num_embeddings) < positions.shape[-1]:
                raise ShapeError(
                    f"max_length of a Transformer with positions='learnt' must be at least as long as a sequence, "
                    f"{positions.shape[-1]} positions, got {room}"
                )
            return x + self.table(positions)
        return x + sinusoids(positions, self.d_model).to(x.dtype)


def glorot_(layer: nn.Linear) -> None:
    """Glorot & Bengio 2010, and no bias."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
