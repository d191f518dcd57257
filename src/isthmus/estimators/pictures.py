"""What estimators of whole pictures share: patches to train on, tiles and symmetries to predict with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from isthmus import spec
from isthmus.checks import Check, choice, either, instance, integer, integers, optional
from isthmus.errors import ParameterError
from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.estimators.tiling import symmetric_mean, tiled
from isthmus.training.patches import Patches
from isthmus.training.resident import Resident
from isthmus.types import Batch

__all__ = ["PictureEstimator"]

AT_ONCE = 1024 * 1024
"""Positions that are predicted whole with tile_size="auto"; larger pictures are tiled."""


@dataclass(eq=False, repr=False)
class PictureEstimator(EncoderDecoderEstimator):
    """An estimator whose rows may be pictures: signals, images or volumes of any size.

    Parameters
    ----------
    patch_size : int, sequence of int or None
        Train on random patches of this size (along each axis); None takes whole pictures. An epoch covers
        about every position once.
    augmentations : sequence of str or Augmentation
        Random changes of each training patch, of its target with it: "flip", "quarter_turn", ...
    tile_size : int, sequence of int, "auto" or None
        Predict a larger picture in overlapping tiles of this size, blended, so that memory is bounded by
        the tile. "auto" tiles pictures of more than 2²⁰ positions; None never does. Tiles give the whole
        picture's prediction, up to rounding, where the network reads no further than 3/32 of the tile. Not exact
        are statistics over the whole map, which a tile sees a part of: normalization "group" or "instance",
        attention; nor is `test_time_augmentation` where a network has strides.
    test_time_augmentation : bool
        Predict the mean over mirror images and quarter turns: about eight times the work, a little better.
    """

    patch_size: Any = None
    augmentations: Sequence[Any] = ()
    tile_size: Any = "auto"
    test_time_augmentation: bool = False

    own: ClassVar[dict[str, Check]] = {
        "patch_size": optional(integer(1), integers(1)),
        "augmentations": instance((list, tuple), "a list of augmentations, such as ['flip', 'quarter_turn']"),
        "tile_size": optional(either(choice(["auto"]), integer(8), integers(8))),
        "test_time_augmentation": instance(bool, "True or False"),
    }
    allowed: ClassVar[dict[str, Check]] = EncoderDecoderEstimator.allowed | own

    def _source(self, rows: Batch, seed: int) -> Resident:
        changes = [spec.resolve("augmentation", given, "augmentations") for given in self.augmentations]
        if self.patch_size is None and not changes:
            return super()._source(rows, seed)
        if rows.x.dim() < 3:
            given = "patch_size" if self.patch_size is not None else "augmentations"
            raise ParameterError(f"{given} must be left out for rows without positions, got X of shape {rows.x.shape}")
        return Patches(rows, self.batch_size, seed, self.patch_size, changes)

    def _any_size(self, rows: Batch) -> bool:
        return self.patch_size is not None or super()._any_size(rows)

    def _predict_rows(self, rows: Batch) -> Tensor:
        if rows.x.dim() < 3:
            return super()._predict_rows(rows)

        def predict(x: Tensor) -> Tensor:
            return super(PictureEstimator, self)._predict_rows(Batch(x))

        def whole(x: Tensor) -> Tensor:
            return symmetric_mean(predict, x) if self.test_time_augmentation else predict(x)

        tile = self._tile(rows.x.shape[1:-1])
        if tile is None:
            return whole(rows.x)
        return tiled(whole, rows.x, tile, [max(1, size // 4) for size in tile], self.module_.encoder.total_stride)

    def _tile(self, positions: Sequence[int]) -> list[int] | None:
        """The size of a tile; None predicts the picture whole."""
        if None not in self.module_.space.shape or self.tile_size is None:
            return None
        dims = len(positions)
        if self.tile_size == "auto":
            if np.prod(positions) <= AT_ONCE:
                return None
            return [round((AT_ONCE / 4) ** (1 / dims) / 32) * 32] * dims
        tile = [self.tile_size] * dims if isinstance(self.tile_size, int) else list(self.tile_size)
        if len(tile) != dims:
            raise ParameterError(f"tile_size must have {dims} lengths, one an axis of positions, got {self.tile_size}")
        return tile if any(n > size for n, size in zip(positions, tile, strict=True)) else None
