"""The convolutional decoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Self

from torch import Tensor, nn

from isthmus.checks import choice, integer
from isthmus.errors import ShapeError
from isthmus.nn.conv import (
    CONV_PARAMETERS,
    ResidualBlock,
    Style,
    Upsample,
    channels_first_view,
    channels_last_view,
    dimensions,
    downsampled,
    in_place,
    normalized,
    with_condition,
)
from isthmus.nn.mlp import activation_of
from isthmus.part import Decoder, Encoder, built
from isthmus.types import Latent, Space

__all__ = ["ConvDecoder"]


class ConvDecoder(Decoder):
    """Unfolds a vector to a map, or takes a map, and upsamples it level by level to the size asked for.

    Each level takes the sizes that `ConvEncoder` had there: what ceil(n / stride) added is cut. A map of
    free size is upsampled whole, and the model cuts it to its input.

    Parameters
    ----------
    channels : sequence of int
        Width of each level, from the code outwards: the encoder's, reversed, for a mirror. The output's
        own channels come after the last.
    kernel_size, stride, normalization, activation, residual_blocks, dims
        As in `ConvEncoder`.
    upsampling : {"transposed", "resize"}
        A transposed convolution, or the nearest neighbour and a convolution: no checkerboard (Odena,
        Dumoulin & Olah 2016), more work.
    """

    formula: ClassVar[str] = "x̂ = W ∗ᵀ a(… V z + b) + c, level by level"
    allowed: ClassVar = CONV_PARAMETERS | {
        "residual_blocks": integer(0),
        "upsampling": choice(["transposed", "resize"]),
    }

    def __init__(
        self,
        channels: Sequence[int] = (64, 32),
        kernel_size: int = 3,
        stride: int = 2,
        normalization: str | None = None,
        activation: str = "relu",
        residual_blocks: int = 0,
        upsampling: str = "transposed",
        dims: int | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.normalization = normalization
        self.activation = activation
        self.residual_blocks = residual_blocks
        self.upsampling = upsampling
        self.dims = dims

    @classmethod
    def mirror(cls, encoder: Encoder) -> ConvDecoder:
        params = encoder.get_params(deep=False)
        del params["pool"]
        return cls(**{**params, "channels": tuple(params["channels"])[::-1]})

    def build(self, space: Space, out: Space | None = None, target: Space | None = None) -> Self:
        super(Decoder, self).build(space)
        space = Space.of(space)
        self.out = Space.of(out) if out is not None else space
        dims = dimensions("conv decoder", self.out.shape, self.dims)
        if space.skips:
            raise ShapeError(f"conv decoder expects 0 skips, encoder gives {len(space.skips)}")
        if len(space.shape) not in (1, dims + 1) or space.shape[-1] is None:
            raise ShapeError(f"conv decoder reads a vector or a map of {dims} axes, got a latent {space.shape}")
        *outside, width_out = self.out.shape
        self.sizes = [tuple(outside)]
        for _ in self.channels:
            self.sizes.insert(0, downsampled(self.sizes[0], self.stride))
        start = self._start(space)
        first = self.channels[0]
        size = Space((*start, first)).size
        if size is None:
            raise ShapeError("conv decoder unfolds a vector to one size; for a free size the code must be a map")
        self.start = (*start, first)
        self.unfold = nn.Linear(space.shape[-1] + space.condition, size)
        self.activate = in_place(activation_of(self.activation))
        self.levels = nn.ModuleList(
            UpLevel(self, dims, width, after, last=number == len(self.channels))
            for number, (width, after) in enumerate(pairwise((*self.channels, width_out or 1)), start=1)
        )
        return self

    def _start(self, space: Space) -> tuple[int | None, ...]:
        """The positions that one code unfolds to: all of the innermost map, or its own for a map."""
        if len(space.shape) == 1:
            return self.sizes[0]
        if tuple(space.shape[:-1]) != self.sizes[0]:
            wanted = (*self.sizes[0], space.shape[-1])
            raise ShapeError(f"conv decoder of {len(self.channels)} levels expects a map {wanted}, got {space.shape}")
        return ()

    def forward(self, latent: Latent, teacher: Tensor | None = None) -> Tensor:
        built(self)
        h = self.activate(self.unfold(with_condition(latent.z, latent.bypass.condition)))
        if latent.z.dim() == 2:
            h = h.unflatten(-1, [int(length or 1) for length in self.start])
        x = channels_first_view(h)  # (B, C, *positions)
        for level, sizes in zip(self.levels, self.sizes[1:], strict=True):
            x = level(x, sizes)
        return channels_last_view(x)


class UpLevel(nn.Module):
    """Residual blocks → upsampling → normalisation → activation; the last level ends linear."""

    def __init__(self, like: ConvDecoder, dims: int, width: int, after: int, last: bool) -> None:
        super().__init__()
        style = Style(like.kernel_size, like.normalization, like.activation)
        self.blocks = nn.Sequential(*[ResidualBlock(dims, width, style) for _ in range(like.residual_blocks)])
        self.up = Upsample(dims, width, after, like.kernel_size, like.stride, like.upsampling)
        self.normalization = normalized(dims, after, None if last else like.normalization)
        self.activation = in_place(activation_of(None if last else like.activation))

    def forward(self, x: Tensor, sizes: Sequence[int | None]) -> Tensor:
        return self.activation(self.normalization(self.up(self.blocks(x), sizes)))  # type: ignore[no-any-return]
