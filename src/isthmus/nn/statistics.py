"""Statistics of a batch, in the one place that several processes will have to agree in."""

from __future__ import annotations

import torch
from torch import Tensor

from isthmus.types import wide

__all__ = ["batch_mean", "unit_means"]


def batch_mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Σ w v / Σ w over the batch (the first axis); rows of weight zero do not count."""
    if weight is None:
        return values.mean(0)
    shaped = weight.view(-1, *[1] * (values.dim() - 1))
    return (values * shaped).sum(0) / weight.sum()


def unit_means(z: Tensor, weight: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Mean activation of each unit, ``(D,)``, over the batch and its unmasked positions."""
    z = wide(z)
    if z.dim() == 2:
        return batch_mean(z, weight)
    counts = torch.ones_like(z[..., 0]) if mask is None else mask.to(z.dtype)  # (B, *positions)
    if weight is not None:
        counts = counts * weight.view(-1, *[1] * (counts.dim() - 1))
    axes = tuple(range(z.dim() - 1))
    return (z * counts.unsqueeze(-1)).sum(axes) / counts.sum()
