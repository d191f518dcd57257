"""A walk through the code: what the output does as one unit moves."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from isthmus.report.blocks import Block, Marked, Note, Picture, Section, Table
from isthmus.report.draw import examples, grid, profile
from isthmus.report.plots import axes
from isthmus.report.sections.posterior import active_units
from isthmus.report.sections.series import scaled, unit_of
from isthmus.report.subject import Subject

__all__ = ["walk"]

SIDE, STEPS, DIRECTIONS, TEXTS = 15, 11, 8, 9
REACH, OWN_REACH = 3.0, 2.0
"""Deviations of a prior, and of a code that has none."""


def walk(subject: Subject) -> Section | None:
    """A grid over a code of two units; else along each of the most active ones, a map's channel everywhere alike."""
    if subject.layout != "rows" and subject.decodes and len(subject) > 1:
        texts = subject.layout == "texts"
        blocks: list[Block] = [_between(subject)] if texts else [Note(_said(subject)), *_lines(subject)]
        return Section("walk", "From one text to another" if texts else "A walk through the code", blocks)
    if subject.layout != "rows" or not subject.decodes or (subject.image_shape is None and subject.rows.ndim > 2):
        return None
    if subject.image_shape is None:
        return Section("walk", "A walk through the code", [Note(_said(subject)), *_profiles(subject)])
    draw = _plane if subject.codes.shape[1:] == (2,) else _directions
    return Section("walk", "A walk through the code", [draw(subject)])


def _has_prior(subject: Subject) -> bool:
    return hasattr(subject.line, "posterior")


def _said(subject: Subject) -> str:
    if _has_prior(subject):
        return "One unit moves from −3 to 3 prior deviations, the others stay at the prior's mean, 0."
    return (
        "One unit moves from −2 to 2 of its own deviations about its mean, but not beyond the values that it takes "
        "over the rows shown; the others stay at their means."
    )


def _along(subject: Subject, unit: int, steps: np.ndarray) -> np.ndarray:
    """Codes with that unit moved by so many deviations; the whole channel of a map."""
    if _has_prior(subject):
        codes = np.zeros((len(steps), *subject.codes.shape[1:]))
        codes[..., unit] = steps.reshape(-1, *[1] * (codes.ndim - 2))
        return codes
    values = subject.units[:, unit]
    moved = np.clip(values.mean() + steps * values.std(), values.min(), values.max()) - values.mean()
    codes = np.repeat(subject.codes.mean(0, keepdims=True), len(steps), 0).astype(np.float64)
    codes[..., unit] += moved.reshape(-1, *[1] * (codes.ndim - 2))
    return codes


def _steps(subject: Subject, n: int) -> np.ndarray:
    reach = REACH if _has_prior(subject) else OWN_REACH
    return np.linspace(-reach, reach, n)


# ---------------------------------------------------------------------- pictures


def _plane(subject: Subject) -> Picture:
    """Decoded at the quantiles of the prior, as in Kingma & Welling's figure 4; without one, over the code's range."""
    assert subject.image_shape is not None
    side = examples(subject.image_shape[1], SIDE)
    if _has_prior(subject):
        first = second = np.array([NormalDist().inv_cdf(share) for share in np.linspace(0.02, 0.98, side)])
        said = "in equal steps of the prior's probability from 2 to 98 %."
    else:
        ends = np.quantile(subject.flat_codes, (0.02, 0.98), axis=0)
        first, second = (np.linspace(ends[0, unit], ends[1, unit], side) for unit in (0, 1))
        said = "each in equal steps from its 2 % to its 98 % quantile over the rows shown."
    codes = np.stack(np.meshgrid(first, second[::-1]), -1).reshape(-1, 2)
    figure = grid(subject.pictures(subject.decode(codes)), side, limits=_limits(subject), width=6.0)
    alt = f"{side} by {side} images decoded over the two units of the code"
    return Picture("walk", figure, alt, f"Unit 0 grows to the right, unit 1 upwards, {said}", wide=True)


def _directions(subject: Subject) -> Picture:
    assert subject.image_shape is not None
    units = active_units(subject)[:DIRECTIONS]
    n = STEPS if examples(subject.image_shape[1]) >= STEPS else 5
    steps = _steps(subject, n)
    codes = np.concatenate([_along(subject, unit, steps) for unit in units])
    marked = (0, n // 2, n - 1)
    heads = [_signed(step) if index in marked else "" for index, step in enumerate(steps)]
    images = subject.pictures(subject.decode(codes))
    name = "unit" if subject.codes.ndim == 2 else "channel"
    lines = [f"{name} {unit}" for unit in units]
    figure = grid(images, n, limits=_limits(subject), lines=lines, heads=heads, width=6.6)
    alt = f"images decoded along {len(units)} units of the code"
    whole = " A channel of the map moves at all positions alike." if subject.codes.ndim > 2 else ""
    most = (
        f" The {len(units)} most active of {subject.codes.shape[-1]}." if len(units) < subject.codes.shape[-1] else ""
    )
    caption = f"{_said(subject)} Deviations stand at the top.{whole}{most}"
    return Picture("walk", figure, alt, caption, wide=True)


def _signed(step: float) -> str:
    return f"{step:+.0f}".replace("-", "−").replace("+0", "0")


def _limits(subject: Subject) -> tuple[float, float]:
    return float(subject.truth.min()), float(subject.truth.max())


# ---------------------------------------------------------------------- tables


def _profiles(subject: Subject) -> list[Picture]:
    from matplotlib import colormaps

    steps, mean = _steps(subject, 7), subject.truth.mean(0)
    colours = colormaps["coolwarm"](np.linspace(0, 1, len(steps)))
    pictures = []
    for unit in active_units(subject)[: min(4, subject.codes.shape[1])]:
        rows = (subject.decode(_along(subject, unit, steps)) - mean) / subject.spread
        figure, panel = profile(subject.names, subject.rows[0].size, f"unit {unit}")
        for index, (step, row, colour) in enumerate(zip(steps, rows, colours, strict=True)):
            panel.plot(row, color=colour, linewidth=1.2, label=None if index % 3 else _signed(step))
        panel.legend(title="unit, deviations", ncols=3)
        alt = f"outputs as unit {unit} moves from {_signed(steps[0])} to {_signed(steps[-1])} deviations"
        said = "The output, in deviations of each column from its mean; blue for the lowest value of the unit."
        pictures.append(Picture(f"walk_{unit}", figure, alt, said))
    return pictures


# ---------------------------------------------------------------------- series and texts


def _lines(subject: Subject) -> list[Picture]:
    """Series of the middle length as a unit moves: the channel that moves most."""
    from matplotlib import colormaps

    steps, length = _steps(subject, 7), int(np.median(subject.lengths))
    colours = colormaps["coolwarm"](np.linspace(0, 1, len(steps)))
    pictures = []
    for unit in active_units(subject)[: min(4, subject.codes.shape[1])]:
        rows = np.stack([scaled(subject, row) for row in subject.decode(_along(subject, unit, steps), length)])
        channel = int(rows.std(0).sum(0).argmax())
        where = f", channel {channel}" if rows.shape[2] > 1 else ""
        figure, panel = axes(xlabel="step", ylabel=unit_of(subject), title=f"unit {unit}{where}")
        for index, (step, row, colour) in enumerate(zip(steps, rows[..., channel], colours, strict=True)):
            panel.plot(row, color=colour, linewidth=1.2, label=None if index % 3 else _signed(step))
        panel.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(title="unit, deviations", ncols=3, loc="outside lower center")
        alt = f"series as unit {unit} moves from {_signed(steps[0])} to {_signed(steps[-1])} deviations"
        most = " The channel that moves most." if where else ""
        pictures.append(Picture(f"walk_{unit}", figure, alt, f"Blue for the lowest value of the unit.{most}"))
    return pictures


def _between(subject: Subject) -> Table:
    """What stands between two well rebuilt texts that are far apart in the code."""
    order = subject.by_error(len(subject))
    good = order[: max(2, len(order) // 2)]
    codes = subject.codes[good].astype(np.float64)
    ends = codes[0], codes[np.square(codes - codes[0]).reshape(len(codes), -1).sum(1).argmax()]
    shares = np.linspace(0, 1, TEXTS)
    written = subject.decode(np.stack([(1 - share) * ends[0] + share * ends[1] for share in shares]))
    rows = [(f"{100 * share:.0f}", Marked([(text, False)])) for share, text in zip(shares, written, strict=True)]
    said = "Between two well rebuilt texts that are far apart in the code, in equal steps of it."
    return Table(("% of the way", "decoded"), rows, said)
