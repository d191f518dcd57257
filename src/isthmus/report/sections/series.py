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
    """Overlays of series and reconstructions, or targets and what is written for them, and the residuals."""
    if subject.layout != "series" or not subject.rebuilds:
        return None
    done, other = ("written", "target") if subject.pairs else ("rebuilt", "input")
    said = (
        f"Series in order of their RMS error, from the best {done} to the worst, evenly spaced in rank. Beneath each "
        f"the residual, {done} less {other}, on one scale for all."
    )
    said += " Above each its source, a colour a channel, in deviations." if subject.pairs else ""
    title = "Sources, targets and what is written" if subject.pairs else "Series and reconstructions"
    return Section("series", title, [Note(said), _overlays(subject)])


def channels_of(subject: Subject) -> np.ndarray:
    """The channels that are drawn: those that vary most, in their order."""
    return np.sort(np.argsort(-subject.steps.std(0), kind="stable")[:MOST_CHANNELS])


def scaled(subject: Subject, row: Any) -> np.ndarray:
    """One series ``(T, D)``: of one channel in its units, of several in deviations from each one's mean."""
    values = np.asarray(row, dtype=np.float64).reshape(len(row), -1)
    return values if values.shape[1] == 1 else (values - subject.steps.mean(0)) / subject.spread


def unit_of(subject: Subject) -> str:
    """Of what `scaled` gives."""
    return subject.unit if subject.steps.shape[1] == 1 else "deviations"


def _overlays(subject: Subject) -> Picture:
    order, channels = subject.by_error(PANELS), channels_of(subject)
    columns = min(COLUMNS, len(order))
    lines = -(-len(order) // columns)
    kinds = ([1.2] if subject.pairs else []) + [3, 1, 0.02]
    figure = blank(WIDTH, (2.95 if subject.pairs else 2.35) * lines + 0.25)
    grid = {"height_ratios": kinds * lines}
    panels = np.asarray(figure.subplots(len(kinds) * lines, columns, sharey="row", squeeze=False, gridspec_kw=grid))
    drawn = [(scaled(subject, subject.truth[row]), scaled(subject, subject.reconstruction[row])) for row in order]
    peak = max(float(np.abs(rebuilt - truth)[:, channels].max()) for truth, rebuilt in drawn) or 1.0
    for panel in panels.ravel():
        panel.set_visible(False)
    for place, (row, (truth, rebuilt)) in enumerate(zip(order, drawn, strict=True)):
        *above, upper, lower, _ = panels[place // columns * len(kinds) :, place % columns][: len(kinds)]
        input_ = scaled(subject, subject.rows[row]) if subject.clean is not None else None
        _overlay(upper, truth, rebuilt, input_, channels)
        top = above[0] if above else upper
        top.set_title(f"series {subject.index[row]}, RMS {short(subject.rms[row], 3)}", fontsize=9)
        if above:
            _source(top, subject.rows[row])
        _residual(lower, rebuilt - truth, channels, peak)
        if place % columns == 0:
            upper.set_ylabel(unit_of(subject))
            lower.set_ylabel("residual", fontsize=8)
            if above:
                top.set_ylabel("source", fontsize=8)
    figure.align_ylabels()
    _key(figure, subject, channels)
    alt = f"{len(order)} series with their reconstructions and residuals, from best to worst"
    return Picture("series", figure, alt, _caption(subject, channels), wide=True)


def _overlay(
    panel: Any, truth: np.ndarray, rebuilt: np.ndarray, given: np.ndarray | None, channels: np.ndarray
) -> None:
    panel.set_visible(True)
    few = _point_or_line(truth)
    for channel, (solid, dashed) in zip(channels, colours_of(channels), strict=False):
        if given is not None:
            panel.plot(given[:, channel], color=MUTED, linewidth=0.7, alpha=0.7, **few)
        panel.plot(truth[:, channel], color=solid, linewidth=1.1, alpha=1.0 if len(channels) == 1 else 0.55, **few)
        done = few | {"marker": "x", "markersize": 5} if len(rebuilt) == 1 else few
        panel.plot(rebuilt[:, channel], color=dashed, linewidth=1.3, linestyle=(0, (3.5, 1.4)), **done)
    panel.tick_params(labelbottom=False, labelsize=8)


def _source(panel: Any, row: np.ndarray) -> None:
    """The channels of a source that vary most, each in deviations from its mean."""
    panel.set_visible(True)
    values = np.asarray(row, dtype=np.float64).reshape(len(row), -1)
    spread = values.std(0)
    chosen = np.sort(np.argsort(-spread, kind="stable")[:MOST_CHANNELS])
    for place, colour in zip(chosen, (MUTED, CLASSES[5], CLASSES[9]), strict=False):
        drawn = (values[:, place] - values[:, place].mean()) / (spread[place] or 1.0)
        panel.plot(drawn, color=colour, linewidth=0.9, **_point_or_line(drawn))
    panel.set(yticks=[])
    _whole_steps(panel, len(values), 4)
    panel.tick_params(labelsize=7, pad=1, length=2)


def _residual(panel: Any, residual: np.ndarray, channels: np.ndarray, peak: float) -> None:
    panel.set_visible(True)
    panel.axhline(0, color=MUTED, linewidth=0.7)
    for channel, (_, colour) in zip(channels, colours_of(channels), strict=False):
        panel.plot(residual[:, channel], color=colour, linewidth=0.9, **_point_or_line(residual))
    panel.set(ylim=(-1.08 * peak, 1.08 * peak))
    _whole_steps(panel, len(residual), 5)
    panel.yaxis.get_major_locator().set_params(nbins=2)
    panel.tick_params(labelsize=8)


def _point_or_line(values: np.ndarray) -> dict[str, Any]:
    """How one step is drawn, or several, or very many."""
    return {"marker": "o", "markersize": 2.5} if len(values) == 1 else {"rasterized": len(values) > LONG}


def _whole_steps(panel: Any, n: int, most: int) -> None:
    """Ticks at whole steps alone."""
    if n == 1:
        panel.set_xticks([0])
    else:
        panel.xaxis.get_major_locator().set_params(integer=True, nbins=most)


def colours_of(channels: np.ndarray) -> list[tuple[str, str]]:
    """Of the series and of its reconstruction."""
    picked = [CLASSES[0], CLASSES[6], CLASSES[4]]
    return [(INK, VALIDATION)] if len(channels) == 1 else [(colour, colour) for colour in picked]


def _key(figure: Any, subject: Subject, channels: np.ndarray) -> None:
    from matplotlib.lines import Line2D

    dash = (0, (3.5, 1.4))
    one = len(channels) == 1
    handles = [
        Line2D(
            [], [], color=INK, label="target" if subject.pairs else "clean" if subject.clean is not None else "input"
        ),
        Line2D(
            [], [], color=VALIDATION if one else INK, linestyle=dash, label="written" if subject.pairs else "rebuilt"
        ),
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
        return f"Steps along x; RMS is the root mean square error over a series, in {subject.unit}."
    most = f" The {len(channels)} of {width} that vary most." if width > len(channels) else ""
    return (
        f"Steps along x; a colour a channel, each in standard deviations from its mean.{most} RMS is the root mean "
        f"square error over a series and all its channels, in {subject.unit}."
    )
