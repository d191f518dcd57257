"""Labels and what a network says of them: classes that exclude one another, or several at once.

Labels of classes are integers ``(B, *positions)`` beside logits ``(B, *positions, K)``, read by a
softmax. A multi-label target is real, zeros and ones in the shape of its logits ``(B, *positions, C)``,
each channel read by a sigmoid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.checks import Check, choice, integer, number, optional, sequence
from isthmus.errors import ShapeError
from isthmus.types import Space, sum_features, wide

__all__ = [
    "LABEL_PARAMETERS",
    "class_weights",
    "known",
    "logits_of",
    "memberships",
    "negative_log",
    "probabilities",
    "require_classes",
    "total",
]

LABEL_PARAMETERS: Mapping[str, Check] = {
    "class_weight": optional(sequence(number(0), "a sequence of numbers in [0, inf), one a class")),
    "ignore_label": optional(integer()),
    "include_background": choice([True, False]),
    "per": choice(["sample", "position"]),
    "smoothing": number(0, open_low=True),
}
"""What the losses of labels allow."""

# ---------------------------------------------------------------------- before there are tensors


def logits_of(target: Space) -> Space:
    """The space of the logits: one more axis for the classes, where the target has any."""
    return Space(target.shape if target.classes is None else (*target.shape, target.classes))


def require_classes(what: str, target: Space) -> None:
    """Raise `ShapeError` where the target holds real numbers."""
    if target.classes is None:
        raise ShapeError(f"{what} needs a target of classes, Space(shape, classes=K), got real ones of {target.shape}")


def class_weights(loss: str, weights: Sequence[float] | None, target: Space) -> Tensor | None:
    """One weight a class (a channel of a multi-label target), in float64."""
    width = logits_of(target).shape[-1]
    if weights is None:
        return None
    if len(weights) != width:
        raise ShapeError(f"{loss}: class_weight must have {width} numbers, one a class, got {len(weights)}")
    return torch.tensor(weights, dtype=torch.float64)


# ---------------------------------------------------------------------- one number a position


def known(labels: Tensor, mask: Tensor | None, ignore_label: int | None) -> tuple[Tensor, Tensor | None]:
    """Labels with 0 where they do not count, since any number may stand there; and where they count."""
    labels = labels.long()
    if ignore_label is not None:
        counts = labels != ignore_label
        mask = counts if mask is None else counts & mask
    return (labels if mask is None else torch.where(mask, labels, 0)), mask


def negative_log(output: Tensor, labels: Tensor, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """−log p(label) at every position, in nats and in the shape of the labels; PyTorch's weights and smoothing."""
    logits = wide(output).flatten(0, -2)  # (N, K)
    weight = None if weight is None else weight.to(logits.dtype)
    values = F.cross_entropy(logits, labels.flatten(), weight, reduction="none", label_smoothing=smoothing)
    return values.view(labels.shape)


def total(values: Tensor, mask: Tensor | None, per: str) -> Tensor:
    """Σ over what the mask leaves, ``(B,)``; ``per="position"`` divides by how many numbers those are."""
    summed = sum_features(values, mask)
    return summed if per == "sample" else summed / sum_features(torch.ones_like(values), mask).clamp(min=1)


# ---------------------------------------------------------------------- one number a class


def probabilities(output: Tensor, classes: int | None) -> Tensor:
    """p of each class, by a softmax; of each channel by its own sigmoid where there are no classes."""
    return output.sigmoid() if classes is None else output.softmax(-1)


def memberships(
    output: Tensor, target: Tensor, mask: Tensor | None = None, ignore_label: int | None = None
) -> tuple[Tensor, Tensor]:
    """p and t of each class at each position, ``(B, N, K)``; both are 0 where a position does not count."""
    width = output.shape[-1]
    if target.is_floating_point():
        p, t = probabilities(wide(output), None), wide(target)
    else:
        labels, mask = known(target, mask, ignore_label)
        p = probabilities(wide(output), width)
        t = (labels.unsqueeze(-1) == torch.arange(width, device=target.device)).to(p.dtype)
    if mask is not None:
        mask = mask.unsqueeze(-1) if mask.dim() < p.dim() else mask
        p, t = torch.where(mask, p, 0.0), torch.where(mask, t, 0.0)
    return p.reshape(len(p), -1, width), t.reshape(len(t), -1, width)
