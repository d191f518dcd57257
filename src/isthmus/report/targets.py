"""What the user gives as y: labels, clean rows, masks or the texts that are to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isthmus.errors import DataError
from isthmus.report.labels import Labels, read_labels
from isthmus.report.rows import dense, read_masks, read_rows, taken
from isthmus.text import texts_of

if TYPE_CHECKING:
    from isthmus.report.subject import Subject

__all__ = ["Targets", "read_targets"]


class Targets(NamedTuple):
    """One is given: clean rows, labels, masks one a picture, reference texts or target series one a row."""

    clean: Any = None
    labels: Labels | None = None
    masks: list[np.ndarray] | None = None
    references: list[str] | None = None
    series: list[np.ndarray] | None = None


def read_targets(subject: Subject, y: Any) -> Targets:
    """y, of the rows that are shown.

    Raises
    ------
    DataError
        Where y is not one a row, or nothing that goes with this model.
    """
    total, layout = subject.total, subject.layout
    if subject.writes or (layout == "texts" and _is_texts(y) and subject.learnt_pairs):
        references = texts_of(y, "y")
        if len(references) != total:
            raise DataError(f"y must hold the reference texts, one for each of the {total} of X, got {len(references)}")
        return Targets(references=[references[place] for place in subject.index])
    if subject.pairs:
        return Targets(series=_target_series(subject, y))
    try:
        values = read_rows(y, subject.dims, "y") if layout == "rows" else _read(y)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        wanted = f"labels of shape ({total},) or the clean rows"
        raise DataError(f"y must be {wanted}, got items of several shapes") from None
    if (isinstance(values, np.ndarray) and values.ndim == 0) or len(values) != total:
        wanted = "masks, one a picture" if subject.labels_positions else "labels of shape"
        got = values.shape if isinstance(values, np.ndarray) else f"{len(values)} arrays"
        raise DataError(f"y must be {wanted} ({total},) or the clean rows, got {got}")
    values = taken(values, subject.index)
    if subject.labels_positions:
        return Targets(masks=read_masks(values, subject.rows, subject.positions, subject.module.target.classes is None))
    if np.ndim(values[0]) and [np.shape(value) for value in values] == [np.shape(row) for row in subject.rows]:
        return Targets(clean=values)
    column = dense(values) if layout == "rows" or isinstance(values, np.ndarray) else np.empty((len(values), 0))
    column = column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
    if column.ndim != 1:
        wanted = f"({total},) or the clean rows, {np.shape(subject.rows[0])} each"
        raise DataError(f"y must be labels of shape {wanted}, got {np.shape(values[0])} in row 0")
    return Targets(labels=read_labels(column))


def _is_texts(y: Any) -> bool:
    items = y.tolist() if hasattr(y, "tolist") else y
    return isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items)


def _read(y: Any) -> Any:
    """Labels as an array; series as a list."""
    if isinstance(y, (list, tuple)) and y and all(np.ndim(item) for item in y):
        return [dense(item) for item in y]
    return dense(y)


def _target_series(subject: Subject, y: Any) -> list[np.ndarray]:
    """Of the sources that are shown, ``(T, D)`` or ``(T,)`` each, as wide as those of training."""
    rows = read_rows(y, None, "y", layout="series")
    if len(rows) != subject.total:
        raise DataError(f"y must hold the target series, one for each of the {subject.total} of X, got {len(rows)}")
    wanted = subject.line.target_shape_
    for place, row in enumerate(rows):
        if row.shape[1:] != wanted[1:]:
            shapes = " and ".join(str(shape).replace("None", "T") for shape in (wanted, (None, *row.shape[1:])))
            raise DataError(f"y[{place}] must be as wide as the targets of training; their shapes are {shapes}")
    return [rows[place] for place in subject.index]
