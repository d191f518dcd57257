"""What a model says of every position, beside the truth."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from isthmus import metrics
from isthmus.report.subject import Subject

__all__ = ["Segmentation"]


class Confidence(NamedTuple):
    """An image a picture, ``(n, H, W)``; its name, that in a few symbols, what it means, and its largest value."""

    images: np.ndarray
    name: str
    short: str
    meaning: str
    top: float


class Segmentation:
    """Masks of each label, true and predicted, ``(K, *positions)`` a picture, from one pass over the pictures.

    Several labels at once and one label of several are read alike: a picture has a mask of every label.

    Parameters
    ----------
    subject : Subject
        Of a model with ``predict_proba`` and ``classes_``; its ``masks`` are the truth, or None.
    """

    IGNORED: ClassVar[int] = 2
    """In place of 0 or 1, where the truth is not counted."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.several = subject.module.target.classes is None
        self.classes = np.asarray(subject.line.classes_)
        self.names = tuple(str(label) for label in self.classes)
        self.shown = range(len(self.names)) if self.several else range(1, len(self.names))
        self.probability = [np.asarray(values) for values in subject.line.predict_proba(subject.shown)]
        self.found = [self._masks_of(values) for values in self.probability]
        self.counted, self.truth = self._read(subject.masks)

    def _masks_of(self, probability: np.ndarray) -> np.ndarray:
        if self.several:
            return probability > 0.5
        return probability.argmax(0) == np.arange(len(self.classes)).reshape(-1, *[1] * (probability.ndim - 1))

    def _read(self, masks: list[np.ndarray] | None) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
        if masks is None:
            return [np.ones(found.shape[1:], bool) for found in self.found], None
        if self.several:
            return [np.ones(mask.shape[1:], bool) for mask in masks], [mask > 0 for mask in masks]
        ignored = getattr(self.subject.line, "ignore_label", None)
        truth = [mask == self.classes.reshape(-1, *[1] * mask.ndim) for mask in masks]
        return [np.full(mask.shape, True) if ignored is None else mask != ignored for mask in masks], truth

    def of(self, label: int, counted_only: bool = False) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """One label's masks as `metrics` read them, true and predicted; ``counted_only`` has 0 for `IGNORED`."""
        assert self.truth is not None
        blank = 0 if counted_only else self.IGNORED
        counted = self.counted
        true = [np.where(where, mask[label], blank) for mask, where in zip(self.truth, counted, strict=True)]
        found = [np.where(where, mask[label], 0) for mask, where in zip(self.found, counted, strict=True)]
        return [np.atleast_2d(mask) for mask in true], [np.atleast_2d(mask) for mask in found]

    @cached_property
    def dice(self) -> np.ndarray:
        """Of each picture, the mean over labels, ``(n,)``; their mean is the model's ``score``."""
        each = [self.of(label) for label in range(len(self.names))]
        return np.array(
            [
                np.mean(
                    [metrics.dice(true[row : row + 1], found[row : row + 1], 1, self.IGNORED) for true, found in each]
                )
                for row in range(len(self.found))
            ]
        )

    @property
    def pixel_error(self) -> float:
        """The part of a picture's counted positions whose labels differ from the truth, mean over pictures."""
        assert self.truth is not None
        wrong = [(true != found).any(0) for true, found in zip(self.truth, self.found, strict=True)]
        return float(
            np.mean([one[where].mean() for one, where in zip(wrong, self.counted, strict=True) if where.any()])
        )

    def pictures(self, masks: list[np.ndarray], label: int | None, order: np.ndarray) -> np.ndarray:
        """A label's masks (or masks without labels) of some pictures as images, ``(n, H, W)`` of bool."""
        chosen = [masks[row] if label is None else masks[row][label] for row in order]
        drawn = self.subject.pictures(_alike([mask.astype(np.float64) for mask in chosen], self.subject.ragged))
        return np.nan_to_num(drawn) > 0.5

    def confidence(self, order: np.ndarray) -> Confidence:
        """Of one label its probability; of several, how probable it is that the prediction is wrong."""
        values = [self.probability[row] for row in order]
        if len(self.shown) == 1:
            label = self.shown[0]
            values = [value[label] for value in values]
            about = "probability", f"of {self.names[label]}", f"the probability of label {self.names[label]}", 1.0
        elif self.several:
            values = [np.minimum(value, 1 - value).max(0) for value in values]
            about = "uncertainty", "min p, 1 − p", "the largest probability that one of the labels is wrong", 0.5
        else:
            values = [1 - value.max(0) for value in values]
            about = "uncertainty", "1 − p", "one minus the probability of the label predicted", 1 - 1 / len(self.names)
        return Confidence(self.subject.pictures(_alike(values, self.subject.ragged)), *about)


def _alike(pictures: list[np.ndarray], ragged: bool) -> list[np.ndarray] | np.ndarray:
    return pictures if ragged else np.stack(pictures)
