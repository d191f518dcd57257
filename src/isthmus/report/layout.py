"""Whether rows are pictures, and how to lay pictures side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.checks import choice, either, integers
from isthmus.errors import ParameterError
from isthmus.report.rows import Rows

__all__ = ["image_shape_of", "mosaic", "square_side", "tiles"]

LEAST_SIDE = 4
NEIGHBOURS = 1.5
"""Columns are pixels where neighbours are this many times as correlated as any two columns."""


def image_shape_of(rows: Rows, given: Any = "auto", positions: int | None = None) -> tuple[int, ...] | None:
    """The shape of a row as a picture, ``(H, W)`` or ``(H, W, 3)``, or None for a table or a signal.

    Parameters
    ----------
    rows : array of shape (n, d), (n, H, W), (n, C, H, W) or (n, C, D, H, W), or list of arrays
    given : "auto", None or (H, W)
        The user's word. "auto" takes a table for pictures where its number of columns is a square of at
        least 16 and neighbouring columns are much more correlated than others.
    positions : int, optional
        How many axes the model takes for positions: rows of one are signals, and ``(n, D, H, W)`` may be volumes.
    """
    if given is None:
        return None
    if allowed := either(choice(["auto"]), integers(1))(given):
        raise ParameterError(f"image_shape must be None or {allowed}, got {given!r}")
    shape = rows[0].shape
    if isinstance(rows, list):
        shape = (*shape[:-2], *(max(row.shape[axis] for row in rows) for axis in (-2, -1)))
    elif given != "auto":
        wanted = tuple(int(side) for side in given)
        if len(wanted) not in (2, 3) or math.prod(wanted) != math.prod(shape):
            raise ParameterError(f"image_shape must hold {math.prod(shape)} numbers, (H, W), got {given!r}")
        return wanted
    if positions == 1 and len(shape) < 3:
        return None
    if len(shape) == 1:
        return square_side(np.asarray(rows))
    if min(shape[-2:]) < LEAST_SIDE:
        return None
    if len(shape) == 3 and shape[0] == 3 and positions != 3:
        return (shape[1], shape[2], 3)
    return (shape[-2], shape[-1])


def square_side(rows: np.ndarray) -> tuple[int, int] | None:
    """(side, side) where the columns of a table are the pixels of a square picture."""
    side = math.isqrt(rows.shape[1])
    if side < LEAST_SIDE or side * side != rows.shape[1] or len(rows) < 3:
        return None
    sample = rows[:: max(1, len(rows) // 2000)].astype(np.float64)
    varying = sample.std(0) > 0
    correlation = np.full((side * side, side * side), np.nan)
    if varying.sum() < 2:
        return None
    correlation[np.ix_(varying, varying)] = np.abs(np.corrcoef(sample[:, varying], rowvar=False))
    place = np.arange(side * side).reshape(side, side)
    first = np.concatenate([place[:, :-1].ravel(), place[:-1].ravel()])
    second = np.concatenate([place[:, 1:].ravel(), place[1:].ravel()])
    beside = correlation[first, second]
    apart = correlation[~np.eye(side * side, dtype=bool)]
    if np.isnan(beside).all():
        return None
    return (side, side) if np.nanmean(beside) > NEIGHBOURS * np.nanmean(apart) else None


def tiles(rows: Rows, shape: Sequence[int], positions: int | None = None) -> np.ndarray:
    """Rows as pictures, ``(n, H, W)`` or ``(n, H, W, 3)``: of several channels the first, of a volume the
    middle slice; pictures of several sizes in the middle of the largest, with NaN around them."""
    if isinstance(rows, list):
        return _padded([tiles(row[np.newaxis], shape, positions)[0] for row in rows])
    rows = np.asarray(rows)
    if positions == 3 and rows.ndim == 4:
        rows = rows[:, np.newaxis]
    if rows.ndim == 5:
        return rows[:, 0, rows.shape[2] // 2]
    if rows.ndim == 4:
        return np.moveaxis(rows, 1, -1) if len(shape) == 3 else rows[:, 0]
    return rows.reshape(len(rows), *shape) if rows.ndim == 2 else rows


def _padded(pictures: Sequence[np.ndarray]) -> np.ndarray:
    size = np.max([picture.shape for picture in pictures], axis=0)
    canvas = np.full((len(pictures), *size), np.nan)
    for place, picture in zip(canvas, pictures, strict=True):
        corner = [(whole - part) // 2 for whole, part in zip(size, picture.shape, strict=True)]
        place[tuple(slice(at, at + part) for at, part in zip(corner, picture.shape, strict=True))] = picture
    return canvas


def mosaic(pictures: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Pictures in rows of ``columns``, with gaps of NaN between them: ``(H', W')`` or ``(H', W', 3)``."""
    n, height, width = pictures.shape[:3]
    lines = -(-n // columns)
    canvas = np.full((lines * (height + gap) - gap, columns * (width + gap) - gap, *pictures.shape[3:]), np.nan)
    for index, picture in enumerate(pictures):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas
