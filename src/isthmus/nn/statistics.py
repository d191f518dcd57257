"""Statistics of a batch, in the one place that several processes have to agree in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from isthmus.nn.share import n_rows, reduce
from isthmus.types import wide

__all__ = ["batch_mean", "every", "observed", "position_mean", "quantiles", "unit_means"]


def batch_mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Σ w v / Σ w over the batch (the first axis); rows of weight zero do not count."""
    if weight is None:
        n = n_rows(values)
        return values.mean(0) if n == len(values) else reduce(values.sum(0)) / n
    shaped = weight.view(-1, *[1] * (values.dim() - 1))
    return reduce((values * shaped).sum(0)) / reduce(weight.sum())


def unit_means(z: Tensor, weight: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Mean activation of each unit, ``(D,)``, over the batch and its unmasked positions."""
    z = wide(z)
    if z.dim() == 2:
        return batch_mean(z, weight)
    counts = torch.ones_like(z[..., 0]) if mask is None else mask.to(z.dtype)  # (B, *positions)
    if weight is not None:
        counts = counts * weight.view(-1, *[1] * (counts.dim() - 1))
    axes = tuple(range(z.dim() - 1))
    return reduce((z * counts.unsqueeze(-1)).sum(axes)) / reduce(counts.sum())


def position_mean(h: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean of each sequence ``(B, T, D)`` over the positions that count, ``(B, D)``."""
    if mask is None:
        return h.mean(1)
    counted = mask.unsqueeze(-1).to(h.dtype)
    return (h * counted).sum(1) / counted.sum(1).clamp(min=1)


def every(n: int, most: int) -> np.ndarray:
    """Places of at most ``most`` of n rows, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def observed(x: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The unmasked positions of all rows, ``(m, D)`` in float64, and the weight of each; none of weight zero."""
    columns, kept = x.flatten(0, -2), None
    if mask is not None:
        kept = (mask if mask.dim() < x.dim() else mask.all(-1)).flatten()
    if weight is not None:
        weight = weight.double().view(-1, *[1] * (x.dim() - 2)).expand(x.shape[:-1]).flatten()
        kept = weight > 0 if kept is None else kept & (weight > 0)
        weight = weight[kept]
    return (columns if kept is None else columns[kept]).double(), weight


def quantiles(values: np.ndarray, shares: Sequence[float], weight: np.ndarray | None = None) -> np.ndarray:
    """Of each column, ``(len(shares), D)``, interpolated between ranks; a row has as many ranks as its weight
    holds the least weight, so one of weight two counts as two rows of weight one."""
    if weight is None:
        return np.quantile(values, shares, axis=0)
    found = []
    for column in values.T:
        order = np.argsort(column, kind="stable")
        last, one = weight[order].cumsum(), weight.min()
        ranks = np.stack([last - weight[order], last - one], 1)  # of each row: its first and its last
        found.append(np.interp(np.array(shares) * (last[-1] - one), ranks.ravel(), column[order].repeat(2)))
    return np.stack(found, 1)
