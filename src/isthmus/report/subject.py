"""What a report is about: a trained model and rows for it, with all that several sections ask for."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from isthmus import adapters
from isthmus.errors import DataError
from isthmus.report.layout import image_shape_of, tiles
from isthmus.types import Batch

__all__ = ["Labels", "Subject"]

MOST_CLASSES = 10


class Labels(NamedTuple):
    """y to colour by: ``codes`` are class indices where ``names`` are given, else real numbers."""

    codes: np.ndarray
    names: tuple[str, ...] = ()


class Subject:
    """The model is known by what it can do: sections ask ``hasattr``, never for a class.

    Parameters
    ----------
    estimator : object
        Fitted, with ``module_``, ``objective_``, ``history_``, ``transform``, ``reconstruct``; or with ``members_``,
        a list of such objects (a detector around them), of which the middle one is shown.
    X : array, tensor, frame, sparse matrix or path
        Rows to show, as the estimator takes them.
    y : array, optional
        Labels, one a row; or clean rows in X's shape, where X is damaged.
    image_shape : "auto", None or (H, W)
        Whether rows are pictures.
    """

    def __init__(self, estimator: Any, X: Any, y: Any = None, image_shape: Any = "auto") -> None:
        self.estimator = estimator
        self.members = [estimator] if hasattr(estimator, "module_") else list(estimator.members_)
        self.line = self.members[len(self.members) // 2]
        self.module = self.line.module_
        self.given = adapters.read(X)
        self.rows = dense(self.given)
        self.shown = self.like(self.rows, self.line)
        self.codes = np.asarray(self.line.transform(self.shown))
        self.names = [str(name) for name in getattr(self.given, "columns", ())]
        self.clean, self.labels = self._targets(adapters.read(y, "y"))
        self.image_shape = image_shape_of(self.rows, image_shape)
        self.command: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def like(self, rows: np.ndarray, owner: Any) -> Any:
        """Rows as the owner was fitted: a frame with X's names where it knows names, else the array."""
        if not hasattr(self.given, "columns") or not hasattr(owner, "feature_names_in_"):
            return rows
        pandas = hasattr(self.given, "iloc")
        return type(self.given)(rows, **{"columns" if pandas else "schema": list(self.given.columns)})

    def _targets(self, y: Any) -> tuple[np.ndarray | None, Labels | None]:
        if y is None:
            return None, None
        values = dense(y)
        if values.shape == self.rows.shape and values.ndim > 1:
            return values, None
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if values.shape != (len(self.rows),):
            wanted = f"({len(self.rows)},) or the clean rows, {self.rows.shape}"
            raise DataError(f"y must be labels of shape {wanted}, got {values.shape}")
        return None, read_labels(values)

    # ------------------------------------------------------------------ what sections read

    @cached_property
    def truth(self) -> np.ndarray:
        """What a reconstruction is held against: the clean rows where they are given, else X."""
        return (self.rows if self.clean is None else self.clean).astype(np.float64)

    @cached_property
    def reconstruction(self) -> np.ndarray:
        """The model's, in the user's units."""
        return np.asarray(self.line.reconstruct(self.shown), dtype=np.float64)

    @cached_property
    def errors(self) -> np.ndarray:
        """Σᵢ (x̂ᵢ − xᵢ)² of each row, ``(n,)``, in the user's units squared."""
        return np.square(self.reconstruction - self.truth).reshape(len(self), -1).sum(1)

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
        """Names of a table's columns; their numbers where they have none."""
        return self.names or [str(index) for index in range(int(np.prod(self.rows.shape[1:])))]

    @property
    def decodes(self) -> bool:
        """Whether a code alone can be decoded (no skips go round it)."""
        return not self.module.encoder.out.skips

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes ``(n, D)`` or ``(n, *positions, D)`` to rows in the user's units."""
        return np.asarray(self.line.inverse_transform(codes.astype(np.float32)), dtype=np.float64)

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """Rows as pictures; only where ``image_shape`` is not None."""
        assert self.image_shape is not None
        return tiles(rows, self.image_shape)

    def batch(self, index: np.ndarray) -> Batch:
        """These rows as the module reads them (channels last, the user's units), on its device."""
        x = adapters.channels_last(adapters.to_tensor(np.ascontiguousarray(self.rows[index])))
        return Batch(x.to(self.module.device))

    def by_error(self, n: int) -> np.ndarray:
        """n rows from the best rebuilt to the worst, evenly spaced in rank."""
        order = np.argsort(self.errors, kind="stable")
        return order[np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int)]


def every(n: int, most: int) -> np.ndarray:
    """At most ``most`` of n rows, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def dense(data: Any) -> np.ndarray:
    """Arrays, frames, tensors and sparse matrices as an array."""
    if isinstance(data, torch.Tensor):
        return data.detach().cpu().numpy()
    array = data.toarray() if hasattr(data, "toarray") else np.asarray(data)
    return array.astype(np.float64) if array.dtype == object and hasattr(data, "columns") else array


def read_labels(values: np.ndarray) -> Labels:
    """Few distinct values are classes (the rarest beyond ten are "other"), many numbers a scale."""
    names, codes, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    numeric = values.dtype.kind in "fiu"
    if numeric and len(names) > MOST_CLASSES:
        return Labels(values.astype(np.float64))
    if numeric:
        numbers, codes = np.unique(values, return_inverse=True)
        return Labels(codes, tuple(f"{number:g}" for number in numbers))
    if len(names) <= MOST_CLASSES:
        return Labels(codes, tuple(names))
    kept = np.sort(np.argsort(-counts, kind="stable")[: MOST_CLASSES - 1])
    place = np.full(len(names), MOST_CLASSES - 1)
    place[kept] = np.arange(len(kept))
    return Labels(place[codes], (*names[kept], "other"))
