"""The files of checkpoints: a tree of tensors and numbers in one file that knows whether it is whole.

``step-00001200.safetensors`` holds the tensors, and as its metadata the rest of the tree as JSON and a CRC-32 over
all of it. It is written beside, synced, renamed, and the folder synced; the last two are kept. Reading one runs no
code.
"""

from __future__ import annotations

import json
import logging
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from io import BufferedWriter
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from safetensors import SafetensorError
from torch import Tensor

from isthmus.errors import CheckpointError, ParameterError

__all__ = ["Saved", "newest", "sync", "write"]

logger = logging.getLogger("isthmus")

FORMAT, KEPT = 1, 2
NAME = re.compile(r"step-(\d{8,})\.safetensors")
AT_ONCE = 2**25
"""Bytes that are written at once."""
DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.bool: "BOOL",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
}  # fmt: skip
"""As safetensors names them."""


class Saved(NamedTuple):
    """What a checkpoint tells of its run, and the run's state."""

    head: dict[str, Any]
    state: dict[str, Any]


# ---------------------------------------------------------------------- a file


def write(folder: Path, head: dict[str, Any], state: dict[str, Any]) -> Path:
    """Write one, keep the last two."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps({"format": FORMAT, "head": head, "state": _packed(state, tensors)})
    header = _header(tensors, {"tree": text, "crc32": str(_checksum(text, tensors))})
    path = folder / f"step-{head['step']:08d}.safetensors"
    beside = path.with_suffix(".part")
    try:
        with beside.open("wb") as file:
            _write_through(file, [memoryview(header), *map(_bytes, tensors.values())])
        os.replace(beside, path)
        sync(folder)
    finally:
        beside.unlink(missing_ok=True)
    for old in _files(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def _write_through(file: BufferedWriter, whole: Iterable[memoryview]) -> None:
    """Write, and after each `AT_ONCE` bytes sync and let go of the system's copy of them.

    `safetensors.torch.save_file` leaves a copy of the whole file in the system's memory; to fetch that memory may
    take it longer than all the rest.
    """
    unsynced = 0
    for data in whole:
        for start in range(0, len(data), AT_ONCE):
            unsynced += file.write(data[start : start + AT_ONCE])
            if unsynced >= AT_ONCE:
                _let_go(file)
                unsynced = 0
    _let_go(file)


def _let_go(file: BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def newest(folder: Path) -> Saved | None:
    """The newest whole one; those that are torn are passed over with a warning."""
    torn = []
    for path in _files(folder):
        try:
            return _read(path)
        except CheckpointError:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            torn.append(path.name)
            logger.warning("%s is not whole and is passed over: %s", path, error)
    if torn:
        raise CheckpointError(f"{str(folder)!r}: none of {torn} is whole; name another folder to start afresh")
    return None


def _read(path: Path) -> Saved:
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys(), key=int)}
    text = metadata["tree"]
    if int(metadata["crc32"]) != _checksum(text, tensors):
        raise ValueError("its checksum is another")
    tree = json.loads(text)
    if tree["format"] != FORMAT:
        raise CheckpointError(f"{str(path)!r} has format {tree['format']!r}, this version of isthmus reads {FORMAT}")
    return Saved(tree["head"], _unpacked(tree["state"], tensors))


def _files(folder: Path) -> list[Path]:
    """The newest first."""
    found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("step-")), reverse=True)


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """What a safetensors file begins with: its length in 8 bytes, and JSON that says where each tensor lies."""
    told: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        told[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(told).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    value = zlib.crc32(text.encode())
    for tensor in tensors.values():
        value = zlib.crc32(_bytes(tensor), value)
    return value


def _bytes(tensor: Tensor) -> memoryview:
    """Of a contiguous tensor, where they lie."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no handle on a folder to sync
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---------------------------------------------------------------------- a tree


def _packed(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The tree as JSON; its tensors go to ``tensors``, contiguous, on the processor."""
    if isinstance(tree, Tensor) and tree.dtype in DTYPES:
        name = str(len(tensors))
        tensors[name] = tree.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(tree, dict):
        return {"items": [[_plain(key), _packed(value, tensors)] for key, value in tree.items()]}
    if isinstance(tree, (list, tuple)):
        return [_packed(value, tensors) for value in tree]
    return _plain(tree)


def _plain(value: Any) -> Any:
    """The value, if JSON has it; else it is in what a callback remembers."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ParameterError(
        f"callbacks: state_dict must hold tensors, numbers, strings, lists and dicts, got a {type(value).__name__}"
    )


def _unpacked(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_unpacked(value, tensors) for value in tree]
    if isinstance(tree, dict):
        if "tensor" in tree:
            return tensors[tree["tensor"]]
        return {key: _unpacked(value, tensors) for key, value in tree["items"]}
    return tree
