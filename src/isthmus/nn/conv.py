"""Convolutions in one, two and three dimensions.

The bricks take and give ``(B, C, *positions)``; parts hand them a view of their channels-last
tensors, which is PyTorch's fast memory format. Every layer keeps ceil(n / stride) positions of n, so
no size is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.checks import Check, choice, instance, integer, integers, number, optional
from isthmus.errors import ShapeError
from isthmus.nn.convolution import Conv2d, ConvTranspose2d, rectified
from isthmus.nn.mlp import ACTIVATIONS, activation_of

__all__ = [
    "CONV",
    "CONV_PARAMETERS",
    "UNET_PARAMETERS",
    "ConvBlock",
    "ResidualBlock",
    "SelfAttention",
    "Style",
    "Upsample",
    "channels_first_view",
    "channels_last_view",
    "cut",
    "dimensions",
    "downsampled",
    "first",
    "halvings",
    "level_blocks",
    "normalized",
    "strided_mask",
    "with_condition",
    "zero_",
]

CONV: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: Conv2d, 3: nn.Conv3d}
POOL: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
ONE_SIDED = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus")
GROUP_WIDTH = 8
"""Channels of a group in group normalisation (as many groups as give whole ones)."""


def odd(value: object) -> str | None:
    """An odd whole number: its kernel has a middle, so that positions neither shift nor go missing."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return None if whole and value >= 1 and value % 2 else "an odd whole number, such as 3"  # type: ignore[operator]


def dimension(value: object) -> str | None:
    """Axes of positions that there is a convolution for."""
    return None if type(value) is int and value in CONV else "1 (signals), 2 (images) or 3 (volumes)"


def positive_numbers(value: object) -> str | None:
    """Lengths, one an axis."""
    one = number(0, open_low=True)
    whole = isinstance(value, (list, tuple)) and len(value) > 0 and all(one(item) is None for item in value)
    return None if whole else "a sequence of numbers above 0, one an axis, such as (3.0, 1.0, 1.0)"


def widths(value: object) -> str | None:
    """At least one width."""
    return integers(1)(value) if value else "a sequence of at least one whole number, such as (32, 64)"


CONV_PARAMETERS: dict[str, Check] = {
    "channels": widths,
    "kernel_size": odd,
    "stride": integer(1),
    "normalization": optional(choice(["batch", "group", "instance"])),
    "activation": choice(ACTIVATIONS),
    "dims": optional(dimension),
}


UNET_PARAMETERS: dict[str, Check] = {
    **{name: CONV_PARAMETERS[name] for name in ("channels", "kernel_size", "normalization", "activation", "dims")},
    "blocks": integer(1),
    "residual": instance(bool, "True or False"),
    "spacing": optional(positive_numbers),
    "global_residual": instance(bool, "True or False"),
}


def dimensions(owner: str, shape: Sequence[int | None], dims: int | None) -> int:
    """How many axes of a sample's channels-last shape are positions; refused where it is not 1 to 3."""
    found = len(shape) - 1
    if found not in CONV or (dims is not None and found != dims) or shape[-1] is None:
        wanted = "1 to 3" if dims is None else str(dims)
        raise ShapeError(f"{owner} needs {wanted} axes of positions and one of channels, got the shape {tuple(shape)}")
    return found


def per_axis(stride: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """One stride an axis."""
    return (stride,) * dims if isinstance(stride, int) else tuple(stride)


def downsampled(sizes: Sequence[int | None], stride: int | Sequence[int]) -> tuple[int | None, ...]:
    """ceil(n / stride) of each axis; a free axis stays free."""
    strides = per_axis(stride, len(sizes))
    return tuple(None if size is None else (size + step - 1) // step for size, step in zip(sizes, strides, strict=True))


def halvings(levels: int, dims: int, spacing: Sequence[float] | None) -> list[tuple[int, ...]]:
    """The strides into each level but the first.

    With voxel ``spacing``, an axis is halved only where its voxels are less than twice as long as the
    shortest ones of that level, so that they come to be as long as they are wide (Isensee et al. 2021).
    """
    sizes = list(spacing) if spacing is not None else [1.0] * dims
    strides = []
    for _ in range(levels - 1):
        strides.append(tuple(2 if size < 2 * min(sizes) else 1 for size in sizes))
        sizes = [size * stride for size, stride in zip(sizes, strides[-1], strict=True)]
    return strides


def with_condition(x: Tensor, condition: Tensor | None) -> Tensor:
    """``(B, *positions, C)`` with what the model is told, ``(B, K)``, beside it at every position."""
    if condition is None:
        return x
    told = condition.view(len(condition), *[1] * (x.dim() - 2), -1).expand(*x.shape[:-1], -1)
    return torch.cat([x, told.to(x.dtype)], -1)


def strided_mask(mask: Tensor | None, stride: int | Sequence[int]) -> Tensor | None:
    """A mask ``(B, *positions)`` at the middle of every kernel of that stride."""
    if mask is None:
        return mask
    return mask[(slice(None), *[slice(None, None, step) for step in per_axis(stride, mask.dim() - 1)])]


def channels_first_view(x: Tensor) -> Tensor:
    """``(B, *positions, C)`` seen as ``(B, C, *positions)``; only images that lie otherwise in memory are copied.

    PyTorch takes a layer's layout from its input's strides: a lone channel's must be 1 for channels last.
    """
    if x.dim() == 4:
        x = x.squeeze(-1).unsqueeze(-1) if x.shape[-1] == 1 else x.contiguous()
    return x.movedim(-1, 1)


def channels_last_view(x: Tensor) -> Tensor:
    """``(B, C, *positions)`` seen as ``(B, *positions, C)``."""
    return x.movedim(1, -1)


def in_place(activation: nn.Module) -> nn.Module:
    """A ReLU that writes over what it reads, which nobody else reads: a pass over memory less."""
    if isinstance(activation, nn.ReLU):
        activation.inplace = True
    return activation


class Style(NamedTuple):
    """What all blocks of a network share. ``normalization`` and ``activation`` None: none."""

    kernel_size: int = 3
    normalization: str | None = None
    activation: str | None = "relu"


class ConvBlock(nn.Module):
    """Convolution → normalisation → activation.

    In prediction a batch normalisation is folded into the kernel: w ← w γ/√(σ² + ε) and
    b ← β − μ γ/√(σ² + ε), the same function with one pass over the data less.
    """

    def __init__(self, dims: int, width_in: int, width: int, style: Style, stride: int | Sequence[int] = 1) -> None:
        super().__init__()
        stride, padding = per_axis(stride, dims), style.kernel_size // 2
        bias = style.normalization is None
        self.convolution = CONV[dims](width_in, width, style.kernel_size, stride, padding, bias=bias)
        self.normalization = normalized(dims, width, style.normalization)
        self.folds = style.normalization in (None, "batch")
        self.activation = in_place(activation_of(style.activation))
        if bias:
            start_(self.convolution, style.activation)

    def forward(self, x: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled() or not self.folds:
            return self.activation(self.normalization(self.convolution(x)))  # type: ignore[no-any-return]
        kernel, shift = self._folded()
        if isinstance(self.activation, nn.ReLU):
            return rectified(self.convolution, x, kernel, shift)
        return self.activation(self.convolution._conv_forward(x, kernel, shift))  # type: ignore[no-any-return, operator]

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Kernel and bias, with the normalisation in them."""
        norm, kernel, bias = self.normalization, self.convolution.weight, self.convolution.bias
        if isinstance(norm, nn.Identity):
            return kernel, bias  # type: ignore[return-value]
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()  # type: ignore[operator]
        kernel = kernel * factor.view(-1, *[1] * (kernel.dim() - 1))  # type: ignore[operator, union-attr]
        return kernel, norm.bias - norm.running_mean * factor  # type: ignore[operator, return-value]


def normalized(dims: int, width: int, name: str | None) -> nn.Module:
    """The normalisation of that name; "instance" is a group a channel, so that one position is no error."""
    if name is None:
        return nn.Identity()
    if name == "batch":
        return BATCH[dims](width)
    groups = width if name == "instance" else max(n for n in range(1, -(-width // GROUP_WIDTH) + 1) if width % n == 0)
    return nn.GroupNorm(groups, width)


class ResidualBlock(nn.Module):
    """x + convolution(block(x)), then the activation (He et al. 2016, "basic block").

    Without normalisation the branch begins at a tenth of its size, so that many blocks do not add up
    (Lim et al. 2017).
    """

    def __init__(self, dims: int, width: int, style: Style) -> None:
        super().__init__()
        self.first = ConvBlock(dims, width, width, style)
        self.second = ConvBlock(dims, width, width, style._replace(activation=None))
        self.activation = in_place(activation_of(style.activation))
        if style.normalization is None:
            with torch.no_grad():
                self.second.convolution.weight.mul_(0.1)  # type: ignore[operator, union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.second(self.first(x)))  # type: ignore[no-any-return]


def level_blocks(
    dims: int,
    width_in: int,
    width: int,
    style: Style,
    blocks: int,
    residual: bool,
    stride: Sequence[int] | None = None,
    downsampling: str = "conv",
) -> nn.Sequential:
    """One level of a U-Net: a stride by "conv" or "max", and ``blocks`` blocks, the later ones residual."""
    pools = stride is not None and downsampling == "max"
    layers: list[nn.Module] = [POOL[dims](stride, ceil_mode=True)] if pools else []
    layers.append(ConvBlock(dims, width_in, width, style, 1 if pools or stride is None else stride))
    for _ in range(blocks - 1):
        layers += [ResidualBlock(dims, width, style) if residual else ConvBlock(dims, width, width, style)]
    return nn.Sequential(*layers)


class Upsample(nn.Module):
    """``stride`` times as many positions, then cut to ``sizes`` where they are given.

    "transposed" is one transposed convolution, "resize" the nearest neighbour and a convolution, which
    leaves no checkerboard (Odena et al. 2016) and costs more.
    """

    def __init__(
        self, dims: int, width_in: int, width: int, kernel_size: int, stride: int | Sequence[int], method: str
    ) -> None:
        super().__init__()
        strides = per_axis(stride, dims)
        self.scale = [float(step) for step in strides] if method == "resize" and max(strides) > 1 else None
        if method == "resize":
            self.layer = CONV[dims](width_in, width, kernel_size, padding=kernel_size // 2)
            start_(self.layer, None)
            return
        spans = [max(kernel_size, step) for step in strides]
        padding = [(span - step + 1) // 2 for span, step in zip(spans, strides, strict=True)]
        more = [2 * pad - span + step for pad, span, step in zip(padding, spans, strides, strict=True)]
        self.layer = TRANSPOSED[dims](width_in, width, spans, stride=strides, padding=padding, output_padding=more)
        taps = math.prod(span / step for span, step in zip(spans, strides, strict=True))  # that one output reads
        start_(self.layer, None, width_in * taps)

    def forward(self, x: Tensor, sizes: Sequence[int | None]) -> Tensor:
        if self.scale is not None:
            x = F.interpolate(x, scale_factor=self.scale, mode="nearest")
        return cut(self.layer(x), sizes)


def cut(x: Tensor, sizes: Sequence[int | None]) -> Tensor:
    """The first ``sizes`` positions of each axis of ``(B, C, *positions)``; None keeps all."""
    for axis, size in enumerate(sizes, start=2):
        x = x if size is None else first(x, axis, size)
    return x


def first(x: Tensor, axis: int, size: int) -> Tensor:
    """At most the first ``size`` positions along an axis."""
    if isinstance(size, torch.SymInt):  # of a graph for any size, where views would ask which sizes are equal
        return x.index_select(axis, torch.arange(size, device=x.device))
    return x.narrow(axis, 0, size) if size < x.shape[axis] else x


class SelfAttention(nn.Module):
    """x + attention over all positions of the map, softmax(Q Kᵀ/√d) V (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.normalization = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(2).transpose(1, 2)  # (B, positions, C)
        split = self.project(self.normalization(h)).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, heads, positions, d) each
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return x + self.out(attended).transpose(1, 2).view_as(x)


def start_(layer: nn.Module, activation: str | None, fan_in: float | None = None) -> None:
    """Random weights that keep the mean square from layer to layer (He et al. 2015), and no bias.

    Normal with variance gain²/fan_in, where gain² is 2 ahead of an activation that is linear on one side
    only, and 1 otherwise. With PyTorch's own start each layer leaves a sixth of it.
    """
    kernel: Tensor = layer.weight  # type: ignore[assignment]
    gain = 2.0 if activation in ONE_SIDED else 1.0
    with torch.no_grad():
        kernel.normal_(0.0, math.sqrt(gain / (fan_in or kernel[0].numel())))
        layer.bias.zero_()  # type: ignore[operator, union-attr]


def zero_(layer: nn.Module) -> None:
    """Start a layer at zero, so that what it is added to passes unchanged at first."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
