"""The Transformer's decoder."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.checks import instance, number, optional
from isthmus.errors import ShapeError
from isthmus.nn.dropout import Dropout
from isthmus.nn.memory import which_memories
from isthmus.nn.symbols import Symbols, positions_to_write, require_sequence
from isthmus.nn.transformer import TRANSFORMER_PARAMETERS, Cache, Layer, Positions, check_heads, shape_of
from isthmus.part import Decoder, Encoder, built
from isthmus.types import Latent, Space

__all__ = ["TransformerDecoder"]

ROOM = 32
"""Positions of a new cache."""


class State(NamedTuple):
    """A cache a layer; the memory's keys and values a layer, and its mask, for so many readers that are neighbours."""

    caches: tuple[Cache, ...]
    memory: tuple[tuple[Tensor, Tensor], ...]
    mask: Tensor | None
    readers: int = 1

    def select(self, rows: Tensor) -> State:
        """Of these rows."""
        after = self._replace(caches=tuple(cache.select(rows) for cache in self.caches))
        memories, readers = which_memories(rows, len(self.memory[0][0]), self.readers)
        if memories is None:
            return after._replace(readers=readers)
        memory = tuple((key.index_select(0, memories), value.index_select(0, memories)) for key, value in self.memory)
        mask = None if self.mask is None else self.mask.index_select(0, memories)
        return after._replace(memory=memory, mask=mask, readers=readers)


class TransformerDecoder(Decoder):
    """Layers of causal self-attention and attention to the latent (Vaswani et al. 2017).

    The latent is a sequence, or one vector, which is then a sequence of one. Differences from the paper as
    in `TransformerEncoder`. An autoregressive decoder reads what it wrote; one that is not starts from the
    positions alone and sees all of them.

    Parameters
    ----------
    d_model, num_heads, num_layers, feedforward, dropout, norm_first, positions, activation, max_length
        As in `TransformerEncoder`.
    tied : bool
        The map to the classes has the weights of their vectors (Press & Wolf 2017).
    autoregressive : bool, optional
        None: for targets of classes.
    word_dropout : float
        Share of the teacher's classes that a blank hides in training, so that the latent must tell what they
        were (Bowman et al. 2016).
    """

    formula: ClassVar[str] = "y ← y + causal attention;  y ← y + attention to z;  y ← y + W₂ a(W₁ norm y)"
    stepwise = True
    allowed: ClassVar = TRANSFORMER_PARAMETERS | {
        "tied": instance(bool, "True or False"),
        "word_dropout": number(0, 1, open_high=True),
        "autoregressive": optional(instance(bool, "True or False")),
    }

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
        tied: bool = True,
        max_length: int = 1024,
        autoregressive: bool | None = None,
        word_dropout: float = 0.0,
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
        self.tied = tied
        self.max_length = max_length
        self.autoregressive = autoregressive
        self.word_dropout = word_dropout

    @classmethod
    def mirror(cls, encoder: Encoder) -> TransformerDecoder:
        params = encoder.get_params(deep=False)
        return cls(**{name: params[name] for name in cls.parameter_names() if name in params})

    def check(self) -> None:
        super().check()
        check_heads(self)

    def build(self, space: Space, out: Space | None = None, target: Space | None = None) -> Self:
        super(Decoder, self).build(space)
        space = Space.of(space)
        self.out = Space.of(out) if out is not None else space
        target = Space.of(target) if target is not None else self.out
        require_sequence("transformer decoder", target)
        if len(space.shape) > 2:
            raise ShapeError(f"transformer decoder reads a vector or a sequence, got a latent of shape {space.shape}")
        self.stepwise = target.classes is not None if self.autoregressive is None else self.autoregressive
        if target.classes is not None and not self.stepwise:
            raise ShapeError("transformer decoder: autoregressive must be True for classes")
        self.symbols = Symbols(target, self.d_model, 2, self.word_dropout) if self.stepwise else None
        self.query = None if self.stepwise else nn.Parameter(torch.randn(self.d_model) / self.d_model**0.5)
        self.where = Positions(self.positions, self.d_model, self.max_length)
        width = (space.shape[-1] or 1) + space.condition
        self.layers = nn.ModuleList(Layer(shape_of(self), width) for _ in range(self.num_layers))
        self.norm = nn.LayerNorm(self.d_model) if self.norm_first else nn.Identity()
        self.drop = Dropout(self.dropout)
        self.n_out = self.out.shape[-1] or 1
        self.shares = self.tied and target.classes is not None
        self.end = None if self.shares else nn.Linear(self.d_model, self.n_out)
        self.bias = nn.Parameter(torch.zeros(self.n_out)) if self.shares else None
        return self

    # ------------------------------------------------------------------ all steps at once

    def forward(self, latent: Latent, teacher: Tensor | None = None) -> Tensor:
        out = built(self)
        memory, memory_mask = self._memory(latent)
        if self.symbols is None or teacher is None:
            x = self.query.expand(latent.z.shape[0], positions_to_write(latent, out), -1)  # type: ignore[union-attr]
            own = latent.bypass.mask if out.shape[0] is None else None
        else:
            x, own = self.symbols(teacher), None
        positions = torch.arange(x.shape[1], device=x.device)
        x = self.drop(self.where(x, positions))
        for layer in self.layers:
            pair = layer.other.keys_values(memory, positions)  # type: ignore[operator, union-attr]
            x = layer(x, positions, own, self.symbols is not None, pair, memory_mask)
        return self._ended(x)

    def _memory(self, latent: Latent) -> tuple[Tensor, Tensor | None]:
        """What is attended to, ``(B, S, D)``, and its mask; a vector is a sequence of one."""
        z, told = latent.z, latent.bypass.condition
        mask = latent.bypass.mask if z.dim() == 3 else None
        z = z if z.dim() == 3 else z.unsqueeze(1)
        if told is not None:
            z = torch.cat([z, told.unsqueeze(1).expand(-1, z.shape[1], -1).to(z.dtype)], -1)
        return z, mask

    def _ended(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        if self.end is not None:
            return self.end(x)  # type: ignore[no-any-return]
        assert self.symbols is not None
        table: Tensor = self.symbols.table.weight
        return F.linear(x, table[: self.n_out], self.bias)

    # ------------------------------------------------------------------ one by one

    def start(self, latent: Latent) -> State:
        """The state ahead of the first step: empty caches, and the memory's keys and values, computed once."""
        memory, mask = self._memory(latent)
        nowhere = torch.zeros(1, dtype=torch.long, device=memory.device)
        pairs = tuple(layer.other.keys_values(memory, nowhere) for layer in self.layers)  # type: ignore[operator, union-attr]
        empty = memory.new_empty(memory.shape[0], self.num_heads, ROOM, self.d_model // self.num_heads)
        caches = tuple(Cache(empty.clone(), empty.clone(), 0) for _ in self.layers)
        return State(caches, pairs, mask)

    def step(self, previous: Tensor, state: State) -> tuple[Tensor, State]:
        """The output ``(B, …)`` after what was written last: classes ``(B,)`` or real numbers ``(B, D)``."""
        if self.symbols is None:
            raise ShapeError("transformer decoder: autoregressive=False writes all steps at once")
        x = self.symbols(previous.unsqueeze(1))
        length = state.caches[0].length
        positions = torch.arange(length, length + 1, device=x.device)
        x, caches = self.where(x, positions), []
        for layer, cache, pair in zip(self.layers, state.caches, state.memory, strict=True):
            x, cache = layer.step(x, positions, cache, pair, state.mask, state.readers)  # type: ignore[operator]
            caches.append(cache)
        return self._ended(x).squeeze(1), state._replace(caches=tuple(caches))
