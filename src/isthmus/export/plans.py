"""What is to be written: a graph, some rows to try it on, and the model's own answer to them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.errors import DataError
from isthmus.export.recurrent import in_one_node
from isthmus.types import Space

__all__ = [
    "CHECKED",
    "LENGTH",
    "TRACED",
    "Answer",
    "Inputs",
    "Plan",
    "drawn_rows",
    "outer",
    "shorter",
    "traced",
    "twin",
]

CHECKED = 64
"""Rows that are checked, at most."""
TRACED = 3
"""Rows of the trace."""
LENGTH = 24
"""Positions of a free axis where rows are drawn, at least."""

Inputs = dict[str, Tensor]
Answer = Callable[[Inputs], "tuple[np.ndarray, ...]"]


class Plan(NamedTuple):
    """One method of one fitted estimator, ready to be written."""

    graph: nn.Module
    """Takes the inputs in their order, gives a tensor or a tuple of them."""
    inputs: Inputs
    """Rows to trace and to check with."""
    free: dict[str, tuple[int, ...]]
    """Of each input, the axes that may have any length."""
    outputs: tuple[str, ...]
    exact: Answer
    """What the estimator itself gives for such inputs."""
    others: tuple[Inputs, ...] = ()
    """Inputs of other sizes, to be checked too."""
    spread: Inputs = {}  # noqa: RUF012
    """Rows to trace with, where those of ``inputs`` will not do."""
    notes: dict[str, str] = {}  # noqa: RUF012
    """What goes along in the file, as text."""


def twin(estimator: Any, one_node: bool) -> Any:
    """The estimator with a copy of its line, on the processor; its recurrent layers are one node each, if asked."""
    other = copy.copy(estimator)
    if hasattr(estimator, "members_"):
        other.members_ = [twin(member, one_node) for member in estimator.members_]
    else:
        other.module_ = copy.deepcopy(estimator.module_).cpu().eval()
        if one_node:
            in_one_node(other.module_)
    return other


def drawn_rows(estimator: Any, n: int = 16) -> np.ndarray:
    """Rows like those of training, as the user gave them: the network's input at random, scaled back."""
    model, space = estimator.module_, Space.of(estimator.module_.space)
    least = [LENGTH, *(2 * stride for stride in model.encoder.total_stride or ())]
    shape = [max(least) if length is None else length for length in space.shape]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    if model.loss.bounds is not None:
        x = (torch.rand(x.shape, generator=generator, dtype=torch.float64) * 2).round() / (1 if model.loss.whole else 2)
    if model.scaler is not None:
        x = copy.deepcopy(model.scaler).cpu().inverse(x)
    return np.asarray(estimator._user_units(x.float()))


def outer(given: np.ndarray) -> Tensor:
    """Rows as a graph takes them: bytes, whole numbers of classes, or float32."""
    if len(given) < 2:
        raise DataError(f"X must hold at least 2 rows to export with, got {len(given)}")
    kept = given[:CHECKED]
    return torch.from_numpy(np.array(kept if kept.dtype in (np.uint8, np.int64) else kept.astype(np.float32)))


def shorter(x: Tensor, least: dict[int, int]) -> Tensor:
    """Two rows, of about two thirds of their length along these axes, at least so long: another size to check with."""
    x = x[:2]
    for axis, low in least.items():
        if axis > 0:
            x = x.narrow(axis, 0, max(low, x.shape[axis] * 2 // 3))
    return x


def traced(x: Tensor, least: dict[int, int]) -> Tensor:
    """The rows to trace with: along free axes long enough that no map is down to one position, a special case."""
    x = x[:TRACED]
    for axis, low in least.items():
        if axis > 0 and x.shape[axis] < 2 * low:
            x = torch.cat([x] * -(-2 * low // x.shape[axis]), axis)
    return x.clone()
