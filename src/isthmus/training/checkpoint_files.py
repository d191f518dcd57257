"""The files of checkpoints: a tree of tensors and numbers in one file that knows whether it is whole.

``step-00001200.safetensors`` holds the tensors, and as its metadata the rest of the tree as JSON and a CRC-32 over
all of it. It is written beside, synced, renamed, and the folder synced; the last two are kept. Reading one runs no
code.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from isthmus.errors import CheckpointError, ParameterError

__all__ = ["Saved", "locked", "newest", "write"]

logger = logging.getLogger("isthmus")

FORMAT, KEPT = 1, 2
NAME = re.compile(r"step-(\d{8,})\.safetensors")


class Saved(NamedTuple):
    """What a checkpoint tells of its run, and the run's state."""

    head: dict[str, Any]
    state: dict[str, Any]


# ---------------------------------------------------------------------- a file


def write(folder: Path, head: dict[str, Any], state: dict[str, Any]) -> Path:
    """Write one, keep the last two."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps({"format": FORMAT, "head": head, "state": _packed(state, tensors)})
    metadata = {"tree": text, "crc32": str(_checksum(text, tensors))}
    path = folder / f"step-{head['step']:08d}.safetensors"
    beside = path.with_suffix(".part")
    try:
        safetensors.torch.save_file(tensors, beside, metadata)
        _sync(beside)
        os.replace(beside, path)
        _sync(folder)
    except SafetensorError as error:  # it wraps what the system said
        raise _system_error(error) from error
    finally:
        beside.unlink(missing_ok=True)
    for old in _files(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


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


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    value = zlib.crc32(text.encode())
    for tensor in tensors.values():
        value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return value


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _system_error(error: Exception) -> OSError:
    found = re.search(r"os error (\d+)", str(error))
    number = int(found.group(1)) if found else errno.EIO
    return OSError(number, os.strerror(number) if found else str(error))


# ---------------------------------------------------------------------- a tree


def _packed(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The tree as JSON; its tensors go to ``tensors``, contiguous, on the processor."""
    if isinstance(tree, Tensor):
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


# ---------------------------------------------------------------------- the folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, made where it is not there; the system lets go of it where the process dies."""
    handle = -1
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            _take(handle, folder)
            (folder / "step-none.part").touch()
            for left in folder.glob("step-*.part"):  # that one, and those of a process that died while it wrote
                left.unlink(missing_ok=True)
        except CheckpointError:
            raise
        except OSError as error:
            raise CheckpointError(
                f"checkpoint_dir must be a folder that can be written, got {str(folder)!r} ({error.strerror})"
            ) from error
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _take(handle: int, folder: Path) -> None:
    with suppress(ImportError):  # where the system has no such locks, two runs are not kept apart
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CheckpointError(f"checkpoint_dir {str(folder)!r} is held by another run: name another") from error
