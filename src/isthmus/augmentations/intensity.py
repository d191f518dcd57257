"""Random brightness, contrast and gamma."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.checks import number
from isthmus.part import Augmentation

__all__ = ["Intensity"]


class Intensity(Augmentation):
    """x ← a xᵍ + b with one draw of a, b and g a sample; the target stays as it is.

    xᵍ is l + (h − l) ((x − l) / (h − l))ᵍ, where l and h are the lowest and highest value of a channel in
    the sample, so that it keeps its range. As in nnU-Net (Isensee et al. 2021), with uniform draws and in
    one step. Where the target is an image in the units of x (denoising pairs), this pulls the two apart.

    Parameters
    ----------
    gain : float
        a is uniform in [1 − gain, 1 + gain]; in [0, 1].
    shift : float
        b is uniform in [−shift, shift], in scaled units.
    gamma : float
        log g is uniform in ±log(1 + gamma), so that g and 1/g are as likely; 0 leaves it out.
    """

    formula: ClassVar[str] = "x ← a (l + (h − l) ((x − l) / (h − l))ᵍ) + b;  l, h the sample's extremes"
    allowed: ClassVar = {"gain": number(0, 1), "shift": number(0), "gamma": number(0)}

    def __init__(self, gain: float = 0.1, shift: float = 0.1, gamma: float = 0.0) -> None:
        super().__init__()
        self.gain = gain
        self.shift = shift
        self.gamma = gamma

    def shade(self, x: Tensor, generator: torch.Generator) -> Tensor:
        drawn = 2 * torch.rand(3, len(x), *[1] * (x.dim() - 1), generator=generator) - 1  # uniform in [−1, 1)
        gain, shift, power = drawn.to(x)
        if self.gamma:
            positions = tuple(range(1, x.dim() - 1))
            low, high = x.amin(positions, keepdim=True), x.amax(positions, keepdim=True)
            span = (high - low).clamp(min=torch.finfo(x.dtype).tiny)
            x = low + span * ((x - low) / span) ** (1 + self.gamma) ** power
        return torch.addcmul(self.shift * shift, x, 1 + self.gain * gain)
