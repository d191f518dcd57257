"""What lies between a built line and its loop: rows in the network's units, batches that have a variance, threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.errors import ParameterError
from isthmus.model import EncoderDecoder
from isthmus.optimizers import LBFGS
from isthmus.part import built
from isthmus.training.checkpoints import Checkpoints
from isthmus.training.loop import Loop
from isthmus.training.resident import Resident
from isthmus.training.threads import fitting_threads
from isthmus.types import Batch

__all__ = ["check_batch_size", "normalizes_over_batch_or_map", "scale_rows", "train"]

SCALED_AT_ONCE = 256
"""Rows; their float64 values should fit the processor's cache."""


def check_batch_size(model: EncoderDecoder, source: Resident) -> None:
    """Raise `ParameterError` where a normalisation would see one value a channel, which has no variance."""
    size = tuple(getattr(source, "size", source.rows.x.shape[1:-1]))  # of a patch, or of a picture
    strides = model.encoder.total_stride or (size if len(built(model.encoder).shape) == 1 else [1] * len(size))
    one_position = all(length <= stride for length, stride in zip(size, strides, strict=True))
    if source.sampler.batch_size == 1 and one_position and any(map(normalizes_over_batch_or_map, model.modules())):
        rows = f"rows of {size} positions come down to one" if size else "rows have no positions"
        given = "normalization='batch' or 'instance'"
        raise ParameterError(f"batch_size must be at least 2 for {given} where {rows}, got 1")


def normalizes_over_batch_or_map(layer: nn.Module) -> bool:
    """Whether a channel's statistics are over positions, or rows and positions, alone."""
    alone = isinstance(layer, nn.GroupNorm) and layer.num_groups == layer.num_channels
    return alone or isinstance(layer, _BatchNorm)


def train(loop: Loop, checkpoints: Checkpoints | None, seed: int, identity: Callable[[], Mapping[str, str]]) -> None:
    """Run the loop, with checkpoints where there are any, and one thread where the network is too small for two.

    Several processes begin together, once they have found that they were given the same.
    """
    rows = len(loop.source) if isinstance(loop.optimizer, LBFGS) else loop.source.sampler.batch_size
    told = {} if loop.processes.alone and checkpoints is None else identity()
    loop.processes.meet(told)
    with fitting_threads(loop.step, rows), loop.processes.contact():
        if checkpoints is None:
            loop.run()
        else:
            checkpoints.run(loop, seed, told)


@torch.no_grad()
def scale_rows(model: EncoderDecoder, rows: Batch) -> Batch:
    """The rows in the network's units, on its device: done once, so no step does it."""
    device = model.device

    def scale(values: Tensor) -> Tensor:
        size = min(SCALED_AT_ONCE, max(1, 2**20 // values[0].numel()))
        chunks = [model.scale(chunk.to(device))[0] for chunk in values.split(size)]
        return chunks[0].contiguous() if len(chunks) == 1 else torch.cat(chunks)

    x = scale(rows.x)
    y = rows.y if rows.y is None else scale(rows.y) if model.scales_target else rows.y.to(device)
    weight = None if rows.weight is None else rows.weight.to(device, model.dtype)
    x_mask, y_mask = (None if mask is None else mask.to(device) for mask in (rows.x_mask, rows.y_mask))
    condition = None if rows.condition is None else rows.condition.to(device, model.dtype)
    if x_mask is not None and x.is_floating_point():
        x = x.masked_fill(~x_mask.unsqueeze(-1), 0.0)
    return Batch(x, y, x_mask, y_mask, condition, weight)
