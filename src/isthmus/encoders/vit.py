"""The Vision Transformer, which reads a picture as a sequence of patches."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from isthmus.checks import Check, choice, optional
from isthmus.errors import ShapeError
from isthmus.nn.dropout import Dropout
from isthmus.nn.patches import grid_of, grid_positions, patches_of
from isthmus.nn.transformer import VIT_PARAMETERS, Layer, check_heads, shape_of
from isthmus.part import Encoder, built
from isthmus.types import Features, Seen, Space

__all__ = ["ViTEncoder"]


class ViTEncoder(Encoder):
    """Layers of self-attention over the patches of signals, images or volumes (Dosovitskiy et al. 2021).

    Where `PatchMasking` hid patches, it reads the visible ones alone (He et al. 2022), so that a step costs that
    much less. Where we differ: no class token; positions are fixed sines along each axis; normalisation comes
    first and last.

    Parameters
    ----------
    patch_size : int
        Along each axis. The last patch of an axis is filled up with zeros where it reaches over the edge.
    d_model : int
        Width throughout.
    num_heads : int
        It must divide ``d_model``.
    num_layers : int
    feedforward : int, optional
        Width inside; None: 4 · d_model.
    dropout : float
    activation : {"gelu", "relu", "swiglu"}
    pool : {None, "mean"}
        None: a code a patch; "mean": their mean.
    """

    formula: ClassVar[str] = "h = layers(W patches(x) + positions)"
    allowed: ClassVar[dict[str, Check]] = VIT_PARAMETERS | {"pool": optional(choice(["mean"]))}
    norm_first: ClassVar[bool] = True
    positions: ClassVar[str] = "sinusoidal"

    def __init__(
        self,
        patch_size: int = 4,
        d_model: int = 128,
        num_heads: int = 4,
        num_layers: int = 4,
        feedforward: int | None = None,
        dropout: float = 0.0,
        activation: str = "gelu",
        pool: str | None = None,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.feedforward = feedforward
        self.dropout = dropout
        self.activation = activation
        self.pool = pool

    def check(self) -> None:
        super().check()
        check_heads(self)

    def build(self, space: Space) -> Self:
        super().build(space)
        space = Space.of(space)
        if space.classes is not None or not 2 <= len(space.shape) <= 4 or None in space.shape:
            raise ShapeError(f"vit encoder needs pictures of one size, (*positions, C), got {tuple(space.shape)}")
        if space.condition:
            raise ShapeError(f"vit encoder takes no condition, got one of width {space.condition}")
        grid = grid_of(space.shape[:-1], self.patch_size)  # type: ignore[arg-type]
        width = self.patch_size ** len(grid) * space.shape[-1]  # type: ignore[operator]
        self.embed = nn.Linear(width, self.d_model)
        where = grid_positions(grid, self.d_model, self.embed.weight.device)
        self.register_buffer("where", where, persistent=False)
        self.layers = nn.ModuleList(Layer(shape_of(self)) for _ in range(self.num_layers))
        self.norm = nn.LayerNorm(self.d_model)
        self.drop = Dropout(self.dropout)
        self.out = Space((self.d_model,) if self.pool is not None else (None, self.d_model))
        return self

    def forward(self, seen: Seen) -> Features:
        built(self)
        x = self.embed(patches_of(seen.x, self.patch_size)) + self.where.to(seen.x.dtype)  # type: ignore[operator]
        if seen.bypass.positions is not None:
            x = at(x, seen.bypass.positions)
        x, positions = self.drop(x), torch.arange(x.shape[1], device=x.device)
        for layer in self.layers:
            x = layer(x, positions)
        x = self.norm(x)
        bypass = seen.bypass._replace(mask=None)
        return Features(x, bypass) if self.pool is None else Features(x.mean(1), bypass)


def at(x: Tensor, positions: Tensor) -> Tensor:
    """The vectors ``(B, n, D)`` that stand at these positions ``(B, n)``."""
    return x.gather(1, positions.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
