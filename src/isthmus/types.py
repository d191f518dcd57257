"""The records that travel along the line, and the space that describes a tensor.

Everything is channels last: ``(B, D)`` a vector, ``(B, T, D)`` a sequence, ``(B, H, W, D)``
a map. B is the batch, D the width of the last axis. They are NamedTuples, so that a traced
training step sees their tensors (a dataclass would be baked into it as a constant).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Batch", "Bypass", "Features", "Latent", "Noise", "Seen", "Space", "Trace"]

Noise = Callable[[Tensor], Tensor]
"""Standard normal numbers in the shape of its argument. All randomness of a model enters by it:
``torch.randn_like`` to train, ``torch.zeros_like`` for the mean, draws shared by all rows to compare them."""


class Space(NamedTuple):
    """What a tensor of one sample looks like, before there is one.

    ``shape`` is channels last, without the batch; None is a free axis. ``classes`` is the number
    of classes of an integer tensor (None: real numbers); ``skips`` the spaces of the feature maps
    that go round the neck; ``condition`` the width of what the model is told besides x.
    """

    shape: tuple[int | None, ...]
    classes: int | None = None
    skips: tuple[Space, ...] = ()
    condition: int = 0

    @classmethod
    def of(cls, like: Space | tuple[int | None, ...] | int) -> Space:
        """Read ``Space``, a shape such as ``(28, 28, 1)``, or a width as a space."""
        if isinstance(like, Space):
            return like
        return cls((like,) if isinstance(like, int) else tuple(like))

    @property
    def size(self) -> int | None:
        """Numbers in one sample; None where an axis is free."""
        product = 1
        for length in self.shape:
            if length is None:
                return None
            product *= length
        return product

    def accepts(self, tensor: Tensor) -> bool:
        """Whether one batch of it has this shape."""
        sizes = tensor.shape[1:]
        return len(sizes) == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, sizes, strict=True)
        )


class Batch(NamedTuple):
    """What the loader gives. ``y`` None: the target is x. Masks are True where a value counts."""

    x: Tensor
    y: Tensor | None = None
    x_mask: Tensor | None = None
    y_mask: Tensor | None = None
    condition: Tensor | None = None
    weight: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The function on every field that is there."""
        return Batch(*[None if field is None else function(field) for field in self])  # type: ignore[arg-type]


class Bypass(NamedTuple):
    """All that goes round the neck: padding, visible positions, the condition, a U-Net's skips."""

    mask: Tensor | None = None
    positions: Tensor | None = None
    condition: Tensor | None = None
    skips: tuple[Tensor, ...] = ()


class Seen(NamedTuple):
    """What the encoder sees; ``hidden`` is True where a corruption masked a value."""

    x: Tensor
    bypass: Bypass = Bypass()
    hidden: Tensor | None = None


class Features(NamedTuple):
    """What an encoder gives: ``h`` is ``(B, D)`` or ``(B, *positions, D)``."""

    h: Tensor
    bypass: Bypass = Bypass()


class Latent(NamedTuple):
    """What a bottleneck gives: ``z`` is ``(B, D)`` or ``(B, *positions, D)``.

    ``kl``: KL(q(z|x) ‖ p(z)) per unit in nats, the shape of z. ``log_ratio``: log q(z|x) − log p(z)
    at the drawn z, ``(B,)``. ``pre``: before the activation. ``codes``: a quantiser's indices.
    """

    z: Tensor
    bypass: Bypass = Bypass()
    kl: Tensor | None = None
    log_ratio: Tensor | None = None
    pre: Tensor | None = None
    codes: Tensor | None = None


class Trace(NamedTuple):
    """The record of one pass; losses and penalties read it. ``target`` and ``mask`` are as the
    loss reads them: scaled, shifted where needed, repeated for several samples a row."""

    batch: Batch
    seen: Seen
    features: Features
    latent: Latent
    output: Tensor
    target: Tensor
    mask: Tensor | None = None

    @property
    def weight(self) -> Tensor | None:
        """The weight of each row of the output, which has several where a row was sampled several times."""
        weight = self.batch.weight
        return None if weight is None else weight.repeat_interleave(len(self.target) // len(weight))


def wide(values: Tensor) -> Tensor:
    """At least float32: a sum or a logarithm of 16-bit numbers would lose digits that matter."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def sum_features(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Σ over everything but the batch, ``(B,)``. A mask without the last axis covers all of it."""
    if mask is not None:
        if mask.dim() < values.dim():
            mask = mask.unsqueeze(-1)
        values = torch.where(mask, values, 0.0)
    values = wide(values)
    return values.sum(dim=tuple(range(1, values.dim()))) if values.dim() > 1 else values
