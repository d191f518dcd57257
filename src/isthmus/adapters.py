"""Data as they come, to tensors: arrays, frames, sparse matrices, tensors and paths.

The user's layout is channels first, ``(n, C, *spatial)``, or ``(n, H, W)`` for one channel; inside
everything is channels last. This module alone moves that axis.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import images
from isthmus.errors import DataError
from isthmus.stream import Stream

__all__ = ["channels_first", "channels_last", "read", "read_pair", "to_tensor"]

SUFFIXES = (".npy", ".npz", ".csv", ".parquet", ".txt")
KEYED = (".npz:", ".csv:", ".parquet:")
"""Ends of a file's name behind which the name of one of its arrays or columns may stand."""


def read(data: Any, name: str = "X") -> Any:
    """Load a path, and turn a tensor, sparse or of bfloat16 too, into an array; anything else is given back as it is.

    A path ends in .npy (mapped, so that only what is used is read), .npz, .csv or .parquet (``file.npz:array`` and
    ``file.csv:column`` pick one), or .txt (a text a line); or it is a folder of images, or one image: a list, see
    `images.read_images`.
    """
    if isinstance(data, (str, Path)):
        return _read_path(str(data), name)
    if isinstance(data, Tensor):
        return _read_tensor(data, name)
    if isinstance(data, (list, tuple)) and any(isinstance(item, Tensor) for item in data):
        data = [_read_tensor(item, name) if isinstance(item, Tensor) else item for item in data]
    if any(np.ma.is_masked(item) for item in (data if isinstance(data, (list, tuple)) else [data])):
        raise DataError(f"{name} must hold no masked cells, whose values are missing: fill them, {name}.filled(0), say")
    if isinstance(data, Stream):
        raise DataError(f"{name} must be rows in memory here, got {data!r}; its blocks() are such, one after the other")
    hugging_face = type(data).__module__.partition(".")[0] == "datasets"
    if hugging_face and not isinstance(data, dict):  # a table, or one of its columns, but not several tables
        return data.to_pandas() if hasattr(data, "to_pandas") else list(data)
    if hasattr(data, "collect") and type(data).__module__.startswith("polars"):
        return data.collect()
    return data


def read_pair(X: Any, y: Any) -> tuple[Any, Any]:
    """Rows and what stands beside them, each by `read`."""
    return read(X, "X"), read(y, "y")


def _read_tensor(tensor: Tensor, name: str) -> np.ndarray:
    try:
        dense = tensor.detach().cpu().to_dense()
        small = dense.is_floating_point() and dense.element_size() < 4  # bfloat16 and less are no types of numpy
        return (dense.float() if small else dense).numpy()
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{name} must be a tensor that numpy can hold, such as float32: {reason}") from None


def _read_path(given: str, name: str) -> Any:
    text, _, key = given.rpartition(":") if any(ending in given for ending in KEYED) else (given, "", "")
    path = Path(text)
    if path.is_dir() or path.suffix.lower() in images.SUFFIXES:
        return images.read_images(path, name)
    if path.suffix not in SUFFIXES:
        wanted = ", ".join(SUFFIXES + images.SUFFIXES)
        raise DataError(f"{name}: a path must end in one of {wanted}, or be a folder of images, got {given!r}")
    if not path.is_file():
        raise DataError(f"{name}: no such file: {text}")
    try:
        if path.suffix == ".npz":
            return _read_npz(path, key, name)
        if path.suffix == ".npy":
            mapped = os.name == "posix"  # Windows does not let a file go that is mapped
            return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        if path.suffix == ".txt":
            with path.open(encoding="utf-8-sig") as lines:  # no other sign ends a line, as str.splitlines has it
                return [line.removesuffix("\n") for line in lines]
        try:
            import pandas as pd
        except ImportError as error:
            raise DataError(f"{name}: reading {path.suffix} needs pandas: pip install 'isthmus[frames]'") from error
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        if key and key not in frame.columns:
            raise DataError(f"{name}: {path} has no column {key!r}; it has {list(frame.columns)}")
        if key and path.suffix == ".csv" and any(isinstance(item, str) for item in frame[key]):
            return pd.read_csv(path, usecols=[key], dtype=str, keep_default_na=False)[key]  # "null" is a text
        return frame[key] if key else frame
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{name}: cannot read {text}: {error}") from error


def _read_npz(path: Path, key: str, name: str) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        names = list(archive.files)
        if not key and len(names) == 1:
            key = names[0]
        if key not in names:
            wanted = f"no array {key!r}" if key else "several arrays"
            raise DataError(f"{name}: {path} holds {wanted}; pick one of {names} as '{path}:{names[0]}'")
        return archive[key]


def to_tensor(array: np.ndarray) -> Tensor:
    """An array as a tensor that nobody else writes to; bytes stay bytes, the rest is float."""
    if array.dtype not in (np.float32, np.float64, np.uint8):
        array = array.astype(np.float64 if array.dtype.itemsize > 2 else np.float32)
    return torch.from_numpy(np.ascontiguousarray(array) if array.flags.writeable else array.copy())


def channels_last(x: Tensor, dims: int | None = None, name: str = "X") -> Tensor:
    """Move the channels to the end; one channel is added where there are none.

    ``dims`` is the number of axes that are positions: ``(n, *positions)`` has one channel,
    ``(n, C, *positions)`` has C. Without it ``(n, d)`` stays, three axes are ``(n, H, W)`` and more are
    ``(n, C, *spatial)``.
    """
    if dims is not None and x.dim() - dims not in (1, 2):
        allowed = f"(n, *positions) or (n, C, *positions) with {dims} axes of positions"
        raise DataError(f"{name} must be {allowed}, got shape {tuple(x.shape)}")
    if x.dim() == (3 if dims is None else dims + 1):
        return x.unsqueeze(-1)
    return x.movedim(1, -1).contiguous() if x.dim() > 2 else x


def channels_first(x: Tensor, n_axes: int, dims: int | None = None) -> Tensor:
    """The inverse of `channels_last` for data that had ``n_axes`` axes."""
    if n_axes == (3 if dims is None else dims + 1):
        return x.squeeze(-1)
    return x.movedim(-1, 1).contiguous() if n_axes > 2 else x
