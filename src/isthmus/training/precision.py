"""Products in 16 bits where the processor has units for them and the network gains by it."""

from __future__ import annotations

import torch
from torch import nn

from isthmus.nn.symbols import Symbols
from isthmus.nn.transformer import MultiHeadAttention
from isthmus.optimizers import LBFGS, Optimizer

__all__ = ["fitting_precision", "has_matrix_tiles"]

CHANNELS, WIDTH = 32, 128
"""Channels of a convolution and numbers a position of a network that reads texts, from which training gains.

A U-Net of 32 to 256 trains 2.3 to 3.1 × as fast, one of 4 to 16 no faster. GRU, LSTM and Transformer of 128 train
1.1 to 1.6 × as fast, of 256 1.4 to 2.4 ×, of 64 0.9 to 1.25 ×.
"""


def fitting_precision(module: nn.Module, precision: str, optimizer: Optimizer) -> str:
    """What "auto" comes to: "bf16-mixed" on a processor with AMX, for wide convolutions and wide readers of texts.

    L-BFGS, which compares evaluations, keeps 32 bits; so do tables and series, whose errors may be smaller than the
    rounding of 16 bits.

    Shapes and the processor's flags decide, never a clock. Sums, losses, weights and what the optimiser remembers
    keep 32 bits, and so does all that a trained model computes.
    """
    if precision != "auto":
        return precision
    if isinstance(optimizer, LBFGS) or not has_matrix_tiles():
        return "32-true"
    on_cpu = all(parameter.device.type == "cpu" for parameter in module.parameters())
    return "bf16-mixed" if on_cpu and (_convolves(module) or _reads_texts(module)) else "32-true"


def _convolves(module: nn.Module) -> bool:
    kernels = [m.weight for m in module.modules() if isinstance(m, nn.modules.conv._ConvNd) and m.weight.dim() > 3]
    return any(max(kernel.shape[:2]) >= CHANNELS for kernel in kernels)


def _reads_texts(module: nn.Module) -> bool:
    layers = list(module.modules())
    widths = [m.hidden_size for m in layers if isinstance(m, nn.RNNBase)]
    widths += [m.query.out_features for m in layers if isinstance(m, MultiHeadAttention)]
    classes = any(isinstance(m, Symbols) and m.classes for m in layers)
    return classes and max(widths, default=0) >= WIDTH


def has_matrix_tiles() -> bool:
    """Whether the processor multiplies tiles of bfloat16 (AMX)."""
    asked = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return asked is not None and bool(asked())
