"""Segmentation: a label for every position of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from isthmus import adapters, metrics
from isthmus.checks import Check, choice, either, instance, integer, number, optional
from isthmus.errors import DataError, ParameterError, UnsupportedError
from isthmus.estimators.inputs import check_same_sizes, each_size, is_list_of_images
from isthmus.estimators.pictures import PictureEstimator
from isthmus.images import read_images, read_pairs, stacked
from isthmus.losses import CrossEntropy, Dice, Focal, SumLoss
from isthmus.part import Loss
from isthmus.types import Batch, Space

__all__ = ["Segmenter"]


def is_image_path(given: Any) -> bool:
    """Whether it is a path, and not to arrays."""
    return isinstance(given, (str, Path)) and not any(suffix in str(given) for suffix in adapters.SUFFIXES)


def label_weights(value: Any) -> str | None:
    """A weight a label."""
    one = number(0)
    fits = isinstance(value, Mapping) and all(one(weight) is None for weight in value.values())
    return None if fits else "a dict of label to a number of at least 0, such as {1: 2.0}"


@dataclass(eq=False, repr=False)
class Segmenter(PictureEstimator):
    """Learns from pictures and masks to give every position a label.

    By default a U-Net with cross-entropy a position plus Dice (Ronneberger et al. 2015; the sum is that of
    Isensee et al. 2021). Labels are whole numbers as the user has them, 0 and 255 say, and come back so.

    Parameters
    ----------
    loss : "auto", str or Loss
        "auto" is ``SumLoss([CrossEntropy(class_weight, per="position"), Dice()])``; for several labels at
        once the cross-entropy is that of each label's presence.
    multilabel : bool
        Masks are ``(n, L, *positions)`` of 0 and 1: any of L labels at a position, or none.
    ignore_label : int, optional
        Positions of this label do not count, neither in training nor in `score`.
    class_weight : "balanced", dict of label to float, or None
        What a label's positions weigh in the cross-entropy. "balanced" is n / (K · count), as in
        scikit-learn.

    Attributes
    ----------
    classes_ : array
        The labels in ascending order, without ``ignore_label``; 0 … L − 1 of a ``multilabel`` one.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import Segmenter
    >>> X = np.random.default_rng(0).random((8, 16, 16))
    >>> masks = np.where(X > 0.5, 255, 0)
    >>> Segmenter(max_epochs=2, random_state=0).fit(X, masks).predict(X).shape
    (8, 16, 16)
    """

    encoder: Any = "unet"
    bottleneck: Any = "identity"
    loss: Any = "auto"
    batch_size: int = 8
    multilabel: bool = False
    ignore_label: int | None = None
    class_weight: Any = None

    allowed: ClassVar[dict[str, Check]] = PictureEstimator.allowed | {
        "loss": either(choice(["auto"]), PictureEstimator.allowed["loss"]),
        "multilabel": instance(bool, "True or False"),
        "ignore_label": optional(integer()),
        "class_weight": optional(choice(["balanced"]), label_weights),
    }
    takes_target: ClassVar[bool] = True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # a table has no positions to label
        tags.target_tags.required = True
        return tags

    # ------------------------------------------------------------------ images and masks

    def _rows(self, X: Any, y: Any, *, reset: bool) -> Batch:
        """Images with their masks as whole numbers 0 … K − 1, ``(n, *positions)``, or 0 and 1 of each label."""
        if y is None:
            raise DataError("y must be the masks, one a picture: fit(images, masks)")
        for name in ("ignore_label", "class_weight") if self.multilabel else ():
            if getattr(self, name) is not None:
                raise ParameterError(f"{name} must be None where multilabel=True, got {getattr(self, name)!r}")
        X, y = self._read_pair(X, y)
        x, x_mask = self._read_masked(X, reset=reset)
        if x.dim() < 3:
            wanted = "(n, T) with dims=1 in the encoder, (n, H, W), (n, C, H, W) or (n, C, D, H, W)"
            raise DataError(f"X must be signals, images or volumes, {wanted}, got a table of shape {tuple(x.shape)}")
        labels, mask = self._read_labels(y, x)
        check_same_sizes(x, x_mask, None if mask is None else torch.from_numpy(mask), "y")
        if reset:
            self.classes_ = self._find_classes(labels, mask)
        if not self.multilabel:
            counts = np.ones(labels.shape, bool) if mask is None else mask
            if self.ignore_label is not None:
                counts = counts & (labels != self.ignore_label)
            mask = counts if mask is not None or self.ignore_label is not None else None
            labels = self._indices(labels, counts)
        target = torch.from_numpy(labels)
        y_mask = x_mask if mask is None else torch.from_numpy(mask)
        return Batch(x, target.float() if self.multilabel else target, x_mask, y_mask)

    def _read_pair(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Of two folders those pictures and masks that are pairs; labels as they are stored."""
        if is_image_path(X) and is_image_path(y):
            return read_pairs(X, y)
        return super()._read_pair(X, read_images(y, "y", labels=True) if is_image_path(y) else y)

    def _read_labels(self, y: Any, x: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """The masks, ``(n, *positions)`` or ``(n, *positions, L)``, and where they are padded."""
        dims = x.dim() - 2
        given, mask = y, None
        if is_list_of_images(given):
            given, mask = stacked(given, "y", dims)
        labels = np.asarray(given)
        if labels.dtype.kind not in "biuf":
            raise DataError(f"y must hold labels, whole numbers, got {labels.dtype}")
        if labels.dtype.kind == "f" and (strange := ~np.isfinite(labels) | (labels != np.round(labels))).any():
            raise DataError(f"y must hold labels, whole numbers, got {labels[strange][0]:g}")
        end = 2.0**63 if labels.dtype.kind == "f" else np.uint64(2**63)
        if labels.dtype.kind in "uf" and (beyond := np.abs(labels) >= end).any():
            raise DataError(f"y must hold labels below 2**63, got {labels[beyond][0]}")
        wanted = (len(x), *x.shape[1:-1])
        if self.multilabel:
            if labels.ndim != dims + 2 or (labels.shape[0], *labels.shape[2:]) != wanted:
                shape = ", ".join(map(str, (len(x), "L", *x.shape[1:-1])))
                raise DataError(f"y must be (n, L, *positions) where multilabel=True, ({shape}), got {labels.shape}")
            if len(strange := np.setdiff1d(labels, (0, 1))):
                raise DataError(f"y must hold 0 and 1 where multilabel=True, got {strange[:5].tolist()} too")
            return np.ascontiguousarray(np.moveaxis(labels, 1, -1)).astype(np.uint8), mask
        if labels.ndim == dims + 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.shape != wanted:
            raise DataError(f"y must have a label for each position of the images, {wanted}, got {labels.shape}")
        return labels.astype(np.int64), mask

    def _find_classes(self, labels: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        if self.multilabel:
            return np.arange(labels.shape[-1])
        found = np.unique(labels if mask is None else labels[mask])
        found = found[found != self.ignore_label] if self.ignore_label is not None else found
        if len(found) < 2:
            raise DataError(f"y must hold at least 2 labels, got {found.tolist()}")
        if len(found) > 1000:
            raise DataError(f"y must hold labels, at most 1000 of them, got {len(found)} different values")
        return found

    def _indices(self, labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Labels as places in ``classes_``; 0 where they do not count."""
        index = np.searchsorted(self.classes_, labels).clip(max=len(self.classes_) - 1)
        strange = counts & (self.classes_[index] != labels)
        if strange.any():
            shown = np.unique(labels[strange])[:5].tolist()
            raise DataError(f"y must hold the labels of training, {self.classes_.tolist()}, got {shown} too")
        return np.where(counts, index, 0)

    # ------------------------------------------------------------------ parts

    def _goal(self, rows: Batch, space: Space) -> Space:
        *positions, _ = space.shape
        labels = len(self.classes_)
        return Space((*positions, labels)) if self.multilabel else Space(tuple(positions), classes=labels)

    def _targets_like_x(self, rows: Batch) -> bool:
        return False

    def _loss_for(self, rows: Batch) -> Loss:
        if self.loss != "auto":
            if self.class_weight is not None:
                raise ParameterError(
                    f"class_weight must be None unless loss='auto', got {self.class_weight!r}; "
                    "give the weights to the loss itself"
                )
            return super()._loss_for(rows)
        if self.multilabel:
            return SumLoss([Focal(0.0, per="position"), Dice()])
        return SumLoss([CrossEntropy(self._weights(rows), per="position"), Dice()])

    def _weights(self, rows: Batch) -> list[float] | None:
        if self.class_weight is None:
            return None
        assert rows.y is not None
        if self.class_weight == "balanced":
            counted = rows.y if rows.y_mask is None else rows.y[rows.y_mask]
            counts = counted.flatten().bincount(minlength=len(self.classes_)).double()
            return (counts.sum() / (len(counts) * counts)).tolist()
        unknown = sorted(set(self.class_weight) - set(self.classes_.tolist()), key=str)
        if unknown:
            known = self.classes_.tolist()
            raise ParameterError(f"class_weight must be a dict of labels of y, {known}, to weights, got {unknown} too")
        return [float(self.class_weight.get(label, 1.0)) for label in self.classes_.tolist()]

    # ------------------------------------------------------------------ prediction

    @each_size
    def predict_proba(self, X: Any) -> Any:
        """The probability of each label at each position, ``(n, K, *positions)``; a list for a list of sizes."""
        self._fitted("predict_proba")
        return self._mapped(self._predict_rows, self._read(X)).movedim(-1, 1).contiguous().numpy()

    @each_size
    def predict(self, X: Any) -> Any:
        """The label at each position, ``(n, *positions)``, or 0 and 1 of each label, ``(n, L, *positions)``."""
        probabilities = self.predict_proba(X)
        if self.multilabel:
            return (probabilities > 0.5).astype(np.uint8)
        return self.classes_[probabilities.argmax(1)]

    def score(self, X: Any, y: Any = None) -> float:
        """The mean Dice coefficient of the labels, each averaged over the pictures."""
        if y is None:
            raise DataError("y must be the masks: score(images, masks)")
        X, truth = self._read_pair(X, y)
        found = self.predict(X)
        if len(truth) != len(found):
            raise DataError(f"y must hold a mask for each of {len(found)} pictures, got {len(truth)}")
        truth = [mask[0] if np.ndim(mask) > found[i].ndim and len(mask) == 1 else mask for i, mask in enumerate(truth)]
        known = [0, 1] if self.multilabel else self.classes_.tolist()
        known += [] if self.ignore_label is None else [self.ignore_label]
        for i, (mask, predicted) in enumerate(zip(truth, found, strict=True)):
            if np.shape(mask) != predicted.shape:
                raise DataError(f"y[{i}] must have a label for each position, {predicted.shape}, got {np.shape(mask)}")
            if len(strange := np.setdiff1d(mask, known)):
                raise DataError(f"y[{i}] must hold the labels of training, {known}, got {strange[:5].tolist()} too")
        truth = [np.asarray(mask).astype(np.int64) for mask in truth]  # whole numbers, however they are stored
        if self.multilabel:
            each = [metrics.dice([t[i] for t in truth], [f[i] for f in found]) for i in range(len(self.classes_))]
            return float(np.mean(each))
        return metrics.dice(truth, found, self.classes_.tolist(), self.ignore_label)

    def score_samples(self, X: Any) -> Any:
        """Refused: without its mask a picture has no score."""
        raise UnsupportedError("score_samples needs no mask, and a segmenter's score does; call score(images, masks)")

    def reconstruct(self, X: Any) -> Any:
        """Refused: a segmenter predicts labels."""
        raise UnsupportedError("Segmenter predicts labels; call predict or predict_proba")
