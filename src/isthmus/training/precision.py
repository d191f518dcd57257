"""Products in 16 bits where the processor has units for them and the network gains by it."""

from __future__ import annotations

import torch
from torch import nn

from isthmus.optimizers import LBFGS, Optimizer

__all__ = ["fitting_precision", "has_matrix_tiles"]

WIDE = 32
"""Channels from which convolutions gain: a U-Net of 32 to 256 trains 2.3 to 3.1 × as fast, one of 4 to 16 no faster."""


def fitting_precision(module: nn.Module, precision: str, optimizer: Optimizer) -> str:
    """What "auto" comes to: "bf16-mixed" for convolutions of 32 channels or more on a processor with AMX.

    L-BFGS, which compares evaluations, keeps 32 bits.

    Shapes and the processor's flags decide, never a clock. Sums, losses, weights and what the optimiser remembers
    keep 32 bits, and so does all that a trained model computes.
    """
    if precision != "auto":
        return precision
    if isinstance(optimizer, LBFGS):
        return "32-true"
    kernels = [m.weight for m in module.modules() if isinstance(m, nn.modules.conv._ConvNd) and m.weight.dim() > 3]
    gains = any(max(kernel.shape[:2]) >= WIDE and kernel.device.type == "cpu" for kernel in kernels)
    return "bf16-mixed" if gains and has_matrix_tiles() else "32-true"


def has_matrix_tiles() -> bool:
    """Whether the processor multiplies tiles of bfloat16 (AMX)."""
    asked = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return asked is not None and bool(asked())
