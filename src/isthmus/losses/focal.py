"""Cross-entropy that looks away from what is known already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.checks import number
from isthmus.nn.labels import (
    LABEL_PARAMETERS,
    class_weights,
    known,
    logits_of,
    negative_log,
    probabilities,
    require_classes,
    total,
)
from isthmus.part import Loss, built
from isthmus.types import Space, wide

__all__ = ["Focal"]


class Focal(Loss):
    """−Σᵢ αᵢ (1 − pᵢ)^γ log pᵢ per sample, pᵢ the probability of what is true at position i (Lin et al. 2017).

    For a target of classes p is a softmax, and γ = 0 is `CrossEntropy`; for a multi-label target, zeros
    and ones, each channel has a sigmoid of its own, as in the paper, and γ = 0 is `BinaryCrossEntropy`.
    They divide by the number of objects; here it is a sum, or a mean by ``per``. It is no likelihood.

    Parameters
    ----------
    gamma : float
        γ; the higher, the less a position weighs that is right already.
    class_weight : sequence of float, optional
        αᵢ by the position's class, one number a class. In a multi-label target it weighs a channel's ones
        and its zeros weigh 1; theirs, α and 1 − α, is α / (1 − α) here up to a factor.
    ignore_label : int, optional
        A label of positions that do not count, among the classes or outside (255, −100).
    per : {"sample", "position"}
        "position" divides by how many positions count (times channels, for a multi-label target).
    """

    formula: ClassVar[str] = "−Σᵢ αᵢ (1 − pᵢ)^γ log pᵢ"
    bounds: ClassVar = (0.0, 1.0)
    weight: Tensor | None
    allowed: ClassVar = {**LABEL_PARAMETERS, "gamma": number(0)}

    def __init__(
        self,
        gamma: float = 2.0,
        class_weight: Sequence[float] | None = None,
        ignore_label: int | None = None,
        per: str = "sample",
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.class_weight = class_weight
        self.ignore_label = ignore_label
        self.per = per
        self.register_buffer("weight", None, persistent=False)

    def build(self, space: Space) -> Self:
        super().build(space)
        if self.ignore_label is not None:
            require_classes("focal with ignore_label", built(self))
        self.weight = class_weights("focal", self.class_weight, built(self))
        return self

    def output_shape(self, target: Space) -> Space:
        return logits_of(target)

    def mean(self, output: Tensor) -> Tensor:
        """p of every class or channel."""
        return probabilities(output, built(self).classes)

    def _alpha(self, target: Tensor, dtype: torch.dtype) -> Tensor | float:
        if self.class_weight is None:
            return 1.0
        built(self)
        weight = self.weight.to(dtype)  # type: ignore[union-attr]
        return 1 + target * (weight - 1) if target.is_floating_point() else weight[target]

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        if target.is_floating_point():
            target = wide(target)
            surprise = F.binary_cross_entropy_with_logits(wide(output), target, reduction="none")  # −log p
        else:
            target, mask = known(target, mask, self.ignore_label)
            surprise = negative_log(output, target)
        doubt = -(-surprise).expm1()  # 1 − p
        doubt = doubt.clamp(min=torch.finfo(doubt.dtype).tiny)  # at 0 a power γ < 1 has an infinite slope
        return total(self._alpha(target, doubt.dtype) * doubt**self.gamma * surprise, mask, self.per)
