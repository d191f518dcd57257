"""The deterministic neck of every classic autoencoder."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import nn

from isthmus.checks import choice, optional
from isthmus.errors import ShapeError
from isthmus.nn.mlp import ACTIVATIONS, activation_of
from isthmus.part import Bottleneck, built
from isthmus.types import Features, Latent, Noise, Space

__all__ = ["Dense"]


class Dense(Bottleneck):
    """One linear map to the code, activated if asked: z = a(W h + b).

    Parameters
    ----------
    activation : {None, "sigmoid", "relu", ...}
        None is linear. KL sparsity needs "sigmoid" (activations in (0, 1)).
    """

    formula: ClassVar[str] = "z = a(W h + b)"
    allowed: ClassVar = {"activation": optional(choice(ACTIVATIONS))}

    def __init__(self, activation: str | None = None) -> None:
        super().__init__()
        self.activation = activation

    def build(self, space: Space, latent_dim: int | None = None) -> Self:
        super(Bottleneck, self).build(space)
        space = Space.of(space)
        width = space.shape[-1]
        if width is None:
            raise ShapeError(f"dense bottleneck needs a known width of the last axis, got {space.shape}")
        self.linear = nn.Linear(width, latent_dim or width)
        self.activate = activation_of(self.activation)
        self.out = space._replace(shape=(*space.shape[:-1], latent_dim or width))
        return self

    def forward(self, features: Features, noise: Noise = torch.randn_like) -> Latent:
        built(self)
        pre = self.linear(features.h)  # (B, *positions, D)
        return Latent(self.activate(pre), features.bypass, pre=pre)
