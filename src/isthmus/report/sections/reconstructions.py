"""Inputs beside what the model makes of them."""

from __future__ import annotations

import numpy as np

from isthmus.report.blocks import Block, Note, Picture, Section, short
from isthmus.report.draw import Strip, examples, profile, shorten, strips
from isthmus.report.plots import INK, MUTED, TRAIN, VALIDATION, axes
from isthmus.report.rows import every, taken
from isthmus.report.subject import Subject

__all__ = ["reconstructions"]

PANELS = 6


def reconstructions(subject: Subject) -> Section | None:
    """Images in pairs; other rows as profiles, and columns as scatters of output against input."""
    pairs = subject.image_shape is not None and subject.clean is not None  # which the section on denoising shows
    if not subject.rebuilds or pairs or subject.layout != "rows" or (subject.ragged and subject.image_shape is None):
        return None
    said = "Rows in order of their error, from the best rebuilt to the worst, evenly spaced in rank."
    if subject.image_shape is not None:
        return Section("reconstructions", "Inputs and reconstructions", [Note(said), _images(subject)])
    if subject.tabular:
        said += " Profiles are in standard deviations of each column from its mean."
    blocks: list[Block] = [Note(said), *_profiles(subject), *_scatters(subject)]
    return Section("reconstructions", "Inputs and reconstructions", blocks)


def _images(subject: Subject) -> Picture:
    assert subject.image_shape is not None
    index = subject.by_error(examples(subject.image_shape[1]))
    truth, rebuilt = (subject.pictures(taken(rows, index)) for rows in (subject.truth, subject.reconstruction))
    rows = [Strip("input", truth), Strip("rebuilt", rebuilt)]
    if truth.ndim == 3:
        rows.append(Strip("difference", rebuilt - truth, signed=True, bar="units of X"))
    alt = f"{len(index)} images and their reconstructions, from best to worst"
    caption = (
        "Inputs and reconstructions share one scale. Difference, rebuilt less input: red is too high, blue too low."
        if truth.ndim == 3
        else "Inputs and reconstructions share one scale."
    )
    return Picture("reconstructions", strips(rows), alt, caption, wide=True)


def _profiles(subject: Subject) -> list[Picture]:
    size, signal = subject.rows[0].size, not subject.tabular
    shift = 0.0 if signal else subject.truth.mean(0).ravel()
    scale = 1.0 if signal else subject.spread.ravel()
    pictures = []
    for share, row in zip(("best", "median", "worst"), subject.by_error(3), strict=False):
        figure, panel = profile(subject.names, size, f"{share} rebuilt row ({row})")
        if signal:
            panel.set(xlabel="position", ylabel="units of X")
        for rows, colour, dash, name in (
            (subject.truth, INK, "-", "input"),
            (subject.reconstruction, VALIDATION, (0, (4, 1.5)), "rebuilt"),
        ):
            line = (rows[row].ravel() - shift) / scale
            panel.plot(line, color=colour, linestyle=dash, label=name, marker="o" if size <= 40 else "", markersize=3.5)
        panel.legend()
        alt = f"profile of the {share} rebuilt row and of its reconstruction"
        text = f"Squared error {short(subject.errors[row])} (units of X)²."
        pictures.append(Picture(f"profile_{share}", figure, alt, text))
    return pictures


def _scatters(subject: Subject) -> list[Picture]:
    if not subject.tabular:
        return []
    truth, rebuilt = subject.truth, subject.reconstruction
    left = np.square(rebuilt - truth).mean(0) / np.square(subject.spread)
    order = np.argsort(left, kind="stable")
    chosen = order[every(len(order), PANELS)]
    index, pictures = every(len(subject), 2000), []
    for column in chosen:
        name = shorten(subject.columns[column], 30)
        figure, panel = axes(
            3.4, 3.1, xlabel="input", ylabel="rebuilt", title=f"{'' if subject.names else 'column '}{name}"
        )
        both = np.concatenate([truth[index, column], rebuilt[index, column]])
        panel.axline((both.min(), both.min()), slope=1, color=MUTED, linewidth=1)
        panel.scatter(
            truth[index, column], rebuilt[index, column], s=9, color=TRAIN, alpha=0.45, linewidths=0, rasterized=True
        )
        text = f"R² = {short(1 - left[column], 2)}, the share of its variance that is explained."
        pictures.append(Picture(f"scatter_{column}", figure, f"rebuilt against input of column {name}", text))
    return pictures
