"""Rows in from DATA, rows out to --out."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["check_out", "check_standing", "columns_of", "read_rows", "write_rows"]

SUFFIXES = (".npy", ".npz", ".csv", ".parquet", ".txt")


def read_rows(path: str, name: str = "DATA") -> Any:
    """The array or frame at a path."""
    from isthmus import adapters

    return adapters.read(path, name)


def check_standing(path: Path, overwrite: bool, what: str = "a file") -> None:
    """Raise, before any work, where something stands that must not be replaced."""
    from isthmus.errors import FileError

    if path.exists() and not overwrite:
        raise FileError(f"--out: {path} exists; choose another path or --overwrite {what}")


def check_out(path: Path, overwrite: bool) -> None:
    """Raise, before any work, where the result could not be written."""
    from isthmus.errors import DataError, FileError

    if path.suffix not in SUFFIXES:
        raise FileError(f"--out must end in one of {', '.join(SUFFIXES)}, got {str(path)!r}")
    check_standing(path, overwrite and not path.is_dir())
    if not path.absolute().parent.is_dir():
        raise FileError(f"--out: cannot write {path}: {path.parent} is no folder")
    if path.suffix in (".csv", ".parquet") and importlib.util.find_spec("pandas") is None:
        raise DataError(f"--out: writing {path.suffix} needs pandas: pip install 'isthmus[frames]'")


def columns_of(model: Any, data: Any, rows: Any) -> list[str]:
    """The names of the rows' columns: the data's own, those the model was fitted on, or x0, x1, …"""
    if isinstance(rows, list):
        return []
    width = rows.shape[-1]
    names = getattr(data, "columns", getattr(model, "feature_names_in_", None))
    return [f"x{i}" for i in range(width)] if names is None or len(names) != width else [str(name) for name in names]


def write_rows(rows: Any, path: Path, overwrite: bool, name: str, columns: Sequence[str] | None = None) -> None:
    """Write an array beside ``path`` and rename it; ``name`` is that of the array in an .npz, or of one column."""
    import numpy as np

    from isthmus.errors import DataError
    from isthmus.persistence import replace_file

    texts = isinstance(rows, list) and all(isinstance(row, str) for row in rows)
    if path.suffix == ".txt":
        if not texts:
            raise DataError("--out: .txt takes texts, a line each, and these are numbers; write .npy, .npz or .csv")
        lines = "".join(" ".join(row.splitlines()) + "\n" for row in rows).encode()
        replace_file(path, lambda target: _write(target, lines), overwrite)
        return
    if isinstance(rows, list) and not texts:  # series of several lengths
        if path.suffix != ".npz":
            raise DataError(f"--out: rows of several lengths fit no array; write .npz, not {path.suffix}")
        each: dict[str, Any] = {str(number): np.asarray(row) for number, row in enumerate(rows)}
        replace_file(path, lambda target: np.savez(target, **each), overwrite)
        return
    array = np.asarray(rows)
    if path.suffix == ".npy":
        replace_file(path, lambda target: np.save(target, array, allow_pickle=False), overwrite)
    elif path.suffix == ".npz":
        named: dict[str, Any] = {name: array}
        replace_file(path, lambda target: np.savez(target, **named), overwrite)
    elif array.ndim > 2:
        raise DataError(f"--out: rows of shape {array.shape[1:]} fit no table; write .npy or .npz, not {path.suffix}")
    else:
        import pandas as pd

        frame = pd.DataFrame(array, columns=[name] if array.ndim == 1 else list(columns or []) or None)
        write = frame.to_parquet if path.suffix == ".parquet" else frame.to_csv
        replace_file(path, lambda target: write(target, index=False), overwrite)


def _write(target: Path, content: bytes) -> None:
    target.write_bytes(content)
