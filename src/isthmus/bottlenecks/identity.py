"""The neck that is none: a U-Net's, a Transformer's."""

from __future__ import annotations

from typing import ClassVar, Self

import torch

from isthmus.errors import ParameterError
from isthmus.part import Bottleneck
from isthmus.types import Features, Latent, Noise, Space

__all__ = ["Identity"]


class Identity(Bottleneck):
    """The features themselves are the code; its width is the encoder's."""

    formula: ClassVar[str] = "z = h"

    def build(self, space: Space, latent_dim: int | None = None) -> Self:
        super(Bottleneck, self).build(space)
        width = Space.of(space).shape[-1]
        if latent_dim is not None and latent_dim != width:
            raise ParameterError(
                f"identity bottleneck passes the encoder's {width} features on; "
                f"latent_dim must be 'auto' or {width}, got {latent_dim}"
            )
        return self

    def forward(self, features: Features, noise: Noise = torch.randn_like) -> Latent:
        return Latent(features.h, features.bypass, pre=features.h)
