"""The fully connected decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from isthmus.errors import ShapeError
from isthmus.nn.mlp import MLP_PARAMETERS, dense_stack
from isthmus.part import Decoder, Encoder, built
from isthmus.types import Latent, Space

__all__ = ["MLPDecoder"]


class MLPDecoder(Decoder):
    """Hidden layers as in `MLPEncoder`, and a linear end in the shape that the loss asks for.

    Parameters
    ----------
    hidden_dims : sequence of int
        Widths from the latent to the output: the encoder's, reversed, for a mirror.
    activation, normalization, dropout, residual
        As in `MLPEncoder`.
    """

    formula: ClassVar[str] = "x̂ = V a(W z + b) + c"
    allowed: ClassVar = MLP_PARAMETERS

    def __init__(
        self,
        hidden_dims: Sequence[int] = (128, 256),
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

    @classmethod
    def mirror(cls, encoder: Encoder) -> MLPDecoder:
        params = encoder.get_params(deep=False)
        return cls(**{**params, "hidden_dims": tuple(params["hidden_dims"])[::-1]})

    def build(self, space: Space, out: Space | None = None, target: Space | None = None) -> Self:
        super(Decoder, self).build(space)
        space = Space.of(space)
        self.out = Space.of(out) if out is not None else space
        size = self.out.size
        if len(space.shape) != 1 or space.size is None:
            raise ShapeError(f"mlp decoder reads one vector a sample, got a latent of shape {space.shape}")
        if size is None:
            raise ShapeError(f"mlp decoder gives a fixed size, got an output of shape {self.out.shape}")
        if space.skips:
            raise ShapeError(f"mlp decoder expects 0 skips, encoder gives {len(space.skips)}")
        self.layers, width = dense_stack(
            space.size + space.condition,
            self.hidden_dims,
            self.activation,
            self.normalization,
            self.dropout,
            self.residual,
        )
        self.end = nn.Linear(width, size)
        return self

    def forward(self, latent: Latent, teacher: Tensor | None = None) -> Tensor:
        shape = built(self).shape
        z = latent.z
        if latent.bypass.condition is not None:
            z = torch.cat([z, latent.bypass.condition], -1)
        output: Tensor = self.end(self.layers(z))  # (B, size)
        return output if len(shape) == 1 else output.unflatten(-1, [int(length or 1) for length in shape])
