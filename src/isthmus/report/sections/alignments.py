"""Where the decoder looked while it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.report.blocks import Note, Picture, Section
from isthmus.report.draw import shorten
from isthmus.report.plots import SEQUENTIAL, blank
from isthmus.report.rows import every
from isthmus.report.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["alignments", "draw_alignments"]

EXAMPLES, MOST_PIECES, ACROSS = 8, 40, 30
"""Texts, the longest that is drawn, and pieces of the sources side by side."""
CELL, LETTER = 0.2, 0.085
"""Inches."""

Alignment = tuple[np.ndarray, Sequence[str], Sequence[str]]
"""Weights ``(pieces written, pieces read)``, and both."""


def alignments(subject: Subject) -> Section | None:
    """Attention weights of some texts as heat maps, pieces on both axes."""
    if not subject.attends:
        return None
    short = [
        place
        for place, (read, written) in enumerate(zip(subject.texts.sources, subject.texts.found, strict=True))
        if 1 < len(read) <= MOST_PIECES and 1 < len(written) <= MOST_PIECES
    ]
    if not short:
        return None
    chosen = np.array(short)[every(len(short), EXAMPLES)]
    found = [subject.line.attention(subject.rows[place]) for place in chosen]
    said = (
        "Each row is a piece that the model wrote, from above; it says how much of its attention each piece of the "
        "source had, 1 in all. “end” is where the model stopped; ␣ is a space."
    )
    pictures = []
    for line, group in enumerate(_lines(found)):
        alt = "attention weights for " + ", ".join("".join(read).replace("▁", " ").strip() for _, _, read in group)
        pictures.append(Picture(f"alignment_{line}", draw_alignments(group), alt, _caption(group), wide=True))
    return Section("alignments", "Alignments", [Note(said), *pictures])


def _caption(group: Sequence[Alignment]) -> str:
    """How sure the model was of where to look."""
    peaks = np.concatenate([weights.max(1) for weights, _, _ in group])
    return f"The largest weight of a row is {peaks.mean():.2f} in the mean."


def _lines(found: Sequence[Alignment]) -> list[list[Alignment]]:
    """Alignments beside one another as long as there is room."""
    lines: list[list[Alignment]] = []
    for one in found:
        room = ACROSS - sum(len(read) + 4 for _, _, read in lines[-1]) if lines else 0
        if lines and len(one[2]) + 4 <= room:
            lines[-1].append(one)
        else:
            lines.append([one])
    return lines


def draw_alignments(group: Sequence[Alignment]) -> Figure:
    """Heat maps side by side on one scale from 0 to 1, cells of one size, with a colour bar."""
    beside = [_letters(written) * LETTER + 0.2 for _, written, _ in group]
    turned = [_letters(read) > 2 for _, _, read in group]
    above = 0.1 + max(
        _letters(read) * LETTER if turn else 0.2 for (_, _, read), turn in zip(group, turned, strict=True)
    )
    size = [(CELL * len(read), CELL * len(written)) for _, written, read in group]
    down = max(1.0, max(height for _, height in size))
    whole = sum(beside) + sum(width for width, _ in size) + 1.0, down + above + 0.1
    figure = blank(*whole)
    figure.set_layout_engine("none")
    left, inches = 0.0, np.tile(whole, 2)
    for (weights, written, read), names, (width, height), turn in zip(group, beside, size, turned, strict=True):
        left += names
        panel: Any = figure.add_axes(np.array([left, 0.1 + down - height, width, height]) / inches)
        left += width
        image = panel.imshow(weights, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
        panel.set_xticks(range(len(read)), [_named(piece) for piece in read], rotation=90 if turn else 0)
        panel.set_yticks(range(len(written)), [_named(piece) for piece in written])
        panel.xaxis.tick_top()
        panel.tick_params(length=0, labelsize=9)
        panel.spines[:].set_visible(False)
    bar = figure.add_axes(np.array([left + 0.2, 0.1 + down - 1.0, 0.09, 1.0]) / inches)
    figure.colorbar(image, cax=bar, ticks=(0, 0.5, 1), format="{x:g}").outline.set_visible(False)
    bar.set_ylabel("attention")
    return figure


def _letters(pieces: Sequence[str]) -> int:
    return max(len(_named(piece)) for piece in pieces)


def _named(piece: str) -> str:
    """For an axis."""
    bare = piece.replace("▁", "")
    return shorten(bare, 14) if bare.strip() else "␣"
