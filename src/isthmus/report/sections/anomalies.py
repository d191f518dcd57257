"""Scores against the threshold, and what speaks against the rows that stand out."""

from __future__ import annotations

import numpy as np

from isthmus.report.blocks import Block, Marked, Note, Picture, Section, Table, short
from isthmus.report.draw import Strip, histogram, mark, over, strips
from isthmus.report.plots import TRAIN
from isthmus.report.rows import taken
from isthmus.report.subject import Subject

__all__ = ["anomalies"]

MOST_ROWS, MOST_COLUMNS = 10, 3


def anomalies(subject: Subject) -> Section | None:
    """A detector's scores with its threshold, its most anomalous rows and their columns."""
    detector = subject.estimator
    if not (hasattr(detector, "offset_") and hasattr(detector, "explain")):
        return None
    scores = np.asarray(detector.score_samples(subject.like(subject.rows, detector)), dtype=np.float64)
    threshold = float(detector.offset_)
    below = int((scores < threshold).sum())
    worst = np.argsort(scores, kind="stable")[:MOST_ROWS]
    share = 100 * below / len(scores)
    said = f"{below:,} of {len(scores):,} rows ({share:.1f} %) score below the threshold {short(threshold)}."
    figure, panel = histogram(scores, "score (higher is more normal)", TRAIN)
    mark(panel, threshold, f"threshold {short(threshold)}")
    over(panel)
    alt = f"histogram of {len(scores)} scores with the threshold at {short(threshold)}"
    blocks: list[Block] = [
        Note(said),
        Picture("scores", figure, alt, "Rows to the left of the line are reported as anomalies."),
    ]
    if subject.image_shape is not None:
        blocks.append(_images(subject, worst))
    blocks.append(_texts(subject, scores, worst) if subject.layout == "texts" else _reasons(subject, scores, worst))
    return Section("anomalies", "Anomalies", blocks)


def _images(subject: Subject, worst: np.ndarray) -> Picture:
    rows = [
        Strip("input", subject.pictures(subject.truth[worst])),
        Strip("rebuilt", subject.pictures(subject.reconstruction[worst])),
    ]
    return Picture(
        "anomalies", strips(rows), f"the {len(worst)} most anomalous images", "Most anomalous first.", wide=True
    )


def _reasons(subject: Subject, scores: np.ndarray, worst: np.ndarray) -> Table:
    detector = subject.estimator
    explained = detector.explain(subject.like(taken(subject.rows, worst), detector))
    if subject.layout == "rows":
        explained = np.asarray(explained, dtype=np.float64)
    against = [np.asarray(weights, dtype=np.float64).ravel() for weights in explained]
    rows = []
    for row, weights in zip(worst, against, strict=True):
        columns = np.argsort(-weights, kind="stable")[:MOST_COLUMNS]
        values = subject.rows[row].ravel()
        named = "; ".join(f"{_name(subject, row, column)} = {short(values[column])}" for column in columns)
        rows.append((str(subject.index[row]), short(scores[row]), named))
    return Table(("row", "score", "columns that speak most against it"), rows, "The most anomalous rows, worst first.")


def _name(subject: Subject, row: int, column: int) -> str:
    """Of a number of the row: its column, or the step of a series."""
    if subject.layout != "series":
        return subject.columns[column]
    step, channel = np.unravel_index(column, subject.rows[row].reshape(len(subject.rows[row]), -1).shape)
    return f"step {step}" + (f", channel {channel}" if subject.rows[row].ndim > 1 else "")


def _texts(subject: Subject, scores: np.ndarray, worst: np.ndarray) -> Table:
    rows = [(str(subject.index[row]), short(scores[row]), Marked([(subject.rows[row], False)])) for row in worst]
    return Table(("row", "score", "text"), rows, "The most anomalous texts, worst first.")
