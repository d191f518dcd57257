"""One long series in windows that overlap, and what is known of windows back to its time steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus import adapters
from isthmus.errors import DataError
from isthmus.estimators.sequences import numbers_of

__all__ = ["by_step", "long_series", "starts_of"]


def long_series(data: Any, width: int, name: str = "X") -> np.ndarray:
    """One series ``(T, D)``, of at least ``width`` steps, from ``(T,)``, ``(T, D)``, a frame or a path."""
    given = adapters.read(data, name)
    if given is None or isinstance(given, str) or not hasattr(given, "__len__"):
        raise DataError(f"{name} must be one series, (T,) or (T, D), got {type(given).__name__}")
    array = numbers_of(given, name)
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise DataError(f"{name} must be one series of numbers, (T,) or (T, D), got {array.dtype} {array.shape}")
    array = array.reshape(len(array), -1)
    if len(array) < width:
        raise DataError(f"{name} must have at least window={width} time steps, got {len(array)}")
    return array.astype(np.float32 if array.dtype.itemsize < 4 else array.dtype)


def starts_of(length: int, width: int, stride: int = 1) -> np.ndarray:
    """Where the windows of a series so long begin; the last one ends with the series."""
    return np.union1d(np.arange(0, length - width + 1, stride), [length - width])


def by_step(values: np.ndarray, starts: np.ndarray, width: int, length: int) -> np.ndarray:
    """Of each time step the mean over the windows that cover it, ``(T, …)``.

    ``values`` holds a number a window, ``(n,)``, or one a step of each window, ``(n, width, …)``.
    """
    total = np.zeros((length, *values.shape[2:]))
    count = np.zeros(length)
    for offset in range(width):
        place = starts + offset  # distinct, so plain addition counts each once
        total[place] += values if values.ndim == 1 else values[:, offset]
        count[place] += 1
    return total / count.reshape(-1, *[1] * (total.ndim - 1))
