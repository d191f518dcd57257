"""Hidden patches of a picture."""

from __future__ import annotations

from typing import ClassVar, Self

import torch

from isthmus.checks import instance, integer, number
from isthmus.errors import ShapeError
from isthmus.nn.patches import grid_of, spread
from isthmus.part import Corruption, built
from isthmus.types import Noise, Seen, Space

__all__ = ["PatchMasking"]


class PatchMasking(Corruption):
    """Hides a share p of the patches of signals, images or volumes: the masked autoencoder (He et al. 2022).

    Hidden positions are 0. A `ViTEncoder` of the same ``patch_size`` does not read them at all; other encoders see
    the zeros (Pathak et al. 2016). Of N patches always round((1 − p) N) are visible, at least one.

    Parameters
    ----------
    p : float
        Share in [0, 1).
    patch_size : int
        Along each axis.
    hidden_only : bool
        The loss counts the hidden positions alone, as in the paper.
    """

    formula: ClassVar[str] = "x̃ = 0 in a share p of the patches"
    allowed: ClassVar = {
        "p": number(0, 1, open_high=True),
        "patch_size": integer(1),
        "hidden_only": instance(bool, "True or False"),
    }

    def __init__(self, p: float = 0.75, patch_size: int = 4, hidden_only: bool = True) -> None:
        super().__init__()
        self.p = p
        self.patch_size = patch_size
        self.hidden_only = hidden_only

    def build(self, space: Space) -> Self:
        super().build(space)
        if built(self).classes is not None or len(built(self).shape) < 2:
            raise ShapeError(f"patch_masking needs pictures, (*positions, C), got {tuple(built(self).shape)}")
        return self

    def forward(self, seen: Seen, noise: Noise = torch.randn_like) -> Seen:
        positions = seen.x.shape[1:-1]
        n = 1
        for count in grid_of(positions, self.patch_size):
            n *= count
        n_visible = max(1, round((1 - self.p) * n))
        order = noise(seen.x.new_empty(len(seen.x), n)).argsort(1)
        visible = order[:, :n_visible].sort(1).values
        of_patches = torch.ones_like(order).scatter(1, visible, 0)
        hidden = spread(of_patches, positions, self.patch_size) > 0
        x = torch.where(hidden.unsqueeze(-1), 0.0, seen.x).to(seen.x.dtype)
        return Seen(x, seen.bypass._replace(positions=visible), hidden)
