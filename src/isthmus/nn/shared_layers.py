"""Layers that look at the whole batch, or draw for it, for a batch whose rows are shared out (`isthmus.nn.share`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.nn.dropout import by_torch
from isthmus.nn.share import n_rows, reduce
from isthmus.types import wide

__all__ = ["batch_norm", "layers_of_batch", "shared_layers"]


def layers_of_batch(module: nn.Module) -> list[nn.Module]:
    """PyTorch's own batch norms and dropouts in it."""
    return [layer for layer in module.modules() if isinstance(layer, (_BatchNorm, nn.Dropout))]


@contextmanager
def shared_layers(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Within it such batch norms take the statistics of all shares, and such dropouts draw for all rows."""
    for layer in layers:
        way: Any = batch_norm if isinstance(layer, _BatchNorm) else _dropout
        layer.forward = partial(_in_training, layer, way, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _in_training(
    layer: nn.Module, shared: Callable[..., Tensor], plain: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    return shared(layer, x) if layer.training else plain(x)


def batch_norm(layer: _BatchNorm, x: Tensor) -> Tensor:
    """(x − μ)/√(σ² + ε) · γ + β with μ and σ² of each channel over the rows and positions of all shares."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    n = n_rows(x) * x[0, 0].numel()
    values = wide(x)
    mean = reduce(values.sum(axes)) / n
    centred = values - mean.view(shape)
    variance = reduce(centred.square().sum(axes)) / n
    _remember(layer, mean.detach(), variance.detach() * (n / max(n - 1, 1)))
    scale = (variance + layer.eps).rsqrt()
    if layer.weight is not None:
        scale = scale * layer.weight
    result = centred * scale.view(shape)
    if layer.bias is not None:
        result = result + layer.bias.view(shape)
    return result.to(x.dtype)


@torch.no_grad()
def _remember(layer: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics."""
    if layer.running_mean is None or layer.running_var is None or layer.num_batches_tracked is None:
        return
    layer.num_batches_tracked.add_(1)
    share = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
    layer.running_var.lerp_(variance.to(layer.running_var.dtype), share)


def _dropout(layer: nn.Dropout, x: Tensor) -> Tensor:
    return by_torch(x, layer.p)
