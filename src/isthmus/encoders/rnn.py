"""Recurrent encoders of sequences."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from isthmus.checks import choice, instance, integer, number, optional
from isthmus.nn.recurrent import CELLS, Recurrent
from isthmus.nn.statistics import position_mean
from isthmus.nn.symbols import Symbols, require_sequence
from isthmus.part import Encoder, built
from isthmus.types import Features, Seen, Space

__all__ = ["RNNEncoder"]


class RNNEncoder(Encoder):
    """GRU or LSTM layers over a sequence; one vector for all of it, or one a position.

    Parameters
    ----------
    hidden_size : int
        Of each direction.
    num_layers : int
    cell : {"gru", "lstm"}
    bidirectional : bool
        Reads from the end too; a vector is twice as wide.
    dropout : float
        Of what enters each layer.
    pool : {"last", "mean", None}
        "last": the states after the last step of each direction (Sutskever et al. 2014). "mean": over
        positions. None: every position, for a decoder that attends to them.
    embedding_dim : int, optional
        Width of a class's vector; None: ``hidden_size``.
    """

    formula: ClassVar[str] = "hₜ = cell(xₜ, hₜ₋₁)"
    any_size: ClassVar[bool] = True
    sequences: ClassVar[bool] = True
    allowed: ClassVar = {
        "hidden_size": integer(1),
        "num_layers": integer(1),
        "cell": choice(CELLS),
        "bidirectional": instance(bool, "True or False"),
        "dropout": number(0, 1, open_high=True),
        "pool": optional(choice(["last", "mean"])),
        "embedding_dim": optional(integer(1)),
    }

    def __init__(
        self,
        hidden_size: int = 128,
        num_layers: int = 1,
        cell: str = "gru",
        bidirectional: bool = True,
        dropout: float = 0.0,
        pool: str | None = "last",
        embedding_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.cell = cell
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.pool = pool
        self.embedding_dim = embedding_dim

    def build(self, space: Space) -> Self:
        super().build(space)
        space = Space.of(space)
        require_sequence("rnn encoder", space)
        width = self.embedding_dim or self.hidden_size
        self.symbols = Symbols(space, width, extra=1)
        self.recurrent = Recurrent(
            self.cell, width + space.condition, self.hidden_size, self.num_layers, self.bidirectional, self.dropout
        )
        positions = () if self.pool is not None else space.shape[:1]
        self.out = Space((*positions, self.recurrent.width), condition=space.condition)
        return self

    def forward(self, seen: Seen) -> Features:
        built(self)
        mask, condition = seen.bypass.mask, seen.bypass.condition
        x = self.recurrent.dropout(self.symbols(seen.x))
        if condition is not None:
            x = torch.cat([x, condition.unsqueeze(1).expand(-1, x.shape[1], -1).to(x.dtype)], -1)
        h, _ = self.recurrent(x, mask)
        if self.pool is None:
            return Features(h, seen.bypass)
        pooled = position_mean(h, mask) if self.pool == "mean" else self._ends(h, mask)
        return Features(pooled, seen.bypass._replace(mask=None))

    def _ends(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """The onward half at each row's last position, beside the backward half at its first."""
        if mask is None:
            last = h[:, -1]
        else:
            index = (mask.sum(1) - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, h.shape[-1])
            last = h.gather(1, index).squeeze(1)
        if not self.bidirectional:
            return last
        return torch.cat([last[:, : self.hidden_size], h[:, 0, self.hidden_size :]], -1)
