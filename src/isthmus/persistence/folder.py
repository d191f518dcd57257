"""Folders of files that are there completely or not at all, and JSON that is read with suspicion."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError

from isthmus.errors import FileError
from isthmus.training.checkpoint_files import sync

__all__ = ["Writer", "check_free", "digest", "read_json", "replace_file", "resolved", "standing", "write_folder"]

logger = logging.getLogger("isthmus")

MAX_BYTES = 64 << 20
"""Of one JSON file."""
MAX_DEPTH = 64
"""Of its nesting."""
_STRING = re.compile(r'"(?:[^"\\]+|\\.?)*+"?', re.DOTALL)

Writer = Callable[[Path], None]
"""Writes one file at the path it is given."""


def resolved(path: str | os.PathLike[str]) -> Path:
    """The absolute path, links followed."""
    if not isinstance(path, (str, os.PathLike)):
        raise FileError(f"path must be a str or a Path, got {path!r}")
    try:
        found = Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise FileError(f"{path}: not a usable path: {error}") from error
    if not found.name:
        raise FileError(f"{path}: not a usable path: a model is a folder with a name")
    return found


def standing(path: Path) -> Path:
    """The path; or, where an overwrite was cut off between its two renames, the folder that it set aside."""
    aside = _aside(path)
    return aside if os.path.isdir(aside) and not os.path.lexists(path) else path


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def write_folder(path: Path, files: Mapping[str, Writer], overwrite: bool) -> None:
    """Write the files beside ``path``, sync them, and rename: what stood there stands until the new is complete.

    An old folder is set aside by a rename of its own. Where the process ends between the two, `standing`
    finds the old one.

    Raises
    ------
    FileError
        Where the path exists (without ``overwrite``), holds other files than these, or cannot be written;
        nothing half-written is left.
    """
    check_free(path, files, overwrite)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir()
        for name, write in files.items():
            write(partial / name)
            sync(partial / name)
        sync(partial)
        _swap(partial, path)
    except (OSError, SafetensorError) as error:
        raise FileError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_file(path: Path, write: Writer, overwrite: bool) -> None:
    """The same for one file."""
    if not overwrite and os.path.lexists(path):
        raise FileError(f"{path} exists; choose another path or overwrite it")
    partial = path.with_name(f".{secrets.token_hex(4)}.partial.{path.name}")
    try:
        write(partial)
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    except OSError as error:
        raise FileError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        _remove(partial)


def check_free(path: Path, files: Collection[str], overwrite: bool) -> None:
    """Raise `FileError` where a folder of these files could not, or must not, be written."""
    try:
        if not path.parent.is_dir():
            what = "is not a folder" if path.parent.exists() else "does not exist"
            raise FileError(f"cannot write {path}: {path.parent} {what}")
        held = standing(path)
        if not os.path.lexists(held):
            return
        if not overwrite:
            raise FileError(f"{path} exists; choose another path or overwrite it")
        if not held.is_dir():
            raise FileError(f"{path} is not a folder; it is not overwritten")
        if foreign := sorted({entry.name for entry in held.iterdir()} - set(files)):
            raise FileError(f"{path} holds {', '.join(foreign)} besides a model; it is not overwritten")
    except OSError as error:
        raise FileError(f"cannot write {path}: {_reason(error)}") from error


def _swap(new: Path, path: Path) -> None:
    """Rename ``new`` to ``path``; an old folder there is set aside first and removed last."""
    old = _aside(path)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)  # left where its removal was cut off
        path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        if old.exists():
            old.rename(path)
        raise
    sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)
    if old.exists():
        logger.warning("%s was replaced, but the old model could not be removed: %s", path, old)


def _remove(path: Path) -> None:
    if path.parent.is_dir():
        path.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


# ---------------------------------------------------------------------- reading


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"cannot read {path}: {_reason(error)}") from error


def read_json(path: Path) -> dict[str, Any]:
    """An object of JSON, of limited size and depth.

    Raises
    ------
    FileError
        Where the file is missing, too long, too deep, or no JSON object.
    """
    if not path.is_file():
        raise FileError(f"{path} is missing: not a model of isthmus, or an incomplete one")
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise FileError(f"{path} has {size} bytes; at most {MAX_BYTES} are read")
        text = path.read_text(encoding="utf-8")
        if (depth := _depth(text)) > MAX_DEPTH:
            raise FileError(f"{path} is nested {depth} deep; at most {MAX_DEPTH} is read")
        value = json.loads(text, parse_constant=_refuse)
    except FileError:
        raise
    except (OSError, ValueError) as error:
        raise FileError(f"{path} is not valid JSON: {_reason(error)}") from error
    if not isinstance(value, dict):
        raise FileError(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
