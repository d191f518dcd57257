"""Smooth random deformations."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.checks import number
from isthmus.part import Augmentation

__all__ = ["Elastic"]


class Elastic(Augmentation):
    """Moves every position by a smooth random displacement of standard deviation ``strength`` along each axis.

    Standard normal numbers stand on a grid with ``spacing`` positions between; cubic B-splines carry them
    to all positions. The splines' weights at a position have squares of sum 1, so that the deviation is
    the same at each, on a node or between nodes. Distances are stretched by a factor of standard deviation
    1.2 · strength / spacing or so; from a strength of a third of the spacing on, the image begins to fold.
    Simard, Steinkraus & Platt (2003) smooth noise at every position with a Gaussian; Ronneberger, Fischer &
    Brox (2015) draw on a coarse grid and interpolate bicubically, which moves nodes more than what lies
    between.

    Parameters
    ----------
    strength : float
        Standard deviation of the displacement, in positions (pixels).
    spacing : float
        Positions from one node of the grid to the next, at least 1.
    """

    exact: ClassVar[bool] = False
    formula: ClassVar[str] = "c ← c + strength · u(c),  u(c) ~ N(0, I) at each position, smooth over spacing"
    allowed: ClassVar = {"strength": number(0), "spacing": number(1)}

    def __init__(self, strength: float = 3.0, spacing: float = 32.0) -> None:
        super().__init__()
        self.strength = strength
        self.spacing = spacing

    def place(self, coordinates: Tensor, generator: torch.Generator) -> Tensor:
        batch, *size, dims = coordinates.shape
        splines = [_spline(length, self.spacing) for length in size]  # (length, nodes) an axis
        nodes = [spline.shape[1] for spline in splines]
        moved = self.strength * torch.randn(batch, dims, *nodes, generator=generator)
        moved = moved.to(coordinates.device)
        for spline in splines:  # the first axis of nodes becomes the last, one of positions
            moved = torch.tensordot(moved, spline.to(moved.device), ([2], [1]))
        return coordinates + moved.movedim(1, -1)


def _spline(length: int, spacing: float) -> Tensor:
    """Cubic B-splines on nodes −1, 0, … at positions 0 … length − 1, ``(length, nodes)``; rows of norm 1."""
    at = torch.arange(length, dtype=torch.float64) / spacing
    nodes = torch.arange(-1, int(at[-1]) + 3)
    distance = (at.unsqueeze(1) - nodes).abs()
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = (2 - distance).clamp(min=0) ** 3 / 6
    weights = torch.where(distance < 1, inner, outer)
    return (weights / weights.norm(dim=1, keepdim=True)).float()
