"""What was learnt, as JSON with the arrays beside it in one file of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import FileError

__all__ = ["Tensors", "decode", "encode"]

Tensors = dict[str, Tensor]


def encode(value: Any, where: str, tensors: Tensors, other: Callable[[Any, str], Any]) -> Any:
    """The value as JSON; its arrays go into ``tensors``, named by ``where`` they are.

    Numbers, strings, None, lists, tuples, dicts, arrays of numbers or strings, tensors; ``other`` takes
    whatever is none of these.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, list):
        return [encode(inner, f"{where}.{i}", tensors, other) for i, inner in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": encode(list(value), where, tensors, other)}
    if isinstance(value, Mapping):
        pairs = [[key, inner] for key, inner in value.items()]
        return {"dict": encode(pairs, where, tensors, other)}
    if isinstance(value, Tensor):
        tensors[where] = value.detach()
        return {"tensor": where}
    if isinstance(value, np.ndarray):
        return _encode_array(value, where, tensors)
    return other(value, where)


def _encode_array(value: np.ndarray, where: str, tensors: Tensors) -> Any:
    if value.dtype.kind in "biuf" and value.dtype.isnative:
        tensors[where] = torch.from_numpy(np.array(value))
        return {"array": where}
    entries = value.ravel().tolist()
    if value.dtype.kind not in "OU" or not all(entry is None or isinstance(entry, (str, int)) for entry in entries):
        raise FileError(f"{where}: an array of {value.dtype} cannot be saved as data")
    return {"labels": entries, "shape": list(value.shape), "dtype": value.dtype.kind}


def decode(value: Any, tensors: Tensors, other: Callable[[dict[str, Any]], Any]) -> Any:
    """What `encode` wrote; a tensor that is used is taken out of ``tensors``."""
    if isinstance(value, list):
        return [decode(inner, tensors, other) for inner in value]
    if not isinstance(value, dict):
        return value
    keys = set(value)
    if keys == {"float"}:
        return float(value["float"])
    if keys == {"tuple"}:
        return tuple(decode(value["tuple"], tensors, other))
    if keys == {"dict"}:
        return {key: inner for key, inner in decode(value["dict"], tensors, other)}
    if keys == {"tensor"}:
        return _take(value["tensor"], tensors)
    if keys == {"array"}:
        return _take(value["array"], tensors).numpy()
    if keys == {"labels", "shape", "dtype"}:
        return np.array(value["labels"], dtype=object).astype(_LABELS[value["dtype"]]).reshape(value["shape"])
    return other(value)


_LABELS = {"O": object, "U": str}


def _take(name: str, tensors: Tensors) -> Tensor:
    if name not in tensors:
        raise FileError(f"model.safetensors lacks the tensor {name!r}")
    return tensors.pop(name)
