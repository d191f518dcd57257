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


def tiled(predict: Predict, x: Tensor, tile: Sequence[int], overlap: Sequence[int]) -> Tensor:
    """The prediction of x from overlapping tiles, each faded out towards its edges, so that no seam is seen.

    Along an axis a tile weighs sin² from 0 at its edge to 1 where its neighbour's edge lies, and two
    neighbours' weights sum to 1. Beside x and the result no more than one tile's work is held.

    Parameters
    ----------
    predict : callable
        Of one tile.
    x : Tensor
        ``(B, *positions, C)``.
    tile, overlap : sequence of int
        Along each axis, in positions; the overlap is less than the tile.
    """
    positions = x.shape[1:-1]
    starts = [_starts(n, size, shared) for n, size, shared in zip(positions, tile, overlap, strict=True)]
    total = weights = torch.empty(0)
    for corner in itertools.product(*starts):
        box = tuple(slice(start, start + size) for start, size in zip(corner, tile, strict=True))
        part = predict(x[(slice(None), *box)]).cpu()
        window = part.new_ones(part.shape[1:-1])
        for axis, (size, shared) in enumerate(zip(window.shape, overlap, strict=True)):
            window *= _fade(size, shared).to(part).view(-1, *[1] * (len(positions) - 1 - axis))
        if not total.numel():
            total, weights = part.new_zeros(len(x), *positions, part.shape[-1]), part.new_zeros(positions)
        total[(slice(None), *box)] += part * window.unsqueeze(-1)
        weights[box] += window
    return total.div_(weights.unsqueeze(-1))


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where the tiles of an axis begin; the last ends with the axis."""
    if length <= tile:
        return [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    return [round(number * (length - tile) / (count - 1)) for number in range(count)]


def _fade(size: int, overlap: int) -> Tensor:
    """sin² up over the overlap, 1, and down; never 0, so that every position has a weight."""
    place = torch.arange(size, dtype=torch.float64) + 0.5
    rise = (torch.minimum(place, size - place) / max(overlap, 1)).clamp(max=1.0)
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
