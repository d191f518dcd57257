"""Overlap with a price for each kind of error."""

from __future__ import annotations

from typing import ClassVar, Self

from torch import Tensor

from isthmus.checks import number
from isthmus.nn.labels import LABEL_PARAMETERS, logits_of, memberships, probabilities, require_classes
from isthmus.part import Loss, built
from isthmus.types import Space

__all__ = ["Tversky"]


class Tversky(Loss):
    """1 − the mean over classes of (TP + s) / (TP + α FP + β FN + s) per sample, between 0 and 1.

    TP = Σᵢ pᵢ tᵢ, FP = Σᵢ pᵢ (1 − tᵢ) and FN = Σᵢ (1 − pᵢ) tᵢ over the sample's positions, p and t as in
    `Dice`, which it is for α = β = ½ and half its s (Salehi et al. 2017, who have two classes and the
    index of one). α + β = 1 keeps the scale of Dice; β > α finds more of a small region.

    Parameters
    ----------
    alpha : float
        α, the price of a false positive.
    beta : float
        β, the price of a false negative.
    smoothing : float
        s: keeps a class without positions from 0/0.
    include_background : bool
        False leaves out class 0.
    ignore_label : int, optional
        A label of positions that do not count, among the classes or outside (255, −100).
    """

    formula: ClassVar[str] = "1 − meanₖ (TPₖ + s) / (TPₖ + α FPₖ + β FNₖ + s)"
    bounds: ClassVar = (0.0, 1.0)
    allowed: ClassVar = {**LABEL_PARAMETERS, "alpha": number(0), "beta": number(0)}

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        smoothing: float = 1.0,
        include_background: bool = True,
        ignore_label: int | None = None,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.smoothing = smoothing
        self.include_background = include_background
        self.ignore_label = ignore_label

    def build(self, space: Space) -> Self:
        super().build(space)
        if self.ignore_label is not None or not self.include_background:
            require_classes("tversky with ignore_label or without background", built(self))
        return self

    def output_shape(self, target: Space) -> Space:
        return logits_of(target)

    def mean(self, output: Tensor) -> Tensor:
        """p of every class or channel."""
        return probabilities(output, built(self).classes)

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        p, t = memberships(output, target, mask, self.ignore_label)  # (B, N, K)
        right, extra, missed = ((a * b).sum(1) for a, b in ((p, t), (p, 1 - t), (1 - p, t)))
        wrong = self.alpha * extra + self.beta * missed
        index = (right + self.smoothing) / (right + wrong + self.smoothing)  # (B, K)
        return 1 - index[:, 0 if self.include_background else 1 :].mean(1)
