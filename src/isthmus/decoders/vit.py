"""The light Transformer that paints patches."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from isthmus.checks import Check
from isthmus.errors import ShapeError
from isthmus.nn.dropout import Dropout
from isthmus.nn.patches import grid_of, grid_positions, pictures_of
from isthmus.nn.transformer import VIT_PARAMETERS, Layer, check_heads, shape_of
from isthmus.part import Decoder, Encoder, built
from isthmus.types import Latent, Space

__all__ = ["ViTDecoder"]


class ViTDecoder(Decoder):
    """Layers of self-attention over all patches, each of which ends as its own pixels (He et al. 2022).

    A patch begins as the vector of its code or, where none is given, as one learnt blank, and its position. A
    latent vector is added to every blank.

    Parameters
    ----------
    patch_size, d_model, num_heads, num_layers, feedforward, dropout, activation
        As in `ViTEncoder`.
    """

    formula: ClassVar[str] = "x̂ = W layers([V z; blank] + positions), patch by patch"
    allowed: ClassVar[dict[str, Check]] = VIT_PARAMETERS
    norm_first: ClassVar[bool] = True
    positions: ClassVar[str] = "sinusoidal"

    def __init__(
        self,
        patch_size: int = 4,
        d_model: int = 64,
        num_heads: int = 4,
        num_layers: int = 2,
        feedforward: int | None = None,
        dropout: float = 0.0,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.feedforward = feedforward
        self.dropout = dropout
        self.activation = activation

    @classmethod
    def mirror(cls, encoder: Encoder) -> ViTDecoder:
        params = encoder.get_params(deep=False)
        shared = {name: params[name] for name in cls.parameter_names() if name in params}
        return cls(**shared | {"num_layers": max(1, params["num_layers"] // 2)})

    def check(self) -> None:
        super().check()
        check_heads(self)

    def build(self, space: Space, out: Space | None = None, target: Space | None = None) -> Self:
        super(Decoder, self).build(space)
        space = Space.of(space)
        self.out = out = Space.of(out) if out is not None else space
        if not 2 <= len(out.shape) <= 4 or None in out.shape:
            raise ShapeError(f"vit decoder paints pictures of one size, (*positions, C), got {tuple(out.shape)}")
        if len(space.shape) > 2 or space.condition:
            raise ShapeError(f"vit decoder reads a vector or a sequence without condition, got {space}")
        grid = grid_of(out.shape[:-1], self.patch_size)  # type: ignore[arg-type]
        self.into = nn.Linear(space.shape[-1] or 1, self.d_model)
        self.blank = nn.Parameter(0.02 * torch.randn(self.d_model))
        self.register_buffer("where", grid_positions(grid, self.d_model, self.blank.device), persistent=False)
        self.layers = nn.ModuleList(Layer(shape_of(self)) for _ in range(self.num_layers))
        self.norm = nn.LayerNorm(self.d_model)
        self.drop = Dropout(self.dropout)
        self.end = nn.Linear(self.d_model, self.patch_size ** len(grid) * (out.shape[-1] or 1))
        return self

    def forward(self, latent: Latent, teacher: Tensor | None = None) -> Tensor:
        out, z = built(self), self.into(latent.z)
        blanks = self.blank.to(z.dtype).expand(z.shape[0], len(self.where), -1)  # type: ignore[arg-type]
        if z.dim() == 2:
            x = blanks + z.unsqueeze(1)
        elif latent.bypass.positions is not None:
            x = blanks.scatter(1, latent.bypass.positions.unsqueeze(-1).expand_as(z), z)
        elif z.shape[1] == blanks.shape[1]:
            x = z + 0.0 * blanks  # every patch is given, yet each parameter has a gradient
        else:
            raise ShapeError(f"vit decoder needs a code for each of {blanks.shape[1]} patches, got {z.shape[1]}")
        x = self.drop(x + self.where.to(z.dtype))  # type: ignore[operator]
        positions = torch.arange(x.shape[1], device=x.device)
        for layer in self.layers:
            x = layer(x, positions)
        size: list[int] = [length or 1 for length in out.shape[:-1]]
        return pictures_of(self.end(self.norm(x)), size, self.patch_size)
