"""Large images a tile at a time, and the symmetries of a picture: two ways to predict it in parts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["symmetric_mean", "tiled"]

Predict = Callable[[Tensor], Tensor]
"""``(B, *positions, C)`` to ``(B, *positions, K)``."""


def tiled(
    predict: Predict, x: Tensor, tile: Sequence[int], overlap: Sequence[int], stride: Sequence[int] = ()
) -> Tensor:
    """The prediction of x from overlapping tiles, each faded out towards its inner edges, so that no seam is seen.

    Of two neighbours' overlap, along an axis, a tile weighs 0 in the 3/8 next to its edge, rises as sin² and
    weighs 1 in the 3/8 furthest from it; the weights of all tiles sum to 1. At the edges of x nothing fades. So a
    `predict` that reads no further than 3/8 of the overlap gives what it gives of x as a whole, up to rounding.
    Beside x and the result no more than one tile's work is held.

    Parameters
    ----------
    predict : callable
        Of one tile.
    x : Tensor
        ``(B, *positions, C)``.
    tile, overlap : sequence of int
        Along each axis, in positions; the overlap is less than the tile.
    stride : sequence of int, optional
        Tiles begin at multiples of it, where it leaves them their overlap: a network with strides sees the same
        grid of positions in a tile as in the whole.
    """
    positions = x.shape[1:-1]
    axes = [
        _windows(*of_axis) for of_axis in zip(positions, tile, overlap, stride or [1] * len(positions), strict=True)
    ]
    total = torch.empty(0)
    for corner in itertools.product(*axes):
        box = tuple(slice(start, start + len(weights)) for start, weights in corner)
        part = predict(x[(slice(None), *box)]).cpu()
        for axis, (_, weights) in enumerate(corner, start=1):
            part = part * weights.to(part).view(-1, *[1] * (len(positions) - axis + 1))
        if not total.numel():
            total = part.new_zeros(len(x), *positions, part.shape[-1])
        total[(slice(None), *box)] += part
    return total


def _windows(length: int, tile: int, overlap: int, stride: int) -> list[tuple[int, Tensor]]:
    """Where the tiles of an axis begin, and the weights of each, which sum to 1 at every position."""
    stride = stride if stride <= tile - overlap else 1
    step = (tile - overlap) // stride * stride
    last = max(0, -(-(length - tile) // stride) * stride)
    found = []
    for start in [*range(0, last, step), last]:
        place = torch.arange(start, min(start + tile, length), dtype=torch.float64) + 0.5
        weights = torch.ones_like(place)
        if start > 0:
            weights *= _fade(place - start, overlap)
        if start + tile < length:
            weights *= _fade(start + tile - place, overlap)
        found.append((start, weights))
    total = torch.zeros(length, dtype=torch.float64)
    for start, weights in found:
        total[start : start + len(weights)] += weights
    return [(start, weights / total[start : start + len(weights)]) for start, weights in found]


def _fade(depth: Tensor, overlap: int) -> Tensor:
    """sin² from 0 to 1 over the middle of the overlap, by the depth below a tile's edge."""
    margin = overlap * 3 // 8
    rise = ((depth - margin) / max(overlap - 2 * margin, 1)).clamp(0.0, 1.0)
    return (0.5 * math.pi * rise).sin().square()


def symmetric_mean(predict: Predict, x: Tensor) -> Tensor:
    """The mean prediction over the symmetries of a picture, each undone on its result (test-time augmentation).

    Two mirror images of a signal; of pictures, and of volumes in their last two axes, the four quarter turns
    and their mirror images.
    """
    axes = (x.dim() - 3, x.dim() - 2)  # the last two of (B, *positions, C)
    if x.dim() == 3:
        return (predict(x) + predict(x.flip(1)).flip(1)) / 2
    total: Tensor | float = 0.0
    for turns, mirrored in itertools.product(range(4), (False, True)):
        seen = x.rot90(turns, axes)
        found = predict((seen.flip(axes[0]) if mirrored else seen).contiguous())
        total = total + (found.flip(axes[0]) if mirrored else found).rot90(-turns, axes)
    return total / 8  # type: ignore[return-value]
