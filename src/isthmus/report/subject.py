"""What a report is about: a trained model and rows for it, with all that several sections ask for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from isthmus import adapters, images
from isthmus.errors import DataError
from isthmus.report.labels import Labels, read_labels
from isthmus.report.layout import image_shape_of, tiles
from isthmus.report.rows import at_most, dense, every, read_masks, read_rows, real, taken
from isthmus.types import Batch

__all__ = ["Subject"]


class Subject:
    """The model is known by what it can do: sections ask ``hasattr``, `rebuilds`, `decodes`, never for a class.

    Of very many pictures some are taken, evenly spaced; ``total`` is how many were given.

    Parameters
    ----------
    estimator : object
        Fitted, with ``module_``, ``objective_``, ``history_``, ``transform``, ``reconstruct``; or with ``members_``,
        a list of such objects (a detector around them), of which the middle one is shown.
    X : array, tensor, frame, sparse matrix, list of pictures or path
        Rows to show, as the estimator takes them.
    y : array, list or path, optional
        Labels, one a row; clean rows in X's shape, where X is damaged; masks, where the model labels positions.
    image_shape : "auto", None or (H, W)
        Whether rows are pictures.
    """

    def __init__(self, estimator: Any, X: Any, y: Any = None, image_shape: Any = "auto") -> None:
        self.estimator = estimator
        self.members = [estimator] if hasattr(estimator, "module_") else list(estimator.members_)
        self.line = self.members[len(self.members) // 2]
        self.module = self.line.module_
        self.dims: int | None = getattr(self.module.encoder, "dims", None)
        self.positions = len(self.module.space.shape) - 1
        if self.labels_positions and images.holds_images(X) and images.holds_images(y):
            X, y = images.read_pairs(X, y)
        self.given = adapters.read(X)
        rows = read_rows(self.given, self.dims)
        self.total = len(rows)
        if self.total == 0:
            raise DataError("X must hold at least one row to show, got none")
        self.index = every(self.total, at_most(rows))
        self.rows: Any = taken(rows, self.index)
        self.ragged = isinstance(self.rows, list)
        self.shown = self.like(self.rows, self.line)
        self.names = [str(name) for name in getattr(self.given, "columns", ())]
        self.clean: Any = None
        self.labels: Labels | None = None
        self.masks: list[np.ndarray] | None = None
        if y is not None:
            self._read_targets(adapters.read(y, "y"))
        self.image_shape = image_shape_of(self.rows, image_shape, self.positions)
        self.command: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def like(self, rows: Any, owner: Any) -> Any:
        """Rows as the owner was fitted: a frame with X's names where it knows names, else the array."""
        if not hasattr(self.given, "columns") or not hasattr(owner, "feature_names_in_"):
            return rows
        pandas = hasattr(self.given, "iloc")
        return type(self.given)(rows, **{"columns" if pandas else "schema": list(self.given.columns)})

    def _read_targets(self, y: Any) -> None:
        """y as masks, clean rows or labels, of the rows that are shown."""
        values = read_rows(y, self.dims, "y")
        if len(values) != self.total:
            wanted = "masks, one a picture" if self.labels_positions else "labels of shape"
            raise DataError(f"y must be {wanted} ({self.total},) or the clean rows, got {np.shape(y)}")
        values = taken(values, self.index)
        if self.labels_positions:
            self.masks = read_masks(values, self.rows, self.positions, self.module.target.classes is None)
        elif np.ndim(values[0]) and [np.shape(value) for value in values] == [np.shape(row) for row in self.rows]:
            self.clean = values
        else:
            column = dense(values)
            column = column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
            if column.ndim != 1:
                wanted = f"({self.total},) or the clean rows, {np.shape(self.rows[0])} each"
                raise DataError(f"y must be labels of shape {wanted}, got {column.shape}")
            self.labels = read_labels(column)

    # ------------------------------------------------------------------ what the model can do

    @property
    def rebuilds(self) -> bool:
        """Whether what it gives is in the units of X."""
        return bool(self.module.scales_target)

    @property
    def labels_positions(self) -> bool:
        """Whether it gives a label for every position of a picture."""
        return hasattr(self.line, "predict_proba")

    @property
    def tabular(self) -> bool:
        """Whether rows are columns of a table, and no positions of a signal."""
        return not self.ragged and self.rows.ndim == 2 and self.positions == 0

    @property
    def has_code(self) -> bool:
        """Whether everything goes through the code, of one size (no skips go round it)."""
        return not self.module.encoder.out.skips and not self.ragged

    @property
    def decodes(self) -> bool:
        """Whether a code alone can be decoded."""
        return self.has_code and self.rebuilds and None not in self.module.bottleneck.out.shape

    # ------------------------------------------------------------------ what sections read

    @cached_property
    def truth(self) -> Any:
        """What a reconstruction is held against: the clean rows where they are given, else X."""
        return real(self.rows if self.clean is None else self.clean)

    @cached_property
    def reconstruction(self) -> Any:
        """The model's, in the user's units."""
        return real(self.line.reconstruct(self.shown))

    @cached_property
    def errors(self) -> np.ndarray:
        """Σᵢ (x̂ᵢ − xᵢ)² of each row, ``(n,)``, in the user's units squared."""
        if self.ragged:
            pairs = zip(self.reconstruction, self.truth, strict=True)
            return np.array([np.square(rebuilt - truth).sum() for rebuilt, truth in pairs])
        return np.square(self.reconstruction - self.truth).reshape(len(self), -1).sum(1)

    @cached_property
    def codes(self) -> np.ndarray:
        """The code of each row, ``(n, D)`` or ``(n, *positions, D)``."""
        return np.asarray(self.line.transform(self.shown))

    @cached_property
    def flat_codes(self) -> np.ndarray:
        """Codes as vectors, ``(n, D)``; those of several positions one after another."""
        return self.codes.reshape(len(self), -1).astype(np.float64)

    @cached_property
    def units(self) -> np.ndarray:
        """Each unit's activation, ``(n, D)``; over several positions their mean."""
        return self.codes.reshape(len(self), -1, self.codes.shape[-1]).mean(1).astype(np.float64)

    @cached_property
    def spread(self) -> np.ndarray:
        """The deviation of each column, ``(*shape,)``, 1 where it is constant."""
        deviation = self.rows.astype(np.float64).std(0)
        return np.where(deviation > 0, deviation, 1.0)

    @property
    def penalties(self) -> dict[str, Any]:
        """The penalties of the objective that was fitted, by name."""
        objective = self.line.objective_
        return dict(zip(objective.names, objective.penalties, strict=True))

    def penalty(self, name: str) -> Any:
        """The penalty of that name, or None."""
        return self.penalties.get(name)

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights the model has, from 1: the lowest of ``monitor``, else the last."""
        history, monitor = self.line.history_, self.line.get_params(deep=False).get("monitor", "val_objective")
        if not history or monitor not in history[0]:
            return len(history)
        return 1 + int(np.argmin([row[monitor] for row in history]))

    @property
    def columns(self) -> list[str]:
        """Names of a table's columns; their numbers where they have none, those of a pixel in brackets."""
        shape = self.rows.shape[1:]
        return self.names or [str(place if len(place) > 1 else place[0]) for place in np.ndindex(shape)]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes ``(n, D)`` or ``(n, *positions, D)`` to rows in the user's units."""
        return np.asarray(self.line.inverse_transform(codes.astype(np.float32)), dtype=np.float64)

    def pictures(self, rows: Any) -> np.ndarray:
        """Rows as pictures; only where ``image_shape`` is not None."""
        assert self.image_shape is not None
        return tiles(rows, self.image_shape, self.positions)

    def batch(self, index: np.ndarray) -> Batch:
        """These rows as the module reads them (channels last, the user's units), on its device."""
        rows = np.stack([self.rows[place] for place in index])
        return Batch(adapters.channels_last(adapters.to_tensor(rows), self.dims).to(self.module.device))

    def by_error(self, n: int) -> np.ndarray:
        """n rows from the best rebuilt to the worst, evenly spaced in rank."""
        return np.argsort(self.errors, kind="stable")[every(len(self), n)]
