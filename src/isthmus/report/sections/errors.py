"""How the error spreads over rows, and over the columns of a table."""

from __future__ import annotations

import numpy as np

from isthmus.report.blocks import Block, Picture, Section, short
from isthmus.report.draw import colour_bar, histogram, mark, over, shorten
from isthmus.report.lengths import by_length
from isthmus.report.plots import SEQUENTIAL, TRAIN, axes
from isthmus.report.subject import Subject

__all__ = ["errors"]

MOST_COLUMNS = 30


def errors(subject: Subject) -> Section | None:
    """The distribution of each row's error; columns by the variance left unexplained; a series' length."""
    series = subject.layout == "series"
    if not subject.rebuilds or subject.layout == "texts" or (subject.ragged and not series):
        return None
    values, unit = subject.errors, "squared error of a row, (units of X)²"
    if subject.image_shape is not None or series:
        values, unit = subject.rms, f"RMS error of a {'series' if series else 'picture'}, {subject.unit}"
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
    if series:
        blocks.append(_steps(subject))
        blocks += [_columns(subject)] if subject.steps.shape[1] > 1 else []
    return Section("errors", "Errors", blocks)


def _columns(subject: Subject) -> Picture:
    series = subject.layout == "series"
    names = [f"channel {place}" for place in range(subject.spread.size)] if series else subject.columns
    kind = "channel" if series else "column"
    left = _squares(subject).mean(0) / np.square(subject.spread)
    order = np.argsort(-left, kind="stable")[:MOST_COLUMNS]
    figure, panel = axes(4.6, 0.9 + 0.19 * len(order), xlabel=f"variance left, % of the {kind}'s")
    panel.barh(range(len(order)), 100 * left[order], color=TRAIN)
    panel.set_yticks(range(len(order)), [shorten(names[column], 24) for column in order])
    panel.invert_yaxis()
    if not subject.names and not series:
        panel.set_ylabel("column")
    alt = f"{kind}s by the share of their variance that the reconstruction misses: " + ", ".join(
        f"{names[column]} {100 * left[column]:.0f} %" for column in order[:5]
    )
    shown = f"The {len(order)} worst of {len(left)} {kind}s." if len(order) < len(left) else f"All {kind}s."
    said = f"{shown} 0 is perfect; at 100 the {kind}'s mean would do as well."
    return Picture("errors_by_column", figure, alt, said)


def _squares(subject: Subject) -> np.ndarray:
    """The squared error of each number, ``(n, d)`` of a table, ``(ΣT, D)`` of series."""
    if subject.layout != "series":
        return np.square(subject.reconstruction - subject.truth)  # type: ignore[no-any-return]
    rebuilt = np.concatenate([row.reshape(len(row), -1) for row in subject.reconstruction])
    return np.square(rebuilt - subject.steps)


def _steps(subject: Subject) -> Picture:
    """The error against the series' length, or, of one length, at every step."""
    if len(np.unique(subject.lengths)) > 1:
        said = f"A dot a series, {len(subject):,} of them."
        return by_length(
            "errors_by_length", subject.lengths, subject.rms, "length, steps", f"RMS error, {subject.unit}", said
        )
    squares = _squares(subject).reshape(len(subject), -1, subject.spread.size)
    error = np.sqrt(squares.mean((0, 2)))
    figure, panel = axes(xlabel="step", ylabel=f"RMS error, {subject.unit}")
    panel.plot(error, color=TRAIN, marker="o" if len(error) <= 40 else "", markersize=3.5)
    panel.set_ylim(0)
    panel.xaxis.get_major_locator().set_params(integer=True)
    alt = f"RMS error at each of {len(error)} steps, from {short(error[0])} to {short(error[-1])}"
    return Picture("errors_by_step", figure, alt, f"Over {len(subject):,} series and all channels.")


def _map(subject: Subject) -> Picture:
    error = subject.pictures(np.square(subject.reconstruction - subject.truth).mean(0, keepdims=True))[0]
    picture = np.sqrt(error.mean(-1) if error.ndim == 3 else error)
    figure, panel = axes(3.7, 3.1)
    image = panel.imshow(picture, cmap=SEQUENTIAL, vmin=0)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    colour_bar(figure, panel, image, "RMS error, units of X")
    return Picture("error_map", figure, "map of the error, pixel by pixel", "Where in the picture the error sits.")
