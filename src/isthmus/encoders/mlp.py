"""The fully connected encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch

from isthmus.errors import ShapeError
from isthmus.nn.mlp import MLP_PARAMETERS, dense_stack
from isthmus.part import Encoder, built
from isthmus.types import Features, Seen, Space

__all__ = ["MLPEncoder"]


class MLPEncoder(Encoder):
    """Hidden layers, each activated; the map to the latent is the bottleneck's.

    Parameters
    ----------
    hidden_dims : sequence of int
        Widths of the hidden layers; empty gives the (flattened) input itself, so that a linear
        bottleneck makes a linear encoder.
    activation : str
        One of `isthmus.nn.mlp.ACTIVATIONS`.
    normalization : {None, "batch", "layer"}
        Between the linear map and the activation.
    dropout : float
        Probability p that a hidden unit is zeroed in training; the others are scaled by 1/(1 − p)
        (Srivastava et al. 2014, inverted), so prediction is the identity.
    residual : bool
        Adds a layer's input to its output where the widths agree (He et al. 2016).
    """

    formula: ClassVar[str] = "h = a(W x + b), layer by layer"
    allowed: ClassVar = MLP_PARAMETERS

    def __init__(
        self,
        hidden_dims: Sequence[int] = (256, 128),
        activation: str = "relu",
        normalization: str | None = None,
        dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.hidden_dims = hidden_dims
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.residual = residual

    def build(self, space: Space) -> Self:
        super().build(space)
        space = Space.of(space)
        if space.size is None or space.classes is not None:
            raise ShapeError(f"mlp encoder needs real inputs of a fixed size, got {space}")
        self.layers, width = dense_stack(
            space.size + space.condition,
            self.hidden_dims,
            self.activation,
            self.normalization,
            self.dropout,
            self.residual,
        )
        self.out = Space((width,), condition=space.condition)
        return self

    def forward(self, seen: Seen) -> Features:
        built(self)
        x = seen.x.flatten(1) if seen.x.dim() > 2 else seen.x  # (B, size)
        if seen.bypass.condition is not None:
            x = torch.cat([x, seen.bypass.condition], -1)
        return Features(self.layers(x), seen.bypass)
