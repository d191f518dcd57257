"""Values of a stack of signals, images or volumes at any positions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

__all__ = ["flat_index", "gathered", "interpolated", "reflected"]


def reflected(at: Tensor, last: Tensor) -> Tensor:
    """Positions outside 0 … last, mirrored at that end, which is not repeated; 0 where that is outside again."""
    at = at.abs()
    return torch.minimum(at, 2 * last - at).clamp_(min=0)


def flat_index(at: Tensor, lengths: Sequence[int]) -> Tensor:
    """The number of a position ``(…, dims)`` among all those of axes so long."""
    index, *rest = at.unbind(-1)
    for axis, length in zip(rest, lengths[1:], strict=True):
        index = torch.add(axis, index, alpha=length)
    return index


def gathered(stack: Tensor, index: Tensor) -> Tensor:
    """``(*index, *channels)`` of a stack ``(positions, *channels)``."""
    channels = stack.shape[1:]
    if channels.numel() == 1:
        stack = stack.view(-1)  # numbers are copied several times as fast as rows of one number
    return stack.index_select(0, index.reshape(-1)).view(*index.shape, *channels)


def interpolated(stack: Tensor, index: Tensor, fraction: Tensor, lengths: Sequence[int]) -> Tensor:
    """Linear between a position and the next along each axis, of a stack ``(positions, *channels)``.

    ``fraction`` ``(*index, dims)`` is how far from the one to the other. An axis of one position has no next.
    """
    strides = [1]
    for length in reversed(lengths[1:]):
        strides.insert(0, strides[0] * length)
    steps = [(0, stride if length > 1 else 0) for stride, length in zip(strides, lengths, strict=True)]
    values = [gathered(stack[sum(corner) :], index) for corner in product(*steps)]  # the last axis changes fastest
    for share in reversed(fraction.to(stack.dtype).unbind(-1)):
        share = share.view(*share.shape, *[1] * (stack.dim() - 1))
        values = [torch.lerp(here, beyond, share) for here, beyond in zip(values[::2], values[1::2], strict=True)]
    return values[0]
