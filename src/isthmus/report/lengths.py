"""Figures of rows against their lengths."""

from __future__ import annotations

import numpy as np

from isthmus.report.blocks import Picture, short
from isthmus.report.plots import INK, TRAIN, axes
from isthmus.report.rows import every

__all__ = ["by_length"]

MOST_BINS, MOST_DOTS, LARGEST = 10, 3000, 150


def by_length(name: str, lengths: np.ndarray, values: np.ndarray, unit: str, measure: str, said: str) -> Picture:
    """A dot a row, larger where several coincide, and the mean over rows of like length.

    Parameters
    ----------
    name : str
        Of the picture.
    lengths, values : array of shape (n,)
    unit, measure : str
        What the axes say: "length, steps", "RMS error, units of X".
    said : str
        The caption.
    """
    figure, panel = axes(xlabel=unit, ylabel=measure)
    some = every(len(values), MOST_DOTS)
    dots, counts = np.unique(np.stack([lengths[some], values[some]], 1), axis=0, return_counts=True)
    area = 9 * counts * min(1, LARGEST / (9 * counts.max()))
    panel.scatter(*dots.T, s=area.clip(5), color=TRAIN, alpha=0.5, linewidths=0, rasterized=True)
    groups = _groups(lengths)
    places, means = ([float(of[group].mean()) for group in groups] for of in (lengths, values))
    panel.plot(places, means, color=INK, marker="o", markersize=4, linewidth=1.3, label="mean")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.legend()
    alt = f"{measure} against {unit}: means from {short(means[0], 3)} at {places[0]:.0f} to "
    alt += f"{short(means[-1], 3)} at {places[-1]:.0f}"
    return Picture(name, figure, alt, said)


def _groups(lengths: np.ndarray) -> list[np.ndarray]:
    """Rows of one length, or, of more lengths than `MOST_BINS`, about equally many rows of like length."""
    distinct = np.unique(lengths)
    if len(distinct) > MOST_BINS:
        distinct = np.unique(np.quantile(lengths, np.linspace(0, 1, MOST_BINS + 1)[:-1], method="lower"))
    group = np.searchsorted(distinct, lengths, side="right")
    return [np.flatnonzero(group == place) for place in np.unique(group)]
