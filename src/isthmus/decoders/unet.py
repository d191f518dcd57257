"""The expanding half of a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.checks import choice, integer, optional
from isthmus.errors import ShapeError
from isthmus.nn.conv import (
    CONV,
    UNET_PARAMETERS,
    Style,
    Upsample,
    channels_first_view,
    channels_last_view,
    cut,
    dimensions,
    halvings,
    level_blocks,
    with_condition,
    zero_,
)
from isthmus.part import Decoder, Encoder, built
from isthmus.types import Latent, Space

__all__ = ["UNetDecoder"]


class UNetDecoder(Decoder):
    """Levels that double the resolution, join the encoder's skip of that size, and convolve.

    Ronneberger, Fischer & Brox, U-Net, 2015; differences as in `UNetEncoder`.

    Parameters
    ----------
    channels : sequence of int, optional
        Width of each level from the innermost skip outwards: the encoder's but its last, reversed. None:
        that of each skip.
    blocks, residual, kernel_size, normalization, activation, global_residual, spacing, dims
        As in `UNetEncoder`.
    upsampling : {"transposed", "resize"}
        A transposed convolution of 2 positions an axis, or the nearest neighbour and a convolution of one.
    merge : {"concat", "add"}
        How a skip joins: beside the upsampled map (the paper's), or added to it, which is cheaper.
    deep_supervision : int
        Levels that predict, the last and those before it; 1 is the plain U-Net. More give as many
        predictions at full size (the coarser ones by nearest neighbour), for the loss `DeepSupervision`.
    """

    formula: ClassVar[str] = "xₗ = blocks([↑ xₗ₊₁, skipₗ]);  x̂ = W x₁ + b"
    allowed: ClassVar = UNET_PARAMETERS | {
        "channels": optional(UNET_PARAMETERS["channels"]),
        "upsampling": choice(["transposed", "resize"]),
        "merge": choice(["concat", "add"]),
        "deep_supervision": integer(1),
    }

    def __init__(
        self,
        channels: Sequence[int] | None = (128, 64, 32),
        blocks: int = 2,
        residual: bool = False,
        kernel_size: int = 3,
        normalization: str | None = "batch",
        activation: str = "relu",
        global_residual: bool = False,
        spacing: Sequence[float] | None = None,
        upsampling: str = "transposed",
        merge: str = "concat",
        deep_supervision: int = 1,
        dims: int | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.blocks = blocks
        self.residual = residual
        self.kernel_size = kernel_size
        self.normalization = normalization
        self.activation = activation
        self.global_residual = global_residual
        self.spacing = spacing
        self.upsampling = upsampling
        self.merge = merge
        self.deep_supervision = deep_supervision
        self.dims = dims

    @classmethod
    def mirror(cls, encoder: Encoder) -> UNetDecoder:
        params = encoder.get_params(deep=False)
        shared = {name: params[name] for name in cls.parameter_names() if name in params}
        channels = tuple(params["channels"])[-2::-1] if "channels" in params else None
        return cls(**{**shared, "channels": channels})

    def build(self, space: Space, out: Space | None = None, target: Space | None = None) -> Self:
        super(Decoder, self).build(space)
        space = Space.of(space)
        self.out = Space.of(out) if out is not None else space
        dims = dimensions("unet decoder", self.out.shape, self.dims)
        skips = [skip.shape[-1] or 1 for skip in space.skips[self.global_residual :][::-1]]  # inner to outer
        channels = list(self.channels or skips)
        expected = max(1, len(channels)) + self.global_residual
        if len(space.skips) != expected:
            raise ShapeError(f"unet decoder expects {expected} skips, encoder gives {len(space.skips)}")
        if len(space.shape) != dims + 1:
            raise ShapeError(f"unet decoder reads a map of {dims} axes, got a latent of shape {space.shape}")
        heads, rest = divmod(self.out.shape[-1] or 1, self.deep_supervision)
        if rest or self.deep_supervision > len(channels):
            raise ShapeError(
                f"deep_supervision={self.deep_supervision} needs loss=DeepSupervision(..., levels=the same) and as "
                f"many levels, got {self.out.shape[-1]} output channels and {len(channels)} levels"
            )
        if self.global_residual and space.skips[0].shape[-1] != heads:
            raise ShapeError(
                f"global_residual adds the input to the output: they must have equally many channels, "
                f"got {space.skips[0].shape[-1]} and {heads}"
            )
        width = (space.shape[-1] or 1) + space.condition
        self.levels = nn.ModuleList()
        strides = halvings(len(channels) + 1, dims, self.spacing)[::-1]
        for skip, wide, stride in zip(skips, channels, strides, strict=True):
            self.levels.append(UpLevel(self, dims, width, skip, wide, stride))
            width = wide
        self.scales = [[1.0] * dims]
        for stride in strides[: -self.deep_supervision : -1]:
            self.scales.insert(0, [scale * step for scale, step in zip(self.scales[0], stride, strict=True)])
        predicting = channels[-self.deep_supervision :]
        self.ends = nn.ModuleList(CONV[dims](width, heads, 1) for width in predicting)
        if self.global_residual:
            for end in self.ends:
                zero_(end)
        return self

    def forward(self, latent: Latent, teacher: Tensor | None = None) -> Tensor:
        built(self)
        x = channels_first_view(with_condition(latent.z, latent.bypass.condition))
        skips = [channels_first_view(skip) for skip in latent.bypass.skips]
        outer = skips.pop(0) if self.global_residual else None
        maps: list[Tensor] = []
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            x = level(x, skip)
            maps.append(x)
        outputs = [end(found) for end, found in zip(self.ends, maps[-len(self.ends) :], strict=True)]
        sizes = outputs[-1].shape[2:]
        for number, scale in enumerate(self.scales[:-1]):
            outputs[number] = cut(F.interpolate(outputs[number], scale_factor=scale, mode="nearest"), sizes)
        whole = [output if outer is None else outer + output for output in reversed(outputs)]
        return channels_last_view(whole[0] if len(whole) == 1 else torch.cat(whole, 1))


class UpLevel(nn.Module):
    """Upsampling, the skip, and the level's blocks."""

    def __init__(
        self, like: UNetDecoder, dims: int, width_in: int, skip: int, width: int, stride: Sequence[int]
    ) -> None:
        super().__init__()
        self.up = Upsample(dims, width_in, skip, 1, stride, like.upsampling)
        self.adds = like.merge == "add"
        style = Style(like.kernel_size, like.normalization, like.activation)
        self.blocks = level_blocks(dims, skip if self.adds else 2 * skip, width, style, like.blocks, like.residual)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x, skip.shape[2:])
        return self.blocks(x + skip if self.adds else torch.cat([x, skip], 1))  # type: ignore[no-any-return]
