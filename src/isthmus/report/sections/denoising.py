"""Damaged, restored, clean."""

from __future__ import annotations

import numpy as np

from isthmus.report.blocks import Note, Picture, Section, short
from isthmus.report.draw import Strip, profile, strips
from isthmus.report.plots import INK, MUTED, TRAIN, VALIDATION, axes
from isthmus.report.subject import Subject, every

__all__ = ["denoising"]

EXAMPLES = 12


def denoising(subject: Subject) -> Section | None:
    """Triplets of a model that was trained to undo damage, and the error before and after."""
    damaged = _damaged(subject)
    if damaged is None:
        return None
    restored = np.asarray(subject.line.reconstruct(subject.like(damaged, subject.line)), dtype=np.float64)
    before, after = (_error(rows, subject.truth) for rows in (damaged, restored))
    said = (
        f"The damage costs {short(before.mean())} (units of X)² a row; {short(after.mean())} are left after restoring: "
        f"{100 * (1 - after.mean() / before.mean()):.0f} % of the damage undone."
    )
    triplets = [("damaged", damaged), ("restored", restored), ("clean", subject.truth)]
    index = every(len(subject), EXAMPLES)
    if subject.image_shape is not None:
        lines = [Strip(name, subject.pictures(np.asarray(rows)[index])) for name, rows in triplets]
        alt = f"{len(index)} damaged images, the same restored, and the clean ones"
        shown = [
            Picture(
                "triplets", strips(lines, grey=2), alt, "Rows evenly spaced over the data; one grey scale.", wide=True
            )
        ]
    else:
        shown = [_profile(subject, triplets, row) for row in index[:: max(1, len(index) // 2)][:2]]
    return Section("denoising", "Damaged, restored, clean", [Note(said), *shown, _before_after(before, after)])


def _damaged(subject: Subject) -> np.ndarray | None:
    if subject.clean is not None:
        return subject.rows.astype(np.float64)
    if subject.module.corruption is None or not hasattr(subject.line, "corrupt"):
        return None
    return np.asarray(subject.line.corrupt(subject.shown), dtype=np.float64)


def _error(rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.square(rows - truth).reshape(len(truth), -1).sum(1)


def _profile(subject: Subject, triplets: list[tuple[str, np.ndarray]], row: int) -> Picture:
    figure, panel = profile(subject.names, subject.rows[0].size, f"row {row}")
    shift = subject.truth.mean(0)
    looks = {"damaged": (MUTED, ":"), "restored": (VALIDATION, "--"), "clean": (INK, "-")}
    for name, rows in triplets:
        colour, dash = looks[name]
        panel.plot(((rows[row] - shift) / subject.spread).ravel(), color=colour, linestyle=dash, label=name)
    panel.legend()
    return Picture(
        f"triplet_{row}",
        figure,
        f"row {row}: damaged, restored and clean",
        "One row, in deviations of each column from its mean.",
    )


def _before_after(before: np.ndarray, after: np.ndarray) -> Picture:
    figure, panel = axes(4.0, 3.4, xlabel="squared error of the damaged row", ylabel="of the restored row")
    index = every(len(before), 3000)
    panel.scatter(before[index], after[index], s=9, color=TRAIN, alpha=0.45, linewidths=0, rasterized=True)
    limit = max(before.max(), after.max())
    panel.plot([0, limit], [0, limit], color=MUTED, linewidth=1)
    alt = f"error after restoring against error before, means {short(after.mean())} and {short(before.mean())}"
    return Picture("before_after", figure, alt, "(units of X)²; below the line a row was improved.")
