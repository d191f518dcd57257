"""The contracting half of a U-Net."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

from torch import nn

from isthmus.checks import choice, integer
from isthmus.errors import ParameterError, ShapeError
from isthmus.nn.conv import (
    UNET_PARAMETERS,
    SelfAttention,
    Style,
    channels_first_view,
    channels_last_view,
    dimensions,
    downsampled,
    halvings,
    level_blocks,
    strided_mask,
    with_condition,
)
from isthmus.part import Encoder, built
from isthmus.types import Features, Seen, Space

__all__ = ["UNetEncoder"]


class UNetEncoder(Encoder):
    """Levels of convolutions, each at half the resolution of the one before; every level but the last skips.

    Ronneberger, Fischer & Brox, U-Net, 2015, for one to three dimensions. Where we differ: convolutions
    are padded, so that the output has the input's size; a level of n positions goes to ceil(n / 2), so
    that any size is allowed; downsampling is a strided convolution by default (Isensee et al. 2021).

    Parameters
    ----------
    channels : sequence of int
        Width of each level, the first at full resolution. All but the last become skips.
    blocks : int
        Convolution blocks a level.
    residual : bool
        The blocks after a level's first are residual, of two convolutions each (He et al. 2016).
    kernel_size : int
        Odd.
    normalization : {None, "batch", "group", "instance"}
    activation : str
        One of `isthmus.nn.mlp.ACTIVATIONS`.
    attention_heads : int
        Heads of a self-attention over the positions of the last level; 0 has none. It must divide the
        last of ``channels``.
    global_residual : bool
        The input itself is the first skip, and the decoder adds it to its output: the network learns the
        difference (Zhang et al. 2017, "residual learning"). For targets in the input's units.
    spacing : sequence of float, optional
        Distance of neighbours along each axis, in any unit (the voxel spacing of a volume): a level halves
        an axis only where it is less than twice the shortest.
    downsampling : {"conv", "max"}
        A convolution of stride 2, or the maximum of 2 positions an axis (the paper's).
    dims : {None, 1, 2, 3}
        As in `ConvEncoder`.
    """

    formula: ClassVar[str] = "hₗ = blocks(↓ hₗ₋₁); skips h₁ … hₗ₋₁"
    any_size: ClassVar[bool] = True
    allowed: ClassVar = UNET_PARAMETERS | {
        "attention_heads": integer(0),
        "downsampling": choice(["conv", "max"]),
    }

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 256),
        blocks: int = 2,
        residual: bool = False,
        kernel_size: int = 3,
        normalization: str | None = "batch",
        activation: str = "relu",
        attention_heads: int = 0,
        global_residual: bool = False,
        spacing: Sequence[float] | None = None,
        downsampling: str = "conv",
        dims: int | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.blocks = blocks
        self.residual = residual
        self.kernel_size = kernel_size
        self.normalization = normalization
        self.activation = activation
        self.attention_heads = attention_heads
        self.global_residual = global_residual
        self.spacing = spacing
        self.downsampling = downsampling
        self.dims = dims

    def check(self) -> None:
        super().check()
        if len(self.channels) < 2:
            raise ParameterError(f"UNetEncoder: channels must have at least 2 levels, got {self.channels}")
        if self.attention_heads and self.channels[-1] % self.attention_heads:
            raise ParameterError(
                f"UNetEncoder: attention_heads must divide the last of channels, {self.channels[-1]}, "
                f"got {self.attention_heads}"
            )

    def build(self, space: Space) -> Self:
        super().build(space)
        space = Space.of(space)
        dims = dimensions("unet encoder", space.shape, self.dims)
        if self.spacing is not None and len(self.spacing) != dims:
            raise ParameterError(f"UNetEncoder: spacing must have {dims} numbers, one an axis, got {self.spacing}")
        if space.classes is not None:
            raise ShapeError(f"unet encoder needs real inputs, got {space}")
        *sizes, width = space.shape
        spaces = [Space(space.shape)] if self.global_residual else []
        width = (width or 1) + space.condition
        levels: list[nn.Module] = []
        style = Style(self.kernel_size, self.normalization, self.activation)
        strides = [None, *halvings(len(self.channels), dims, self.spacing)]
        for channels, stride in zip(self.channels, strides, strict=True):
            levels.append(
                level_blocks(
                    dims, width, channels, style, self.blocks, self.residual, stride, downsampling=self.downsampling
                )
            )
            width, sizes = channels, list(downsampled(sizes, stride or 1))
            spaces.append(Space((*sizes, width)))
        self.levels = nn.ModuleList(levels)
        self.total_stride = [math.prod(steps) for steps in zip(*strides[1:], strict=True)]
        self.attention = SelfAttention(width, self.attention_heads) if self.attention_heads else nn.Identity()
        self.out = spaces.pop()._replace(skips=tuple(spaces), condition=space.condition)
        return self

    def forward(self, seen: Seen) -> Features:
        built(self)
        x = channels_first_view(with_condition(seen.x, seen.bypass.condition))  # (B, C, *positions)
        skips = [seen.x] if self.global_residual else []
        for level in self.levels:
            x = level(x)
            skips.append(channels_last_view(x))
        skips.pop()
        mask = strided_mask(seen.bypass.mask, self.total_stride)
        return Features(channels_last_view(self.attention(x)), seen.bypass._replace(mask=mask, skips=tuple(skips)))
