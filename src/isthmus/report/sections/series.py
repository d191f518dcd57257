"""Series beside what the model makes of them, with what is left over beneath."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.report.blocks import Note, Picture, Section, short
from isthmus.report.draw import WIDTH
from isthmus.report.plots import CLASSES, INK, MUTED, VALIDATION, blank
from isthmus.report.subject import Subject

__all__ = ["channels_of", "colours_of", "scaled", "series", "unit_of"]

PANELS, COLUMNS, MOST_CHANNELS, LONG = 6, 3, 3, 4000
"""Series, side by side, their channels that are drawn, and steps beyond which a line is an image."""


def series(subject: Subject) -> Section | None:
    """Overlays of series and reconstructions, from the best rebuilt to the worst, and the residuals."""
    if subject.layout != "series" or not subject.rebuilds:
        return None
    said = (
        "Series in order of their RMS error, from the best rebuilt to the worst, evenly spaced in rank. Beneath each "
        "the residual, rebuilt less input, on one scale for all."
    )
    return Section("series", "Series and reconstructions", [Note(said), _overlays(subject)])


def channels_of(subject: Subject) -> np.ndarray:
    """The channels that are drawn: those that vary most, in their order."""
    return np.sort(np.argsort(-subject.steps.std(0), kind="stable")[:MOST_CHANNELS])


def scaled(subject: Subject, row: Any) -> np.ndarray:
    """One series ``(T, D)``: of one channel in its units, of several in deviations from each one's mean."""
    values = np.asarray(row, dtype=np.float64).reshape(len(row), -1)
    return values if values.shape[1] == 1 else (values - subject.steps.mean(0)) / subject.spread


def unit_of(subject: Subject) -> str:
    """Of what `scaled` gives."""
    return "units of X" if subject.steps.shape[1] == 1 else "deviations"


def _overlays(subject: Subject) -> Picture:
    order, channels = subject.by_error(PANELS), channels_of(subject)
    columns = min(COLUMNS, len(order))
    lines = -(-len(order) // columns)
    figure = blank(WIDTH, 2.35 * lines + 0.25)
    ratios = [3, 1, 0.02] * lines
    panels = np.asarray(
        figure.subplots(3 * lines, columns, sharey="row", squeeze=False, gridspec_kw={"height_ratios": ratios})
    )
    drawn = [(scaled(subject, subject.truth[row]), scaled(subject, subject.reconstruction[row])) for row in order]
    peak = max(float(np.abs(rebuilt - truth)[:, channels].max()) for truth, rebuilt in drawn) or 1.0
    for panel in panels.ravel():
        panel.set_visible(False)
    for place, (row, (truth, rebuilt)) in enumerate(zip(order, drawn, strict=True)):
        upper, lower = panels[place // columns * 3 : place // columns * 3 + 2, place % columns]
        input_ = scaled(subject, subject.rows[row]) if subject.clean is not None else None
        _overlay(upper, truth, rebuilt, input_, channels)
        upper.set_title(f"series {subject.index[row]}, RMS {short(subject.rms[row], 3)}", fontsize=9)
        _residual(lower, rebuilt - truth, channels, peak)
        if place % columns == 0:
            upper.set_ylabel(unit_of(subject))
            lower.set_ylabel("residual", fontsize=8)
    figure.align_ylabels()
    _key(figure, subject, channels)
    alt = f"{len(order)} series with their reconstructions and residuals, from best to worst"
    return Picture("series", figure, alt, _caption(subject, channels), wide=True)


def _overlay(
    panel: Any, truth: np.ndarray, rebuilt: np.ndarray, given: np.ndarray | None, channels: np.ndarray
) -> None:
    panel.set_visible(True)
    few = {"marker": "o", "markersize": 2.5} if len(truth) == 1 else {"rasterized": len(truth) > LONG}
    for channel, (solid, dashed) in zip(channels, colours_of(channels), strict=False):
        if given is not None:
            panel.plot(given[:, channel], color=MUTED, linewidth=0.7, alpha=0.7, **few)
        panel.plot(truth[:, channel], color=solid, linewidth=1.1, alpha=1.0 if len(channels) == 1 else 0.55, **few)
        panel.plot(rebuilt[:, channel], color=dashed, linewidth=1.3, linestyle=(0, (3.5, 1.4)), **few)
    panel.tick_params(labelbottom=False, labelsize=8)


def _residual(panel: Any, residual: np.ndarray, channels: np.ndarray, peak: float) -> None:
    panel.set_visible(True)
    panel.axhline(0, color=MUTED, linewidth=0.7)
    for channel, (_, colour) in zip(channels, colours_of(channels), strict=False):
        panel.plot(residual[:, channel], color=colour, linewidth=0.9, rasterized=len(residual) > LONG)
    panel.set(ylim=(-1.08 * peak, 1.08 * peak))
    panel.xaxis.get_major_locator().set_params(integer=True, nbins=5)
    panel.yaxis.get_major_locator().set_params(nbins=2)
    panel.tick_params(labelsize=8)


def colours_of(channels: np.ndarray) -> list[tuple[str, str]]:
    """Of the series and of its reconstruction."""
    picked = [CLASSES[0], CLASSES[6], CLASSES[4]]
    return [(INK, VALIDATION)] if len(channels) == 1 else [(colour, colour) for colour in picked]


def _key(figure: Any, subject: Subject, channels: np.ndarray) -> None:
    from matplotlib.lines import Line2D

    dash = (0, (3.5, 1.4))
    one = len(channels) == 1
    handles = [
        Line2D([], [], color=INK, label="clean" if subject.clean is not None else "input"),
        Line2D([], [], color=VALIDATION if one else INK, linestyle=dash, label="rebuilt"),
    ]
    if subject.clean is not None:
        handles.append(Line2D([], [], color=MUTED, linewidth=0.8, label="damaged"))
    if not one:
        colours = colours_of(channels)
        handles += [
            Line2D([], [], color=colour, linewidth=3, label=f"channel {channel}")
            for channel, (colour, _) in zip(channels, colours, strict=False)
        ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))


def _caption(subject: Subject, channels: np.ndarray) -> str:
    width = subject.steps.shape[1]
    if width == 1:
        return "Steps along x; RMS is the root mean square error over a series, in units of X."
    most = f" The {len(channels)} of {width} that vary most." if width > len(channels) else ""
    return (
        f"Steps along x; a colour a channel, each in standard deviations from its mean.{most} RMS is the root mean "
        "square error over a series and all its channels, in units of X."
    )
