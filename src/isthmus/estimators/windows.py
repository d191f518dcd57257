"""Windows of series: what was and what comes next, held out by time, each in units of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Windows", "cut", "cut_at", "joined", "level", "origins_of", "split_by_time"]

LEAST_TO_SPLIT = 50
"""With fewer windows none are held out."""
STILL = 1e-2
"""Least deviation of a window, as a share of the training windows' own."""


class Windows(NamedTuple):
    """The past ``(n, window, D)``, what comes next ``(n, horizon, D)``, and what is known of both: ``(n, …, E)``.

    ``series`` and ``origin`` ``(n,)`` say where a window is from: the origin is the first step of the future.
    """

    past: np.ndarray
    future: np.ndarray
    known_past: np.ndarray
    known_future: np.ndarray
    series: np.ndarray
    origin: np.ndarray

    def __len__(self) -> int:
        return len(self.past)


def origins_of(length: int, window: int, horizon: int, stride: int = 1, first: int = 0) -> np.ndarray:
    """Every ``stride``-th step, from ``first`` on, that has a whole window before it and a whole horizon from it on."""
    return np.arange(max(window, first), length - horizon + 1, stride)


def split_by_time(
    lengths: Sequence[int], window: int, horizon: int, stride: int, fraction: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The origins of training and of validation, one array a series.

    The targets of validation lie in the last ``fraction`` of each series, at least ``horizon`` steps; windows
    and targets of training lie before it. A series too short for that is for training alone, and so are all
    where there are fewer than 50 windows.
    """
    train = [origins_of(length, window, horizon, stride) for length in lengths]
    held = [np.arange(0)] * len(train)
    if fraction == 0 or sum(map(len, train)) < LEAST_TO_SPLIT:
        return train, held
    for i, length in enumerate(lengths):
        cut = length - max(horizon, round(fraction * length))
        earlier = origins_of(cut, window, horizon, stride)
        if len(earlier) > 1:
            train[i], held[i] = earlier, origins_of(length, window, horizon, stride, cut)
    return train, held


def cut(values: np.ndarray, starts: np.ndarray, width: int) -> np.ndarray:
    """The windows ``(n, width, D)`` of a series ``(T, D)`` that begin there."""
    return values[starts[:, np.newaxis] + np.arange(width)]


def cut_at(
    series: Sequence[np.ndarray],
    known: Sequence[np.ndarray],
    origins: Sequence[np.ndarray],
    window: int,
    horizon: int,
) -> Windows:
    """The windows with these origins, one array of them a series; each is of one series alone.

    Parameters
    ----------
    series, known : sequence of arrays ``(T, D)`` and ``(T, E)``
        What is forecast, and what is known of it at all times.
    origins : sequence of int arrays
        With horizon 0 an origin may be a series' end.
    """
    parts = []
    for i, (values, told, places) in enumerate(zip(series, known, origins, strict=True)):
        past, future = (places - window, window), (places, horizon)
        fields = cut(values, *past), cut(values, *future), cut(told, *past), cut(told, *future)
        parts.append(Windows(*fields, np.full(len(places), i), places))
    return joined(parts)


def joined(parts: Sequence[Windows]) -> Windows:
    """All windows of several."""
    return Windows(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def level(past: np.ndarray, way: str | None, still: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is subtracted from a window and its future, and what both are divided by: ``(n, 1, D)`` each.

    Parameters
    ----------
    past : array of shape (n, window, D)
    way : {None, "mean", "last"}
        Subtract the window's mean or its last value, divide by its deviation; None: 0 and 1.
    still : array of shape (D,)
        Added to the deviation in square, for windows that hardly move.
    """
    mean = past.mean(1, keepdims=True)
    if way is None:
        return np.zeros_like(mean), np.ones_like(mean)
    spread = np.sqrt(past.var(1, keepdims=True) + np.square(still))
    return mean if way == "mean" else past[:, -1:], spread
