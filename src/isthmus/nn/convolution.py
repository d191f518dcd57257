"""PyTorch's convolutions of images, with another gradient of the kernel where oneDNN's is slow or wrong.

On a processor with AVX2 but without AVX-512, oneDNN takes the gradient of a kernel on channels-last maps at a
third to a half of the speed of the forward pass. Products of matrices take it at the speed of the machine.

Of a strided kernel of one position that reads fewer channels than a register holds, on channels-last maps, oneDNN
writes past its memory (its issue 6035, in PyTorch 2.14 too): processes abort or stand still. It is not called so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Conv2d", "ConvTranspose2d", "kernel_gradient", "rectified"]

SLOW_KERNEL_GRADIENT = torch.backends.cpu.get_cpu_capability() == "AVX2"
LEAST_POSITIONS, LEAST_CHANNELS = 256, 16
"""Of the smaller map; below them oneDNN is the faster."""
AT_ONCE = 2**24
"""Numbers in the windows of the images that are taken at once, 64 MB."""


REGISTER = 16
"""Numbers of 32 bits in a register of AVX-512; 8 in one of AVX2."""


class Conv2d(nn.Conv2d):
    """The same numbers as its base's; parameters and their names too."""

    def forward(self, x: Tensor) -> Tensor:
        gains = not self._picks and _gains(self, x)
        return _convolved(self, x) if gains else self._conv_forward(x, self.weight, self.bias)

    @property
    def _picks(self) -> bool:
        """Whether the kernel is one position, strided, and narrower than a register."""
        lone = self.kernel_size == (1, 1) and not any(self.padding)
        return lone and self.stride != (1, 1) and self.in_channels < REGISTER

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self._picks:
            return F.conv2d(x[..., :: self.stride[0], :: self.stride[1]], weight, bias)
        return super()._conv_forward(x, weight, bias)


class ConvTranspose2d(nn.ConvTranspose2d):
    """The same numbers as its base's; parameters and their names too."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return _convolved(self, x) if _gains(self, x) else super().forward(x)


def rectified(layer: nn.Module, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """max(0, the layer of that kernel), where no gradient is asked for: the same bits in one pass over memory.

    oneDNN applies the ReLU to what it holds in registers, as in the code of PyTorch's own compiler. So 32 channels
    take an eighth of the time less.
    """
    if type(layer) is Conv2d and layer.kernel_size != (1, 1) and _fuses(x):
        sizes = list(layer.stride), list(layer.dilation)
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, kernel, bias, list(layer.padding), *sizes, layer.groups, "relu", [], ""
        )
        return fused
    return layer._conv_forward(x, kernel, bias).relu_()  # type: ignore[no-any-return, operator]


def _fuses(x: Tensor) -> bool:
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and torch.backends.mkldnn.is_available() and not torch.compiler.is_compiling()


def kernel_gradient(
    large: Tensor, small: Tensor, size: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """The gradient of a kernel, ``(O, C, *size)``: Σ small[n, o, p] large[n, c, stride · p + q − padding] over n, p.

    ``large`` is the input of a convolution and ``small`` the gradient of its output; of a transposed
    one the other way round. One product of matrices for each image and row q₁ of the kernel.
    """
    at_once = max(1, AT_ONCE * stride[1] // (size[1] * large[0].numel()))
    parts = [
        _products(some.movedim(1, -1), less.movedim(1, -1), size, stride, padding)
        for some, less in zip(large.split(at_once), small.split(at_once), strict=True)
    ]
    return torch.stack(parts).sum(0).movedim(-1, 1)


def _products(
    large: Tensor, small: Tensor, size: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """`kernel_gradient` of channels-last images, ``(O, *size, C)``."""
    n, rows, columns, _ = small.shape
    padded = F.pad(large, (0, 0, padding[1], padding[1], padding[0], padding[0]))
    windows = padded.unfold(2, size[1], stride[1])[:, :, :columns].transpose(-1, -2)  # (n, rows, columns, q₂, C)
    windows, left = windows.contiguous(), small.reshape(n, rows * columns, -1).transpose(1, 2)
    by_row = []
    for q in range(size[0]):
        right = windows[:, q : q + stride[0] * (rows - 1) + 1 : stride[0]].reshape(n, rows * columns, -1)
        by_row.append(torch.bmm(left, right).sum(0))  # (O, q₂ C)
    return torch.stack(by_row, 1).unflatten(2, (size[1], -1))


class _Convolution(torch.autograd.Function):
    """A convolution, transposed or not, that takes the gradient of its kernel from `kernel_gradient`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = how
        return torch.convolution(x, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        stride, padding, _, transposed, *_ = ctx.how
        of_x = of_bias = None
        if ctx.needs_input_grad[0]:
            backward, only_x = torch.ops.aten.convolution_backward, [True, False, False]
            of_x = backward(gradient, x, weight, None, *ctx.how, only_x)[0]
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        large, small = (gradient, x) if transposed else (x, gradient)
        of_weight = kernel_gradient(large, small, weight.shape[2:], stride, padding)
        return of_x, of_weight, of_bias, *[None] * len(ctx.how)


def _convolved(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> Tensor:
    how = (layer.stride, layer.padding, layer.dilation, layer.transposed, layer.output_padding, layer.groups)
    result: Tensor = _Convolution.apply(x, layer.weight, layer.bias, *how)
    return result


def _gains(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> bool:
    """Whether `kernel_gradient` is the faster way; shapes and the processor alone decide."""
    if not (SLOW_KERNEL_GRADIENT and torch.is_grad_enabled() and layer.weight.requires_grad):
        return False
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    positions = math.prod(x.shape[2:]) // (1 if layer.transposed else math.prod(layer.stride))
    return positions >= LEAST_POSITIONS and min(layer.weight.shape[:2]) >= LEAST_CHANNELS
