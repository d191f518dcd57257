"""What estimators of whole pictures share: patches to train on, tiles and symmetries to predict with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from isthmus import spec
from isthmus.checks import Check, check_parameters, choice, either, instance, integer, integers, optional
from isthmus.errors import ParameterError
from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.estimators.tiling import symmetric_mean, tiled
from isthmus.losses import DeepSupervision
from isthmus.part import Augmentation
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

    def _build(self, rows: Batch) -> Batch:
        dims = rows.x.dim() - 2 if self._layout == "rows" else 0
        for name in ("patch_size", "augmentations", "tile_size"):
            given = getattr(self, name)
            if dims == 0 and given not in (None, "auto", (), []):
                raise ParameterError(f"{name} must be left out where rows are no pictures, got {given!r}")
            if dims > 0 and name.endswith("size") and isinstance(given, (list, tuple)):
                check_lengths(name, given, dims)
        self._changes()
        scaled = super()._build(rows)
        loss, decoder = self.module_.loss, self.module_.decoder
        levels = getattr(decoder, "deep_supervision", 1)
        if isinstance(loss, DeepSupervision) and loss.levels != levels:
            raise ParameterError(
                f"loss: levels of DeepSupervision must be the decoder's deep_supervision, {levels}, got {loss.levels}"
            )
        return scaled

    def _changes(self) -> list[Augmentation]:
        return [spec.resolve("augmentation", given, "augmentations") for given in self.augmentations]

    def _source(self, rows: Batch, seed: int) -> Resident:
        changes = self._changes()
        if self.patch_size is None and not changes:
            return super()._source(rows, seed)
        return Patches(rows, self.batch_size, seed, self.patch_size, changes)

    def _any_size(self, rows: Batch) -> bool:
        return self.patch_size is not None or super()._any_size(rows)

    def _predict_rows(self, rows: Batch) -> Tensor:
        if rows.x.dim() < 3 or self._layout != "rows":
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
        check_parameters(type(self).__name__, {"tile_size": self.tile_size}, self.own)
        if None not in self.module_.space.shape or self.tile_size is None:
            return None
        dims = len(positions)
        if self.tile_size == "auto":
            if np.prod(positions) <= AT_ONCE:
                return None
            return [round((AT_ONCE / 4) ** (1 / dims) / 32) * 32] * dims
        tile = [self.tile_size] * dims if isinstance(self.tile_size, int) else list(self.tile_size)
        check_lengths("tile_size", tile, dims)
        return tile if any(n > size for n, size in zip(positions, tile, strict=True)) else None


def check_lengths(name: str, given: Sequence[int], dims: int) -> None:
    """Raise `ParameterError` where there is not one length an axis of positions."""
    if len(given) != dims:
        raise ParameterError(f"{name} must have {dims} lengths, one an axis of positions, got {given!r}")
