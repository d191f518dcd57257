"""The likelihood of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from isthmus.checks import number
from isthmus.nn.labels import LABEL_PARAMETERS, class_weights, known, logits_of, negative_log, require_classes, total
from isthmus.part import Loss, built
from isthmus.types import Noise, Space

__all__ = ["CrossEntropy"]


class CrossEntropy(Loss):
    """−Σᵢ w(yᵢ) log pᵢ(yᵢ) per sample, in nats; the output holds K logits a position, p is their softmax.

    The target holds classes 0 … K − 1 at its positions i, or one class a sample. As it stands it is a
    likelihood. It is none with weights, smoothing or ``per="position"``, for which exp(−loss) is no
    probability: then there is no ELBO.

    Parameters
    ----------
    class_weight : sequence of float, optional
        w, one a class. The sum is not divided by Σᵢ w(yᵢ), as PyTorch's mean is, so that a class weighs
        the same in a sample that holds no other.
    ignore_label : int, optional
        A label of positions that do not count, among the classes or outside (255, −100).
    label_smoothing : float
        ε: log p(y) becomes (1 − ε) log p(y) + ε/K Σₖ log p(k) (Szegedy et al. 2016), each log p weighted
        by its own class.
    per : {"sample", "position"}
        "position" divides by the number of positions that count, to stand beside a loss such as `Dice`.
    """

    formula: ClassVar[str] = "−Σᵢ w(yᵢ) log pᵢ(yᵢ),  p = softmax(output)"
    weight: Tensor | None
    allowed: ClassVar = {**LABEL_PARAMETERS, "label_smoothing": number(0, 1, open_high=True)}

    def __init__(
        self,
        class_weight: Sequence[float] | None = None,
        ignore_label: int | None = None,
        label_smoothing: float = 0.0,
        per: str = "sample",
    ) -> None:
        super().__init__()
        self.class_weight = class_weight
        self.ignore_label = ignore_label
        self.label_smoothing = label_smoothing
        self.per = per
        self.register_buffer("weight", None, persistent=False)

    @property
    def is_likelihood(self) -> bool:  # type: ignore[override]
        """Whether exp(−loss) is a probability of the target."""
        return self.class_weight is None and self.label_smoothing == 0 and self.per == "sample"

    def build(self, space: Space) -> Self:
        super().build(space)
        require_classes("cross_entropy", built(self))
        self.weight = class_weights("cross_entropy", self.class_weight, built(self))
        return self

    def output_shape(self, target: Space) -> Space:
        return logits_of(target)

    def mean(self, output: Tensor) -> Tensor:
        """p of every class, ``(B, *positions, K)``."""
        return output.softmax(-1)

    def sample(self, output: Tensor, noise: Noise = torch.randn_like) -> Tensor:
        """Labels drawn by the Gumbel-max trick: argmaxₖ [oₖ − log(−log Φ(εₖ))], ε the noise."""
        return (output - (-torch.special.log_ndtr(noise(output))).log()).argmax(-1)

    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.class_weight is not None:
            built(self)
        labels, mask = known(target, mask, self.ignore_label)
        return total(negative_log(output, labels, self.weight, self.label_smoothing), mask, self.per)
