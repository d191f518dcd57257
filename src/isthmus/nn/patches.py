"""Pictures as sequences of patches, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.nn.attention import sinusoids

__all__ = ["grid_of", "grid_positions", "patches_of", "pictures_of", "spread"]


def grid_of(positions: Sequence[int], size: int) -> list[int]:
    """Patches along each axis; the last one may reach over the edge."""
    return [-(-length // size) for length in positions]


def patches_of(x: Tensor, size: int) -> Tensor:
    """``(B, *positions, C)`` to ``(B, N, sizeᵈ · C)``, row by row, with zeros beyond the edge."""
    positions, dims = x.shape[1:-1], x.dim() - 2
    grid = grid_of(positions, size)
    beyond = [count * size - length for count, length in zip(grid, positions, strict=True)]
    if any(beyond):
        x = F.pad(x, [0, 0, *[side for more in reversed(beyond) for side in (0, more)]])
    split = x.reshape(x.shape[0], *[n for count in grid for n in (count, size)], x.shape[-1])
    order = [0, *range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2), 2 * dims + 1]
    return split.permute(order).reshape(x.shape[0], math.prod(grid), -1)


def pictures_of(patches: Tensor, positions: Sequence[int], size: int) -> Tensor:
    """The inverse of `patches_of`, ``(B, *positions, C)``."""
    grid, dims = grid_of(positions, size), len(positions)
    split = patches.reshape(patches.shape[0], *grid, *[size] * dims, -1)
    order = [0, *[axis for i in range(dims) for axis in (1 + i, 1 + dims + i)], 2 * dims + 1]
    whole = split.permute(order).reshape(patches.shape[0], *[count * size for count in grid], -1)
    return whole[(slice(None), *[slice(length) for length in positions])]


def spread(of_patches: Tensor, positions: Sequence[int], size: int) -> Tensor:
    """One value a patch, ``(B, N)``, at each of its positions, ``(B, *positions)``."""
    values = of_patches.unsqueeze(-1).expand(-1, -1, size ** len(positions))
    return pictures_of(values, positions, size)[..., 0]


def grid_positions(grid: Sequence[int], width: int, device: torch.device) -> Tensor:
    """Where each patch is, ``(N, width)``: sines of its place along each axis, side by side."""
    share = -(-width // len(grid))
    axes = [sinusoids(torch.arange(count, device=device), share + share % 2) for count in grid]
    parts = []
    for axis, waves in enumerate(axes):
        shape = [1] * len(grid)
        shape[axis] = grid[axis]
        parts.append(waves.view(*shape, -1).expand(*grid, -1))
    return torch.cat(parts, -1).reshape(math.prod(grid), -1)[:, :width]
