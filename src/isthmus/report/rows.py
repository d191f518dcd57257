"""Rows as a report holds them: an array, or a list of pictures whose sizes differ; and some of many."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from isthmus import images
from isthmus.errors import DataError

__all__ = ["Rows", "at_most", "dense", "every", "read_masks", "read_rows", "real", "taken"]

Rows = np.ndarray | list[np.ndarray]

MOST_NUMBERS, LEAST_ROWS = 2**21, 16
"""Of the pictures that a report runs the model over: 2,674 of 28 × 28, 32 of 256 × 256."""


def read_rows(data: Any, dims: int | None, name: str = "X") -> Rows:
    """Whatever an estimator takes, as an array where all rows have one size, else as a list of arrays."""
    if isinstance(data, (list, tuple)) and len(data) and all(np.ndim(item) > 1 for item in data):
        if len({np.shape(picture) for picture in data}) > 1:
            return [np.asarray(picture) for picture in data]
        return images.stacked(list(data), name, dims)[0]
    return dense(data)


def read_masks(values: Rows, rows: Rows, positions: int, multilabel: bool) -> list[np.ndarray]:
    """A label a position, ``(*positions)``, or 0 and 1 of each label, ``(L, *positions)``; one a picture."""
    masks = [np.asarray(value).astype(np.int64) for value in values]
    if not multilabel:
        masks = [mask[0] if mask.ndim > positions and len(mask) == 1 else mask for mask in masks]
    for mask, row in zip(masks, rows, strict=True):
        size = np.shape(row)[-positions:]
        if mask.shape[-positions:] != size or mask.ndim != positions + multilabel:
            raise DataError(f"y must hold masks of the pictures' sizes, got {mask.shape} for {size}")
    return masks


def dense(data: Any) -> np.ndarray:
    """Arrays, frames, tensors and sparse matrices as an array."""
    if isinstance(data, torch.Tensor):
        return data.detach().cpu().numpy()
    array = data.toarray() if hasattr(data, "toarray") else np.asarray(data)
    return array.astype(np.float64) if array.dtype == object and hasattr(data, "columns") else array


def at_most(rows: Rows) -> int:
    """How many of these rows a report reads: all of a table, pictures up to a number of pixels."""
    if isinstance(rows, np.ndarray) and rows.ndim < 3:
        return len(rows)
    values = rows.size if isinstance(rows, np.ndarray) else sum(picture.size for picture in rows)
    return max(LEAST_ROWS, int(MOST_NUMBERS * len(rows) / max(values, 1)))


def every(n: int, most: int) -> np.ndarray:
    """At most ``most`` of n rows, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def taken(rows: Rows, index: np.ndarray) -> Rows:
    """Those rows."""
    if isinstance(rows, list):
        return [rows[place] for place in index]
    return rows[index]


def real(rows: Any) -> Any:
    """The rows in float64."""
    if isinstance(rows, list):
        return [np.asarray(row, dtype=np.float64) for row in rows]
    return np.asarray(rows, dtype=np.float64)
