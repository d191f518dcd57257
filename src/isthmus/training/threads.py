"""One thread where a second would only wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

__all__ = ["fitting_threads", "is_small", "threads"]

SMALL = 256 * 64 * 64
"""Multiply-adds of one product: 64 × 64 weights at batch 256. At half of that one thread is 1.2 × as fast as two."""


def is_small(module: nn.Module, batch_size: int) -> bool:
    """Whether the largest product of a batch with a weight matrix is below `SMALL` multiply-adds.

    Shapes alone decide, never a clock: the number of threads can change bits. Kernels of more than
    two axes count as large, since they are applied at many positions.
    """
    weights = [parameter for parameter in module.parameters() if parameter.dim() > 1]
    flat = all(weight.dim() == 2 and weight.device.type == "cpu" for weight in weights)
    return flat and batch_size * max((weight.numel() for weight in weights), default=0) < SMALL


@contextmanager
def threads(number: int) -> Iterator[None]:
    """So many threads; restored at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fitting_threads(module: nn.Module, batch_size: int) -> AbstractContextManager[None]:
    """One thread for a small network, the process's own number for any other."""
    return threads(1 if is_small(module, batch_size) else torch.get_num_threads())
