"""The overlap of two regions."""

from __future__ import annotations

from typing import ClassVar, Self

from torch import Tensor

from isthmus.checks import choice
from isthmus.nn.labels import LABEL_PARAMETERS, logits_of, memberships, probabilities, require_classes
from isthmus.part import Loss, built
from isthmus.types import Space

__all__ = ["Dice"]


class Dice(Loss):
    """1 − the mean over classes of (2 Σᵢ pᵢ tᵢ + s) / (Σᵢ pᵢ + Σᵢ tᵢ + s) per sample, between 0 and 1.

    tᵢ is 1 where position i belongs to the class and 0 elsewhere, pᵢ its probability: a softmax for a
    target of classes, a sigmoid a channel for a multi-label one. Milletari et al. (2016) have the one
    class of the foreground and squares below; sums are taken over a sample, not over the batch. A class
    that is neither there nor predicted costs nothing. Beside a loss that sums over positions it would be
    nothing; see `SumLoss`.

    Parameters
    ----------
    smoothing : float
        s: keeps a class without positions from 0/0. The larger, the milder a few wrong positions of a
        class that is absent.
    include_background : bool
        False leaves out class 0.
    ignore_label : int, optional
        A label of positions that do not count, among the classes or outside (255, −100).
    squared : bool
        Σ pᵢ² + Σ tᵢ² below, as in the paper.
    """

    formula: ClassVar[str] = "1 − meanₖ (2 Σᵢ pᵢₖ tᵢₖ + s) / (Σᵢ pᵢₖ + Σᵢ tᵢₖ + s)"
    bounds: ClassVar = (0.0, 1.0)
    allowed: ClassVar = {**LABEL_PARAMETERS, "squared": choice([True, False])}

    def __init__(
        self,
        smoothing: float = 1.0,
        include_background: bool = True,
        ignore_label: int | None = None,
        squared: bool = False,
    ) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.include_background = include_background
        self.ignore_label = ignore_label
        self.squared = squared

    def build(self, space: Space) -> Self:
        super().build(space)
        if self.ignore_label is not None or not self.include_background:
            require_classes("dice with ignore_label or without background", built(self))
        return self

    def output_shape(self, target: Space) -> Space:
        return logits_of(target)

    def mean(self, output: Tensor) -> Tensor:
        """p of every class or channel."""
        return probabilities(output, built(self).classes)

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        p, t = memberships(output, target, mask, self.ignore_label)  # (B, N, K)
        sizes = (p.square() + t.square() if self.squared else p + t).sum(1)
        overlap = (2 * (p * t).sum(1) + self.smoothing) / (sizes + self.smoothing)  # (B, K)
        return 1 - overlap[:, 0 if self.include_background else 1 :].mean(1)
