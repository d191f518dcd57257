"""The convolutional encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from torch import nn

from isthmus.checks import choice, integer, optional
from isthmus.errors import ShapeError
from isthmus.nn.conv import (
    CONV_PARAMETERS,
    ConvBlock,
    ResidualBlock,
    Style,
    channels_first_view,
    channels_last_view,
    dimensions,
    downsampled,
    strided_mask,
    with_condition,
)
from isthmus.part import Encoder, built
from isthmus.types import Features, Seen, Space

__all__ = ["ConvEncoder"]


class ConvEncoder(Encoder):
    """Strided convolutions over signals, images or volumes of any size.

    A level keeps ceil(n / stride) of n positions. Kernels are odd and padded with zeros by half their
    width, so that output i lies at input i · stride.

    Parameters
    ----------
    channels : sequence of int
        Width of each level.
    kernel_size : int
        Odd.
    stride : int
        Of every level.
    normalization : {None, "batch", "group", "instance"}
        Between convolution and activation; batch normalisation is folded into the kernel to predict.
    activation : str
        One of `isthmus.nn.mlp.ACTIVATIONS`.
    residual_blocks : int
        After each level's strided convolution (He et al. 2016).
    pool : {"flatten", "mean", None}
        How the last map becomes one vector: all its values, or their mean over positions. None keeps the
        map, and with it a code for every position: what pictures of several sizes, and patches, need.
    dims : {None, 1, 2, 3}
        Axes of positions; None takes them from the data. 1 makes an estimator read ``(n, C, T)`` or
        ``(n, T)`` as signals, 3 reads ``(n, D, H, W)`` as volumes of one channel.
    """

    formula: ClassVar[str] = "h = a(W ∗ x + b), level by level; ∗ with a stride"
    allowed: ClassVar = CONV_PARAMETERS | {
        "residual_blocks": integer(0),
        "pool": optional(choice(["flatten", "mean"])),
    }

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        kernel_size: int = 3,
        stride: int = 2,
        normalization: str | None = None,
        activation: str = "relu",
        residual_blocks: int = 0,
        pool: str | None = "flatten",
        dims: int | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.normalization = normalization
        self.activation = activation
        self.residual_blocks = residual_blocks
        self.pool = pool
        self.dims = dims

    def build(self, space: Space) -> Self:
        super().build(space)
        space = Space.of(space)
        dims = dimensions("conv encoder", space.shape, self.dims)
        if space.classes is not None:
            raise ShapeError(f"conv encoder needs real inputs, got {space}")
        *sizes, width = space.shape
        levels: list[nn.Module] = []
        width = (width or 1) + space.condition
        style = Style(self.kernel_size, self.normalization, self.activation)
        for channels in self.channels:
            levels.append(ConvBlock(dims, width, channels, style, self.stride))
            levels.extend(ResidualBlock(dims, channels, style) for _ in range(self.residual_blocks))
            width, sizes = channels, list(downsampled(sizes, self.stride))
        self.levels = nn.Sequential(*levels)
        self.total_stride = [self.stride ** len(self.channels)] * dims
        self.out = Space(self._out_shape(sizes, width), condition=space.condition)
        return self

    def _out_shape(self, sizes: Sequence[int | None], width: int) -> tuple[int | None, ...]:
        if self.pool is None:
            return (*sizes, width)
        size = Space((*sizes, width)).size
        if self.pool == "flatten" and size is None:
            raise ShapeError("conv encoder flattens maps of one size; for a free size give pool=None or encoder='unet'")
        return (size if self.pool == "flatten" else width,)

    def forward(self, seen: Seen) -> Features:
        built(self)
        x = with_condition(seen.x, seen.bypass.condition)  # (B, *positions, C)
        h = channels_last_view(self.levels(channels_first_view(x)))
        if self.pool == "flatten":
            h = h.flatten(1)
        elif self.pool == "mean":
            h = h.flatten(1, -2).mean(1)
        mask = strided_mask(seen.bypass.mask, self.total_stride) if self.pool is None else None
        return Features(h, seen.bypass._replace(mask=mask))
