"""Recurrent decoders: with attention or without, all steps at once or one by one."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from isthmus.checks import choice, instance, integer, number, optional
from isthmus.errors import ParameterError, ShapeError
from isthmus.nn.attention import SCORES, Attention
from isthmus.nn.memory import together, which_memories
from isthmus.nn.recurrent import CELLS, Recurrent
from isthmus.nn.statistics import position_mean
from isthmus.nn.symbols import Symbols, positions_to_write, require_sequence
from isthmus.part import Decoder, Encoder, built
from isthmus.types import Latent, Space

__all__ = ["RNNDecoder"]


class State(NamedTuple):
    """Hidden states ``(B, layers, H)``, what is read beside a symbol ``(B, 1, …)`` (the last attentional vector,
    or the latent), and the memory with its keys and mask, each for so many readers that are neighbours."""

    hidden: tuple[Tensor, ...]
    feed: Tensor | None
    memory: Tensor | None
    keys: Tensor | None
    mask: Tensor | None
    readers: int = 1

    def select(self, rows: Tensor) -> State:
        """Of these rows."""
        hidden = tuple(part.index_select(0, rows) for part in self.hidden)
        feed = None if self.feed is None else self.feed.index_select(0, rows)
        after = self._replace(hidden=hidden, feed=feed)
        if self.memory is None or self.keys is None:
            return after
        memories, readers = which_memories(rows, len(self.memory), self.readers)
        if memories is None:
            return after._replace(readers=readers)
        memory, keys = self.memory.index_select(0, memories), self.keys.index_select(0, memories)
        mask = None if self.mask is None else self.mask.index_select(0, memories)
        return after._replace(memory=memory, keys=keys, mask=mask, readers=readers)


class RNNDecoder(Decoder):
    """GRU or LSTM layers that write a sequence, given a latent vector or attending to a latent sequence.

    Without attention the latent begins the hidden states, h₀ = tanh(W z + b), of a sequence its mean
    (Sutskever et al. 2014; Cho et al. 2014). With attention each step's output h is joined with its context
    c: h̃ = tanh(W [c; h]) (Luong et al. 2015). Where we differ from Bahdanau et al. 2015: the query is the
    state after the step, not before it, so that all steps of training are one call of the fused layer.

    An autoregressive decoder reads what it wrote last; it is taught with the target one step late. One that
    is not reads the latent vector at every step (the unconditioned decoder of Srivastava et al. 2015), which
    keeps a reconstruction of real numbers from drifting.

    Parameters
    ----------
    hidden_size : int
    num_layers : int
    cell : {"gru", "lstm"}
    attention : {None, "additive", "multiplicative", "dot"}
        To a latent sequence: see `isthmus.nn.attention.Attention`.
    input_feeding : bool
        h̃ of the last step is read beside its symbol (Luong et al. 2015): training goes step by step.
    dropout : float
        Of what enters each layer, and of h̃.
    embedding_dim : int, optional
        Width of a class's vector; None: ``hidden_size``.
    autoregressive : bool, optional
        None: for targets of classes, and where the latent is a sequence.
    word_dropout : float
        Share of the teacher's classes that a blank hides in training, so that the latent must tell what they
        were (Bowman et al. 2016).
    repeat_latent : bool
        A latent vector is read at every step, too, beside what was written last (Cho et al. 2014).
    """

    formula: ClassVar[str] = "hₜ = cell([yₜ₋₁; h̃ₜ₋₁], hₜ₋₁);  h̃ₜ = tanh(W [cₜ; hₜ]);  output = V h̃ₜ"
    stepwise = True
    allowed: ClassVar = {
        "hidden_size": integer(1),
        "num_layers": integer(1),
        "cell": choice(CELLS),
        "attention": optional(choice(SCORES)),
        "input_feeding": instance(bool, "True or False"),
        "dropout": number(0, 1, open_high=True),
        "embedding_dim": optional(integer(1)),
        "word_dropout": number(0, 1, open_high=True),
        "autoregressive": optional(instance(bool, "True or False")),
        "repeat_latent": instance(bool, "True or False"),
    }

    def __init__(
        self,
        hidden_size: int = 128,
        num_layers: int = 1,
        cell: str = "gru",
        attention: str | None = None,
        input_feeding: bool = False,
        dropout: float = 0.0,
        embedding_dim: int | None = None,
        autoregressive: bool | None = None,
        word_dropout: float = 0.0,
        repeat_latent: bool = False,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.cell = cell
        self.attention = attention
        self.input_feeding = input_feeding
        self.dropout = dropout
        self.embedding_dim = embedding_dim
        self.autoregressive = autoregressive
        self.word_dropout = word_dropout
        self.repeat_latent = repeat_latent

    @classmethod
    def mirror(cls, encoder: Encoder) -> RNNDecoder:
        params = encoder.get_params(deep=False)
        shared = {name: params[name] for name in cls.parameter_names() if name in params}
        return cls(**shared, attention="additive" if params.get("pool", "last") is None else None)

    def check(self) -> None:
        super().check()
        if self.input_feeding and self.attention is None:
            raise ParameterError("RNNDecoder: input_feeding needs attention, 'additive', 'multiplicative' or 'dot'")
        if self.attention is not None and self.autoregressive is False:
            raise ParameterError("RNNDecoder: autoregressive=False reads a latent vector, so attention must be None")

    def build(self, space: Space, out: Space | None = None, target: Space | None = None) -> Self:
        super(Decoder, self).build(space)
        space = Space.of(space)
        self.out = Space.of(out) if out is not None else space
        target = Space.of(target) if target is not None else self.out
        require_sequence("rnn decoder", target)
        whole = len(space.shape) == 1  # the latent is a vector
        if len(space.shape) > 2:
            raise ShapeError(f"rnn decoder reads a vector or a sequence, got a latent of shape {space.shape}")
        if whole and self.attention is not None:
            raise ShapeError("rnn decoder: attention needs a latent sequence; give the encoder pool=None")
        auto = target.classes is not None or not whole
        self.stepwise = auto if self.autoregressive is None else self.autoregressive
        if auto and not self.stepwise:
            raise ShapeError("rnn decoder: autoregressive must be True for classes and for a latent sequence")
        width, size = (space.shape[-1] or 1) + space.condition, self.hidden_size
        embedded = self.embedding_dim or size
        self.symbols = Symbols(target, embedded, 2, self.word_dropout) if self.stepwise else None
        self.repeats = self.repeat_latent and whole and self.stepwise
        fed = size if self.input_feeding else width if self.repeats else 0
        entering = (embedded if self.stepwise else width) + fed
        self.recurrent = Recurrent(self.cell, entering, size, self.num_layers, dropout=self.dropout)
        self.begin = nn.Linear(width, size * self.num_layers * self.recurrent.n_states)
        if self.attention is not None:
            self.attend = Attention(self.attention, size, width)
            self.join = nn.Linear(width + size, size)
        self.end = nn.Linear(size, self.out.shape[-1] or 1)
        return self

    # ------------------------------------------------------------------ all steps at once

    def forward(self, latent: Latent, teacher: Tensor | None = None) -> Tensor:
        out = built(self)
        state, drop = self.start(latent), self.recurrent.dropout
        if self.symbols is None:
            x = drop(with_told(latent)).unsqueeze(1).expand(-1, positions_to_write(latent, out), -1)
        else:
            x = drop(self.symbols(teacher))
        if self.input_feeding:
            outputs = []
            for t in range(x.shape[1]):
                h, state = self._advance(x[:, t : t + 1], state)
                outputs.append(h)
            return self.end(torch.cat(outputs, 1))  # type: ignore[no-any-return]
        return self.end(self._advance(x, state)[0])  # type: ignore[no-any-return]

    def attention_weights(self, latent: Latent, teacher: Tensor) -> Tensor:
        """Where each step of the teacher looked, ``(B, T, S)``."""
        if self.attention is None or self.symbols is None:
            raise ShapeError("rnn decoder has no attention to show; give it attention='additive'")
        state, x, rows = self.start(latent), self.symbols(teacher), []
        for t in range(x.shape[1]):
            h, hidden = self.recurrent(self._with_feed(x[:, t : t + 1], state), state=state.hidden)
            context, weights = self.attend(h, state.keys, state.memory, state.mask)
            feed = self.join(torch.cat([context, h], -1)).tanh() if self.input_feeding else state.feed
            state = state._replace(hidden=hidden, feed=feed)
            rows.append(weights)
        return torch.cat(rows, 1)

    # ------------------------------------------------------------------ one by one

    def start(self, latent: Latent) -> State:
        """The state ahead of the first step."""
        z, mask = with_told(latent), latent.bypass.mask
        whole = z if z.dim() == 2 else position_mean(z, mask)
        parts = self.begin(whole).tanh().unflatten(-1, (self.recurrent.n_states, self.num_layers, -1))
        hidden = tuple(parts.unbind(1))
        if self.attention is None:
            return State(hidden, z.unsqueeze(1) if self.repeats else None, None, None, None)
        feed = z.new_zeros(z.shape[0], 1, self.hidden_size) if self.input_feeding else None
        return State(hidden, feed, z, self.attend.keys(z), mask)

    def step(self, previous: Tensor, state: State) -> tuple[Tensor, State]:
        """The output ``(B, …)`` after what was written last: classes ``(B,)`` or real numbers ``(B, D)``."""
        if self.symbols is None:
            raise ShapeError("rnn decoder: autoregressive=False writes all steps at once")
        h, state = self._advance(self.symbols(previous.unsqueeze(1)), state)
        return self.end(h).squeeze(1), state

    def _advance(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Positions ``(B, T, E)`` to what the end reads, and the state after them."""
        h, hidden = self.recurrent(self._with_feed(x, state), state=state.hidden)
        if self.attention is not None:
            context, _ = self.attend(together(h, state.readers), state.keys, state.memory, state.mask)
            h = self.join(torch.cat([context.view(*h.shape[:2], -1), h], -1)).tanh()
            if self.input_feeding:
                state = state._replace(feed=h[:, -1:])
        return self.recurrent.dropout(h), state._replace(hidden=hidden)

    def _with_feed(self, x: Tensor, state: State) -> Tensor:
        return x if state.feed is None else torch.cat([x, state.feed.expand(-1, x.shape[1], -1)], -1)


def with_told(latent: Latent) -> Tensor:
    """The latent with what the model is told beside it."""
    z, told = latent.z, latent.bypass.condition
    if told is None:
        return z
    told = told if z.dim() == 2 else told.unsqueeze(1).expand(-1, z.shape[1], -1)
    return torch.cat([z, told.to(z.dtype)], -1)
