"""How the error spreads over rows, and over the columns of a table."""

from __future__ import annotations

import numpy as np

from isthmus.report.blocks import Block, Picture, Section, short
from isthmus.report.draw import colour_bar, histogram, mark, over, shorten
from isthmus.report.plots import SEQUENTIAL, TRAIN, axes
from isthmus.report.subject import Subject

__all__ = ["errors"]

MOST_COLUMNS = 30


def errors(subject: Subject) -> Section | None:
    """The distribution of each row's squared error; a table's columns by the variance left unexplained."""
    if not subject.rebuilds or subject.ragged:
        return None
    values, unit = subject.errors, "squared error of a row, (units of X)²"
    if subject.image_shape is not None:
        values, unit = np.sqrt(values / subject.rows[0].size), "RMS error of a picture, units of X"
    skewed = bool(values.min() > 0 and values.max() > 30 * np.median(values))
    figure, panel = histogram(values, unit, TRAIN, logarithmic=skewed)
    median, tail = np.quantile(values, (0.5, 0.95))
    mark(panel, median, f"median {short(median)}", "-")
    mark(panel, tail, f"95 % below {short(tail)}", "--")
    over(panel)
    alt = f"histogram of the errors of {len(values)} rows, median {short(median)}, 95 % below {short(tail)}"
    caption = f"{len(values):,} rows; smallest {short(values.min())}, largest {short(values.max())}."
    blocks: list[Block] = [Picture("errors", figure, alt, caption)]
    if subject.image_shape is not None:
        blocks.append(_map(subject))
    elif subject.tabular:
        blocks.append(_columns(subject))
    return Section("errors", "Errors", blocks)


def _columns(subject: Subject) -> Picture:
    left = np.square(subject.reconstruction - subject.truth).mean(0) / np.square(subject.spread)
    order = np.argsort(-left, kind="stable")[:MOST_COLUMNS]
    figure, panel = axes(4.6, 0.9 + 0.19 * len(order), xlabel="variance left, % of the column's")
    panel.barh(range(len(order)), 100 * left[order], color=TRAIN)
    panel.set_yticks(range(len(order)), [shorten(subject.columns[column], 24) for column in order])
    panel.invert_yaxis()
    if not subject.names:
        panel.set_ylabel("column")
    alt = "columns by the share of their variance that the reconstruction misses: " + ", ".join(
        f"{subject.columns[column]} {100 * left[column]:.0f} %" for column in order[:5]
    )
    shown = f"The {len(order)} worst of {len(left)} columns." if len(order) < len(left) else "All columns."
    return Picture("errors_by_column", figure, alt, f"{shown} 0 is perfect; at 100 the column's mean would do as well.")


def _map(subject: Subject) -> Picture:
    error = subject.pictures(np.square(subject.reconstruction - subject.truth).mean(0, keepdims=True))[0]
    picture = np.sqrt(error.mean(-1) if error.ndim == 3 else error)
    figure, panel = axes(3.7, 3.1)
    image = panel.imshow(picture, cmap=SEQUENTIAL, vmin=0)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    colour_bar(figure, panel, image, "RMS error, units of X")
    return Picture("error_map", figure, "map of the error, pixel by pixel", "Where in the picture the error sits.")
