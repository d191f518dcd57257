"""Several losses of one output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from isthmus.checks import instance, number, optional, sequence
from isthmus.errors import ParameterError, ShapeError
from isthmus.losses.cross_entropy import CrossEntropy
from isthmus.losses.dice import Dice
from isthmus.part import Loss
from isthmus.types import Noise, Space

__all__ = ["SumLoss"]


class SumLoss(Loss):
    """Σⱼ wⱼ lossⱼ per sample, of losses that read the same output; prediction and draw are the first one's.

    Mind the scales: Dice lies between 0 and 1, and cross-entropy summed over the positions of an image is
    thousands of nats, beside which Dice would be nothing. ``CrossEntropy(per="position")`` and
    ``Focal(per="position")`` are means over positions and of Dice's size. A sum claims no likelihood.

    Parameters
    ----------
    losses : sequence of Loss, optional
        None is cross-entropy a position with Dice, the pair of Isensee et al. (2021).
    weights : sequence of float, optional
        w, one a loss; None is 1 each.
    """

    formula: ClassVar[str] = "Σⱼ wⱼ lossⱼ"
    allowed: ClassVar = {
        "losses": optional(
            sequence(instance(Loss, "a loss"), "a sequence of losses, such as [Dice(), Focal()]", least=1)
        ),
        "weights": optional(sequence(number(0), "a sequence of numbers in [0, inf), one a loss")),
    }

    def __init__(self, losses: Sequence[Loss] | None = None, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.losses = losses
        self.weights = weights

    def _terms(self) -> list[Loss]:
        """As built; before that as given."""
        if self.out is not None:
            return list(self.terms)  # type: ignore[arg-type]
        return [CrossEntropy(per="position"), Dice()] if self.losses is None else list(self.losses)

    @property
    def bounds(self) -> tuple[float, float] | None:  # type: ignore[override]
        """What all of them allow."""
        known = [loss.bounds for loss in self._terms() if loss.bounds is not None]
        return (max(low for low, _ in known), min(high for _, high in known)) if known else None

    @property
    def whole(self) -> bool:  # type: ignore[override]
        """Whether one of them asks for whole numbers."""
        return any(loss.whole for loss in self._terms())

    def check(self) -> None:
        super().check()
        terms = self._terms()
        if self.weights is not None and len(self.weights) != len(terms):
            raise ParameterError(f"SumLoss: weights must have {len(terms)} numbers, one a loss, got {self.weights!r}")
        for loss in terms:
            loss.check()

    def build(self, space: Space) -> Self:
        self.out = None
        self.check()
        self.terms = nn.ModuleList(loss.build(space) for loss in self._terms())
        return super().build(space)

    def output_shape(self, target: Space) -> Space:
        spaces = [loss.output_shape(target) for loss in self._terms()]
        if len(set(spaces)) > 1:
            names = [loss.part_name() for loss in self._terms()]
            raise ShapeError(f"sum: its losses read outputs of different shapes: {names} {[s.shape for s in spaces]}")
        return spaces[0]

    def mean(self, output: Tensor) -> Tensor:
        return self._terms()[0].mean(output)

    def sample(self, output: Tensor, noise: Noise = torch.randn_like) -> Tensor:
        return self._terms()[0].sample(output, noise)

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        weights = self.weights or [1.0] * len(self._terms())
        values = [w * loss(output, target, mask) for w, loss in zip(weights, self._terms(), strict=True)]
        return torch.stack(values).sum(0)  # (J, B) → (B,)
