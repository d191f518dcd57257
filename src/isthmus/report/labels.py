"""What a report colours rows by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Labels", "read_labels"]

MOST_CLASSES = 10


class Labels(NamedTuple):
    """y to colour by: ``codes`` are class indices where ``names`` are given, else real numbers."""

    codes: np.ndarray
    names: tuple[str, ...] = ()


def read_labels(values: np.ndarray) -> Labels:
    """Few distinct values are classes (the rarest beyond ten are "other"), many numbers a scale."""
    names, codes, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    numeric = values.dtype.kind in "fiu"
    if numeric and len(names) > MOST_CLASSES:
        return Labels(values.astype(np.float64))
    if numeric:
        numbers, codes = np.unique(values, return_inverse=True)
        return Labels(codes, tuple(f"{number:g}" for number in numbers))
    if len(names) <= MOST_CLASSES:
        return Labels(codes, tuple(names))
    kept = np.sort(np.argsort(-counts, kind="stable")[: MOST_CLASSES - 1])
    place = np.full(len(names), MOST_CLASSES - 1)
    place[kept] = np.arange(len(kept))
    return Labels(place[codes], (*names[kept], "other"))
