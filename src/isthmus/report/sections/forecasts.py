"""Forecasts beside what came, with their intervals, and how the error grows with the step."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.report.blocks import Block, Note, Picture, Section, Table, short
from isthmus.report.draw import WIDTH, over
from isthmus.report.forecasts import COVERAGE, Forecasts
from isthmus.report.plots import INK, MUTED, TRAIN, VALIDATION, axes, blank
from isthmus.report.rows import every
from isthmus.report.subject import Subject

__all__ = ["forecasts"]

PANELS, COLUMNS, MOST_DOTS = 6, 3, 4000
"""Forecasts side by side, and residuals that are drawn."""


def forecasts(subject: Subject) -> Section | None:
    """A table, a stretch of consecutive forecasts, some from the best to the worst, errors by step, residuals."""
    if not subject.forecasts:
        return None
    found = Forecasts(subject)
    k, horizon = found.truth.shape[:2]
    said = (
        f"From {k:,} origins, {horizon} steps ahead each, by the {found.window} steps before them. Where X holds the "
        "rows of training, they flatter the model."
    )
    blocks: list[Block] = [Note(said), _table(found), _stretch(found), _examples(found)]
    blocks += [_by_step(found)] if horizon > 1 else []
    blocks += [_coverage(found)] if horizon > 1 and found.inside is not None else []
    return Section("forecasts", "Forecasts", [*blocks, _residuals(found)])


def _table(found: Forecasts) -> Table:
    ways = [("the model", found.error), ("the last value repeated", found.naive - found.truth)]
    rows = [
        (name, short(np.abs(error).mean()), short(float(np.sqrt(np.square(error).mean()))), share)
        for (name, error), share in zip(ways, (found.share, "–"), strict=True)
    ]
    head = ("forecast by", "MAE, units of X", "RMSE, units of X", f"within intervals of {COVERAGE:.0%}")
    return Table(head, rows, "Means over all origins, steps and channels.")


def _stretch(found: Forecasts) -> Picture:
    """The last forecasts of the longest series, one after another."""
    series, channel = found.longest, found.channel
    mine = found.last
    horizon, values = found.truth.shape[1], found.values[series][:, channel]
    first = max(0, found.origin[mine[0]] - min(found.window, 2 * horizon))
    where = found.times(series)
    figure = blank(WIDTH, 2.9)
    panel: Any = figure.subplots()
    last = found.origin[mine[-1]] + horizon
    panel.plot(where[first:last], values[first:last], color=INK, linewidth=1.1, label="came", marker=_dot(last - first))
    for number, place in enumerate(mine):
        steps = where[found.origin[place] : found.origin[place] + horizon]
        _forecast(panel, found, place, steps, labelled=number == 0)
    panel.set(ylabel="units of X")
    if isinstance(where, range):
        panel.set_xlabel("step")
        panel.xaxis.get_major_locator().set_params(integer=True)
    else:
        _dates(panel)
    figure.legend(loc="outside upper left", ncols=3)
    of = f" of series {series}" if len(found.values) > 1 else ""
    of += f", channel {found.names[channel]}" if len(found.names) > 1 else ""
    said = (
        f"The last {len(mine)} forecasts{of}. A line begins where a forecast does; it has seen what lies to its left."
    )
    return Picture("forecasts", figure, f"{len(mine)} consecutive forecasts over what came", said, wide=True)


def _examples(found: Forecasts) -> Picture:
    """Forecasts from the best to the worst, each behind the end of its window."""
    order = np.argsort(found.mae, kind="stable")[every(len(found.mae), PANELS)]
    columns = min(COLUMNS, len(order))
    lines = -(-len(order) // columns)
    figure = blank(WIDTH, 1.9 * lines + 0.3)
    panels = np.asarray(figure.subplots(lines, columns, squeeze=False)).ravel()
    horizon, channel = found.truth.shape[1], found.channel
    for panel in panels:
        panel.set_visible(False)
    for number, (panel, place) in enumerate(zip(panels, order, strict=False)):
        panel.set_visible(True)
        series, origin = found.series[place], found.origin[place]
        first = max(origin - min(found.window, 2 * horizon), 0)
        seen = found.values[series][first : origin + horizon, channel]
        said = "came" if number == 0 else None
        panel.plot(range(first - origin, horizon), seen, color=INK, linewidth=1.1, label=said, marker=_dot(len(seen)))
        _forecast(panel, found, place, range(horizon), labelled=number == 0)
        panel.set_title(f"{found.label(place)}, MAE {short(found.mae[place], 3)}", fontsize=9)
        panel.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        panel.tick_params(labelsize=8)
        if number % columns == 0:
            panel.set_ylabel("units of X")
    figure.legend(loc="outside upper left", ncols=3)
    said = "In order of their mean absolute error, evenly spaced in rank. Steps along x, 0 the first that is forecast."
    if len(found.names) > 1:
        said += f" Of {len(found.names)} channels {found.names[channel]}, which varies most, is drawn."
    return Picture("examples", figure, f"{len(order)} forecasts, from the best to the worst", said, wide=True)


def _forecast(panel: Any, found: Forecasts, place: int, steps: Any, labelled: bool) -> None:
    channel = found.channel
    names = ("forecast", f"interval of {COVERAGE:.0%}") if labelled else (None, None)
    if found.lower is not None and found.upper is not None:
        ends = found.lower[place, :, channel], found.upper[place, :, channel]
        if len(steps) == 1:
            panel.errorbar(steps, sum(ends) / 2, (ends[1] - ends[0]) / 2, color=VALIDATION, alpha=0.5, label=names[1])
        else:
            panel.fill_between(steps, *ends, color=VALIDATION, alpha=0.22, linewidth=0, label=names[1])
    dash = (0, (3.5, 1.4))
    drawn = found.forecast[place, :, channel]
    panel.plot(
        steps, drawn, color=VALIDATION, linewidth=1.4, linestyle=dash, label=names[0], marker=_dot(len(drawn), 1)
    )
    panel.axvline(steps[0], color=MUTED, linewidth=0.6, linestyle=":")


def _by_step(found: Forecasts) -> Picture:
    figure, panel = axes(xlabel="step ahead", ylabel="RMS error, units of X")
    steps = range(1, found.truth.shape[1] + 1)
    ways = {"last value repeated": (found.naive - found.truth, MUTED), "model": (found.error, TRAIN)}
    for name, (error, colour) in ways.items():
        panel.plot(steps, np.sqrt(np.square(error).mean((0, 2))), color=colour, label=name, marker=_dot(len(steps), 40))
    panel.set_ylim(0)
    panel.xaxis.get_major_locator().set_params(integer=True)
    over(panel)
    error = np.sqrt(np.square(found.error).mean((0, 2)))
    alt = f"RMS error by step ahead, from {short(error[0])} to {short(error[-1])}"
    return Picture("errors_by_step", figure, alt, f"Over {len(found.truth):,} origins and all channels.")


def _coverage(found: Forecasts) -> Picture:
    assert found.inside is not None
    figure, panel = axes(xlabel="step ahead", ylabel="within the interval, %")
    steps, share = range(1, found.truth.shape[1] + 1), 100 * found.inside.mean((0, 2))
    panel.axhline(100 * COVERAGE, color=MUTED, linestyle="--", linewidth=1.1, label=f"asked, {COVERAGE:.0%}")
    panel.plot(steps, share, color=TRAIN, marker=_dot(len(steps), 40), label="held")
    panel.set_ylim(min(50, share.min() - 3), 102)
    panel.xaxis.get_major_locator().set_params(integer=True)
    over(panel)
    alt = f"share within intervals of {COVERAGE:.0%} by step, from {short(share.min(), 3)} to {short(share.max(), 3)} %"
    return Picture("coverage", figure, alt, f"{found.share} over all steps.")


def _residuals(found: Forecasts) -> Picture:
    figure, panel = axes(xlabel="step of the series", ylabel="forecast less what came, units of X")
    horizon, channel = found.truth.shape[1], found.channel
    where = (found.origin[:, np.newaxis] + np.arange(horizon)).ravel()
    left = found.error[..., channel].ravel()
    some = every(len(left), MOST_DOTS)
    panel.axhline(0, color=MUTED, linewidth=0.8)
    area = float(np.clip(6000 / len(some), 3, 20))
    panel.scatter(where[some], left[some], s=area, color=TRAIN, alpha=0.45, linewidths=0, rasterized=True)
    panel.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    mean = float(left.mean())
    alt = f"residuals over the series, mean {short(mean, 3)}"
    of = f" of channel {found.names[channel]}" if len(found.names) > 1 else ""
    said = f"Every step that was forecast{of}: mean {short(mean, 3)}, deviation {short(float(left.std()), 3)}."
    return Picture("residuals", figure, alt, said)


def _dot(n: int, most: int = 30) -> str:
    """Points of a line are marked where they are few."""
    return "." if n <= most else ""


def _dates(panel: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=8)
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))
