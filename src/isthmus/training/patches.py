"""Training on random patches of images in memory, augmented on the way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from isthmus.checks import check_parameters, integer, integers, optional
from isthmus.errors import ParameterError, ShapeError
from isthmus.nn.sampling import flat_index, gathered, interpolated, reflected
from isthmus.part import Augmentation
from isthmus.training.resident import Resident, Sampler
from isthmus.types import Batch, Space

__all__ = ["Patches"]

PLACED = ("x", "y", "x_mask", "y_mask")
"""The fields that have positions; the others go along a sample at a time."""


class Patches(Resident):
    """Batches of random patches of signals, images or volumes; x, y and masks by the same places.

    With the images laid end to end, a patch begins every so many positions as a patch has. In each
    permutation an image comes once for each patch that begins in it, so a large one comes more often,
    and an epoch, ceil(n · positions / (batch · patch positions)) steps, covers about every position once.
    A patch lies anywhere inside its image, each place as likely.

    One grid of coordinates passes through every augmentation's `place`, and then everything is read:
    exactly where the augmentations are exact; else real fields linearly between positions, whole numbers
    and masks at the nearest. Beyond the edge of an image lies its reflection.

    Parameters
    ----------
    rows : Batch
        In scaled units: x ``(n, *positions, C)``; y of classes ``(n, *positions)`` or real ``(n, *positions,
        K)``; masks ``(n, *positions)``. Images of several sizes are padded at the end of each axis, where
        x_mask is False. An image smaller than the patch is padded to its size here, with masks. Where
        x_mask is False x is 0, and y does not count unless it has a mask of its own.
    batch_size : int
        Patches; at most an epoch's are taken.
    seed : int
        Of order, places and augmentations. They share the sampler's generator, so that a run which is
        resumed sees the patches it would have seen.
    size : int or sequence of int, optional
        Of a patch along each axis; None takes images whole.
    augmentations : sequence of Augmentation
        Built here, applied in this order.
    """

    by_number = False

    def __init__(
        self,
        rows: Batch,
        batch_size: int,
        seed: int,
        size: int | Sequence[int] | None = None,
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        _check_positions(rows)
        self.size = _patch_size(size, rows.x.shape[1:-1])
        super().__init__(_padded(rows, self.size), batch_size, seed)
        device, patch = rows.x.device, torch.tensor(self.size)
        self.extent = _extent(rows)  # (n, dims), without padding
        self.canvas = self.extent.maximum(patch)  # with as much of it as a patch needs
        ends = self.canvas.prod(1).cumsum(0)  # of the images, end to end
        starts = torch.arange(0, int(ends[-1]), int(patch.prod()))  # of the patches
        self.image_of = torch.searchsorted(ends, starts, right=True)
        self.sampler = Sampler(len(starts), batch_size, seed)

        space = Space((*self.size, rows.x.shape[-1]))
        self.augmentations = [augmentation.build(space) for augmentation in augmentations]
        self.exact = all(augmentation.exact for augmentation in augmentations)
        n_positions = self.rows.x[..., 0].numel()
        self.index_dtype = torch.int32 if n_positions < 2**31 else torch.int64  # narrow ones take half the time
        dtype = self.index_dtype if self.exact else torch.float32
        axes = [torch.arange(length, dtype=dtype, device=device) for length in self.size]
        self.grid = torch.stack(torch.meshgrid(axes, indexing="ij")).movedim(0, -1)  # an axis in one piece
        self.last_but_one = torch.tensor(self.rows.x.shape[1:-1], dtype=self.index_dtype, device=device).sub(2).clamp(0)

    def next(self) -> Batch:
        """The next training batch: x ``(batch, *size, C)``, the other fields to match."""
        generator = self.sampler.generator
        image = self.image_of[self.sampler.next()]
        room = self.canvas[image] - torch.tensor(self.size) + 1
        corner = (room * torch.rand(room.shape, generator=generator, dtype=torch.float64)).long()
        coordinates = self.grid.expand(len(image), *self.grid.shape)
        for augmentation in self.augmentations:
            coordinates = augmentation.place(coordinates, generator)
        batch = self._read(image, corner, coordinates)
        x = batch.x
        for augmentation in self.augmentations:
            x = augmentation.shade(x, generator)
        return batch._replace(x=_hidden(x, batch.x_mask))

    def slice(self, start: int, stop: int) -> Batch:
        """The patch at the first corner of each of the images start … stop − 1, as it is."""
        return self._first_corners(torch.arange(start, min(stop, len(self))))

    def first(self) -> Batch:
        """As many patches as a training batch, at images' first corners, without moving the sampler."""
        return self._first_corners(torch.arange(self.sampler.batch_size) % len(self))

    def _first_corners(self, image: Tensor) -> Batch:
        image, box = image.to(self.rows.x.device), (slice(None), *map(slice, self.size))
        batch = self._map(lambda field: field[box][image], lambda field: field[image])
        return batch._replace(x=_hidden(batch.x, batch.x_mask))

    def _read(self, image: Tensor, corner: Tensor, coordinates: Tensor) -> Batch:
        """Patches of images ``(B,)`` with corners ``(B, dims)``, at coordinates ``(B, *size, dims)`` of the patch."""
        n_axes, lengths, device = len(self.size), self.rows.x.shape[1:-1], coordinates.device
        ones = [1] * n_axes

        def along(ends: Tensor, dtype: torch.dtype) -> Tensor:
            return ends.to(device, dtype).view(-1, *ones, n_axes)

        start = (image * lengths.numel()).to(device, self.index_dtype).view(-1, *ones)
        if self.exact:
            nearest = start + flat_index(coordinates + along(corner, coordinates.dtype), lengths)
        else:
            at = reflected(coordinates + along(corner, torch.float32), along(self.canvas[image] - 1, torch.float32))
            nearest = start + flat_index(at.round().to(self.index_dtype), lengths)
            at = at.minimum(along(self.extent[image] - 1, torch.float32))
            low = at.to(self.index_dtype).minimum(self.last_but_one)
            below, fraction = start + flat_index(low, lengths), at - low

        def placed(field: Tensor) -> Tensor:
            stack = field.flatten(0, n_axes)
            if self.exact or not field.is_floating_point():
                return gathered(stack, nearest)
            return interpolated(stack, below, fraction, lengths)

        return self._map(placed, lambda field: field.index_select(0, image.to(device)))

    def _map(self, placed: Callable[[Tensor], Tensor], whole: Callable[[Tensor], Tensor]) -> Batch:
        """One function for the fields with positions, another for those without."""
        fields = {name: field for name, field in self.rows._asdict().items() if field is not None}
        return Batch(**{name: (placed if name in PLACED else whole)(field) for name, field in fields.items()})


def _check_positions(rows: Batch) -> None:
    positions = rows.x.shape[1:-1]
    if not positions:
        raise ShapeError(f"Patches: x must have positions, (n, *positions, C), got {tuple(rows.x.shape)}")
    for name in PLACED[1:]:
        field = getattr(rows, name)
        if field is not None and field.shape[1 : 1 + len(positions)] != positions:
            raise ShapeError(
                f"Patches: {name} must have the positions of x, {tuple(positions)}, got {tuple(field.shape)}"
            )


def _patch_size(size: int | Sequence[int] | None, positions: Sequence[int]) -> tuple[int, ...]:
    check_parameters("Patches", {"size": size}, {"size": optional(integer(1), integers(1))})
    wanted = positions if size is None else [size] * len(positions) if isinstance(size, int) else size
    if len(wanted) != len(positions):
        raise ParameterError(
            f"Patches: size must have {len(positions)} lengths, one an axis of positions, got {size!r}"
        )
    return tuple(wanted)


def _extent(rows: Batch) -> Tensor:
    """The length of each image along each axis, ``(n, dims)``: as far as x_mask is True somewhere."""
    n, *positions = rows.x.shape[:-1]
    if rows.x_mask is None:
        return torch.tensor(positions).expand(n, -1)
    lengths = []
    for axis, length in enumerate(positions, start=1):
        used = rows.x_mask.movedim(axis, 1).reshape(n, length, -1).any(2)
        lengths.append((used * torch.arange(1, length + 1, device=used.device)).amax(1).clamp(min=1))
    return torch.stack(lengths, 1).cpu()


def _padded(rows: Batch, size: tuple[int, ...]) -> Batch:
    """The fields in one piece of memory each; padded at the end of axes shorter than the patch, with masks."""
    positions = tuple(rows.x.shape[1:-1])
    canvas = tuple(map(max, positions, size))
    if canvas != positions and rows.x_mask is None:
        rows = rows._replace(x_mask=rows.x.new_ones(rows.x.shape[:-1], dtype=torch.bool))
    if rows.y is not None and rows.y_mask is None:
        rows = rows._replace(y_mask=rows.x_mask)
    if canvas == positions:
        return rows.map(torch.Tensor.contiguous)
    inside = (slice(None), *map(slice, positions))

    def padded(field: Tensor) -> Tensor:
        whole = field.new_zeros(len(field), *canvas, *field.shape[1 + len(positions) :])
        whole[inside] = field
        return whole

    fields = rows._asdict()
    return rows._replace(**{name: padded(fields[name]) for name in PLACED if fields[name] is not None})


def _hidden(x: Tensor, mask: Tensor | None) -> Tensor:
    """x with 0 where the mask is False."""
    return x if mask is None else x.masked_fill(~mask.unsqueeze(-1), 0.0)
