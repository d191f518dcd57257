"""Rows as a report holds them: an array, or a list of unequal pictures, of series or of texts; and some of many."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from isthmus import images
from isthmus.errors import DataError
from isthmus.nn.statistics import every
from isthmus.text import texts_of

__all__ = ["Rows", "at_most", "dense", "every", "padded", "read_masks", "read_numbers", "read_rows", "real", "taken"]

Rows = np.ndarray | list[np.ndarray]

MOST_NUMBERS, LEAST_ROWS, MOST_TEXTS = 2**21, 16, 2000
"""Of the pictures that a report runs the model over: 2,674 of 28 × 28, 32 of 256 × 256; and of texts."""


def read_rows(data: Any, dims: int | None, name: str = "X", layout: str = "rows") -> Any:
    """Whatever an estimator takes, as an array where all rows have one size, else as a list of arrays.

    Series are always a list, of ``(T,)`` or ``(T, D)``; texts a list of str.
    """
    if layout == "texts":
        return texts_of(data, name)
    if layout == "series":
        return _series(data, name)
    if layout == "windows":  # read by the model, with what they were given as
        return list(data)
    if isinstance(data, (list, tuple)) and len(data) and all(np.ndim(item) > 1 for item in data):
        if len({np.shape(picture) for picture in data}) > 1:
            return [np.asarray(picture) for picture in data]
        return images.stacked(list(data), name, dims)[0]
    return dense(data)


def read_numbers(data: Any, dims: int | None) -> Rows:
    """X of a table or of pictures, by `read_rows`; what holds no rows of numbers is refused."""
    try:
        rows: Rows = read_rows(data, dims)
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        raise DataError(f"X must be rows of numbers, got {type(data).__name__}: {error}") from error
    if isinstance(rows, np.ndarray) and (rows.ndim < 2 or rows.dtype.kind not in "biufO"):
        got = f"{rows.dtype} of shape {rows.shape}" if rows.ndim else type(data).__name__
        raise DataError(f"X must be rows of numbers, (n, d) or (n, *positions), got {got}")
    return rows


def _series(data: Any, name: str) -> list[np.ndarray]:
    given = data if isinstance(data, (list, tuple)) else dense(data)
    if isinstance(given, np.ndarray) and given.ndim == 0:
        raise DataError(f"{name} must be a list of series, (T,) or (T, D), got {type(data).__name__}")
    rows = []
    for place, item in enumerate(given):
        try:
            row = dense(item)
        except ValueError:
            row = np.empty(0, object)
        if row.ndim not in (1, 2) or row.dtype.kind not in "biuf" or not len(row):
            said = f"{row.dtype} {row.shape}" if row.dtype != object else type(item).__name__
            raise DataError(f"{name}[{place}] must be a series of numbers, (T,) or (T, D), got {said}")
        rows.append(row)
    return rows


def padded(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Series as ``(n, T, D)`` with zeros at their ends, and where they are data, ``(n, T)``."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, np.newaxis]
    joined = np.concatenate([row.reshape(len(row), -1) for row in rows])
    whole = np.zeros((*mask.shape, joined.shape[1]), joined.dtype)
    whole[mask] = joined
    return whole, mask


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
    """How many of these rows a report reads: all of a table, pictures and series up to a size, so many texts."""
    if isinstance(rows, np.ndarray) and rows.ndim < 3:
        return len(rows)
    if len(rows) and isinstance(rows[0], str):
        return MOST_TEXTS
    values = rows.size if isinstance(rows, np.ndarray) else sum(np.size(getattr(row, "values", row)) for row in rows)
    return max(LEAST_ROWS, int(MOST_NUMBERS * len(rows) / max(values, 1)))


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
