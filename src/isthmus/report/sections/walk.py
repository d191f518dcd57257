"""A walk through the code of a variational model."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from isthmus.report.blocks import Note, Picture, Section
from isthmus.report.draw import grid, profile
from isthmus.report.sections.posterior import active_units
from isthmus.report.subject import Subject

__all__ = ["walk"]

SIDE, STEPS, DIRECTIONS, REACH = 15, 11, 8, 3.0


def walk(subject: Subject) -> Section | None:
    """A grid over a code of two units; else along each of the most active ones, −3 to 3 prior deviations."""
    if not hasattr(subject.line, "posterior") or not subject.decodes or subject.codes.ndim != 2:
        return None
    if subject.image_shape is None:
        if subject.rows.ndim > 2:
            return None
        said = "Each line is the output at one value of the unit, the others at 0, in deviations of each column."
        return Section("walk", "A walk through the code", [Note(said), *_profiles(subject)])
    plane = subject.codes.shape[1] == 2
    return Section("walk", "A walk through the code", [_plane(subject) if plane else _directions(subject)])


def _plane(subject: Subject) -> Picture:
    """Decoded at the quantiles of the prior, as in Kingma & Welling's figure 4."""
    level = np.array([NormalDist().inv_cdf(share) for share in np.linspace(0.02, 0.98, SIDE)])
    codes = np.stack(np.meshgrid(level, -level), -1).reshape(-1, 2)  # unit 0 to the right, unit 1 upwards
    figure = grid(subject.pictures(subject.decode(codes)), SIDE, limits=_limits(subject), width=6.0)
    alt = f"{SIDE} by {SIDE} images decoded over the two units of the code"
    caption = "Unit 0 grows to the right, unit 1 upwards, in equal steps of the prior's probability from 2 to 98 %."
    return Picture("walk", figure, alt, caption, wide=True)


def _directions(subject: Subject) -> Picture:
    units = active_units(subject)[:DIRECTIONS]
    steps = np.linspace(-REACH, REACH, STEPS)
    codes = np.concatenate([_along(subject, unit, steps) for unit in units])
    heads = [
        f"{step:+.0f}".replace("-", "−").replace("+0", "0") if index % 5 == 0 else ""
        for index, step in enumerate(steps)
    ]
    images = subject.pictures(subject.decode(codes))
    figure = grid(
        images, STEPS, limits=_limits(subject), lines=[f"unit {unit}" for unit in units], heads=heads, width=6.6
    )
    alt = f"images decoded along {len(units)} units of the code, from −3 to 3"
    caption = "One unit a line, in prior deviations (at the top); the other units at the prior's mean, 0."
    return Picture("walk", figure, alt, caption, wide=True)


def _profiles(subject: Subject) -> list[Picture]:
    from matplotlib import colormaps

    steps, mean = np.linspace(-REACH, REACH, 7), subject.truth.mean(0)
    colours = colormaps["coolwarm"](np.linspace(0, 1, len(steps)))
    pictures = []
    for unit in active_units(subject)[: min(4, subject.codes.shape[1])]:
        rows = (subject.decode(_along(subject, unit, steps)) - mean) / subject.spread
        figure, panel = profile(subject.names, subject.rows[0].size, f"unit {unit}")
        for step, row, colour in zip(steps, rows, colours, strict=True):
            panel.plot(
                row, color=colour, linewidth=1.2, label=f"{step:+.0f}".replace("-", "−") if step % 3 == 0 else None
            )
        panel.legend(title="value of the unit", ncols=3)
        alt = f"outputs for values of unit {unit} from −3 to 3"
        pictures.append(Picture(f"walk_{unit}", figure, alt, "From −3 (blue) to 3 (red) prior deviations."))
    return pictures


def _along(subject: Subject, unit: int, steps: np.ndarray) -> np.ndarray:
    codes = np.zeros((len(steps), subject.codes.shape[1]))
    codes[:, unit] = steps
    return codes


def _limits(subject: Subject) -> tuple[float, float]:
    return float(subject.truth.min()), float(subject.truth.max())
