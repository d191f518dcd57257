"""Labels of positions: the masks beside the truth, and how well they agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus import metrics
from isthmus.report.blocks import Block, Note, Picture, Section, Table, short
from isthmus.report.draw import Strip, examples, histogram, mark, over, strips
from isthmus.report.plots import CLASSES, MUTED, TRAIN
from isthmus.report.rows import every, taken
from isthmus.report.segmentation import Segmentation
from isthmus.report.subject import Subject

__all__ = ["masks"]

MOST_EXAMPLES, ENOUGH, MOST_NAMED = 6, 20, 12
FALSE, MISSED, MIXED = CLASSES[6], CLASSES[0], CLASSES[4]
"""Colours of a label where there is none, of none where there is one, of one where there is another."""
LABELS = tuple(CLASSES[place] for place in (1, 9, 2, 5, 3, 7, 8))
"""Colours of the labels themselves, again and again where there are more."""
TOLERANCE = 2.0


def masks(subject: Subject) -> Section | None:
    """Pictures, masks and errors from worst to best, the figures of every label, and the probability."""
    if not subject.labels_positions:
        return None
    found = Segmentation(subject)
    blocks: list[Block] = []
    order = every(len(subject), MOST_EXAMPLES)
    if found.truth is not None:
        blocks += [_figures(subject, found)]
        order = np.argsort(found.dice, kind="stable")[order]
    if subject.image_shape is not None:
        blocks.append(_pictures(subject, found, order))
    if found.truth is not None and len(subject) >= ENOUGH:
        blocks.append(_spread(found))
    return Section("masks", "Masks", blocks or [Note("Without the true masks and without pictures nothing is shown.")])


# ---------------------------------------------------------------------- figures


def _figures(subject: Subject, found: Segmentation) -> Table:
    rows = [(name, *(short(value) for value in _measures(found, place))) for place, name in enumerate(found.names)]
    if len(rows) > 1:
        means = np.mean([_measures(found, place) for place in range(len(found.names))], axis=0)
        rows.append(("mean", *(short(value) for value in means)))
    wrong = 100 * found.pixel_error
    caption = (
        f"Means over {len(subject):,} pictures, 1 is perfect; the boundary's F1 allows {TOLERANCE:g} pixels. "
        f"{short(wrong, 3)} % of the positions have another label than in truth (pixel error)."
    )
    return Table(("label", "Dice", "IoU", "boundary F1"), rows, caption)


def _measures(found: Segmentation, label: int) -> tuple[float, float, float]:
    truth, predicted = found.of(label)
    scored = metrics.dice(truth, predicted, 1, found.IGNORED), metrics.iou(truth, predicted, 1, found.IGNORED)
    return (*scored, metrics.boundary_f1(*found.of(label, counted_only=True), tolerance=TOLERANCE))


def _spread(found: Segmentation) -> Picture:
    figure, panel = histogram(found.dice, "Dice of a picture, mean over its labels", TRAIN)
    panel.set_ylabel("pictures")
    panel.yaxis.get_major_locator().set_params(integer=True)
    median = float(np.median(found.dice))
    mark(panel, median, f"median {short(median)}", "-")
    over(panel)
    alt = f"histogram of the Dice coefficient of {len(found.dice)} pictures, median {short(median)}"
    return Picture("dice", figure, alt, f"Worst {short(found.dice.min())}, best {short(found.dice.max())}.")


# ---------------------------------------------------------------------- pictures


def _pictures(subject: Subject, found: Segmentation, order: np.ndarray) -> Picture:
    """Columns of pictures; lines of what is known of each."""
    order = order[every(len(order), examples(max(subject.image_shape or (1,)), MOST_EXAMPLES))]
    grey = _grey(subject.pictures(taken(subject.rows, order)))
    named = [(found.names[label], LABELS[place % len(LABELS)]) for place, label in enumerate(found.shown)]
    colours = [_rgb(colour) for _, colour in named]
    predicted = [found.pictures(found.found, label, order) for label in found.shown]
    lines = [Strip("picture", grey)]
    heads: list[str] = []
    legend = [(f"label {name}", colour) for name, colour in named[:MOST_NAMED]]
    if found.truth is not None:
        true = [found.pictures(found.truth, label, order) for label in found.shown]
        lines.append(Strip("truth", _painted(grey, [_outline(mask) for mask in true], colours, 1.0)))
        lines.append(Strip("predicted", _painted(grey, predicted, colours, 0.55)))
        lines.append(Strip("errors", _errors(grey, true, predicted, found.pictures(found.counted, None, order))))
        heads = [f"Dice {found.dice[row]:.2f}" for row in order]
        legend += [("false positive", FALSE), ("false negative", MISSED)]
        legend += [("another label", MIXED)] if len(found.shown) > 1 else []
    else:
        lines.append(Strip("predicted", _painted(grey, predicted, colours, 0.55)))
    seen = found.confidence(order)
    lines.append(Strip(seen.name, seen.images, bar=seen.short, limits=(0.0, seen.top)))
    figure = strips(lines, heads, foot=0.3 * -(-len(legend) // 4))
    _key(figure, legend)
    alt = f"{len(order)} pictures with their {'true and ' if found.truth is not None else ''}predicted masks"
    told = (
        "From the worst to the best by Dice, the mean over labels. "
        if found.truth is not None
        else "Evenly spaced over the pictures. "
    )
    outlined = "The true mask is outlined. " if found.truth is not None else ""
    cut = "Volumes by their middle slice. " if subject.positions == 3 else ""
    return Picture("masks", figure, alt, f"{told}{outlined}{cut}Last line: {seen.meaning}.", wide=True)


def _grey(pictures: np.ndarray) -> np.ndarray:
    """Each picture in RGB, from its own darkest to its own brightest value."""
    axes = tuple(range(1, pictures.ndim))
    pictures = pictures.astype(np.float64)
    low, high = np.nanmin(pictures, axes, keepdims=True), np.nanmax(pictures, axes, keepdims=True)
    scaled = (pictures - low) / np.where(high > low, high - low, 1)
    return scaled if scaled.ndim == 4 else np.repeat(scaled[..., np.newaxis], 3, -1)


def _painted(grey: np.ndarray, masks: list[np.ndarray], colours: list[np.ndarray], opacity: float) -> np.ndarray:
    painted = grey.copy()
    for mask, colour in zip(masks, colours, strict=True):
        painted[mask] = (1 - opacity) * painted[mask] + opacity * colour
    return painted


def _errors(grey: np.ndarray, true: list[np.ndarray], predicted: list[np.ndarray], counted: np.ndarray) -> np.ndarray:
    """The faded picture, with a label too many in one colour, one too few in another, one for another in a third."""
    pairs = list(zip(true, predicted, strict=True))
    false = np.any([found & ~mask for mask, found in pairs], axis=0) & counted
    missed = np.any([mask & ~found for mask, found in pairs], axis=0) & counted
    faded = np.where(np.isnan(grey), np.nan, 0.7 + 0.3 * grey)
    wrong = [false & ~missed, missed & ~false, false & missed]
    return _painted(faded, wrong, [_rgb(FALSE), _rgb(MISSED), _rgb(MIXED)], 1.0)


def _outline(masks: np.ndarray) -> np.ndarray:
    """The inner rim of each mask, as wide as it takes to be seen."""
    from scipy import ndimage

    width = max(1, round(masks.shape[2] / 200))
    return np.array([mask & ~ndimage.binary_erosion(mask, iterations=width, border_value=1) for mask in masks])


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def _key(figure: Any, entries: list[tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, edgecolor=MUTED, linewidth=0.5, label=name) for name, colour in entries]
    figure.legend(handles=handles, loc="lower left", ncols=4)
