"""Rows that do not fit in memory, read some at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from isthmus import images
from isthmus.checks import integer
from isthmus.errors import DataError

__all__ = ["Stream"]

Read = Callable[[int, int], np.ndarray]
"""Rows start … stop − 1, copied."""
BLOCK, WINDOW, GROUP = 2**22, 2**26, 2**27
"""Bytes, of rows in float32: of a block, of a window, and of a row group that is a block of its own, at most."""
TABLES = (".parquet", ".feather", ".arrow")
SUFFIXES = (".npy", *TABLES)


class Stream:
    """Rows for ``fit`` that are read in blocks while training goes on.

    In memory are `window` rows, as many that are read ahead, and a sample from which scaler and shapes are learnt.

    Parameters
    ----------
    source : path, array or Dataset
        A path to .npy (mapped) or .parquet, .feather and .arrow (by row group), or to a folder of images of one size;
        or anything of n rows that can be cut, ``source[start:stop]``: a memory map, a sparse matrix (made dense a
        block at a time), an array of h5py or zarr; or a Dataset of PyTorch with a length, whose items are rows, or
        tuples that begin with one.
    columns : list of str, optional
        Of a table in a file; None: all.
    block : int, optional
        Rows read in one piece; blocks come in an order of their own in each pass. None: 4 MB of float32; of a table,
        whole row groups, as long as one is below 128 MB.
    window : int, optional
        Rows among which those of a batch are drawn at random: the more, the better they are mixed. None: 64 MB, or a
        block.

    Warns
    -----
    UserWarning
        Where the row groups of a table are larger: each is decoded as a whole for every block of it.

    Raises
    ------
    DataError
        Where the source has another form, cannot be read, has fewer than 2 rows, or lacks columns.
    """

    def __init__(
        self, source: Any, columns: list[str] | None = None, block: int | None = None, window: int | None = None
    ) -> None:
        for name, value in (("block", block), ("window", window)):
            _check_rows(name, value)
        if columns is not None and not _are_names(columns):
            raise DataError(f"Stream: columns must be None or a list of different names, got {columns!r}")
        self.source, self.columns = source, columns
        self.n, self._read, group = _opened(source, columns)
        if self.n < 2:
            raise DataError(f"Stream: the source must hold at least 2 rows, got {self.n}")
        self.row_bytes = 4 * self.read(0, 1).size
        if not self.row_bytes:
            raise DataError(f"Stream: rows must not be empty, got the shape {self.read(0, 1).shape[1:]}")
        self.block = min(block or self._whole_groups(group), self.n)
        self.window = max(window or WINDOW // self.row_bytes, self.block)

    def _whole_groups(self, group: int) -> int:
        """Rows of a block of about 4 MB, whole row groups where there are such."""
        least = max(1, BLOCK // self.row_bytes)
        if group * self.row_bytes <= GROUP:
            return max(group, least // group * group)
        most = GROUP // self.row_bytes
        warnings.warn(
            f"Stream: a row group of {self.source} holds {group:,} rows and is decoded as a whole for each block of "
            f"{least:,}; write the file with row groups of at most {most:,} rows",
            stacklevel=3,
        )
        return least

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        shown = self.source if isinstance(self.source, (str, Path)) else type(self.source).__name__
        return f"Stream({str(shown)!r}, {self.n:,} rows)"

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start … stop − 1, an array of one's own."""
        return self._read(start, min(stop, self.n))

    def blocks(self, size: int | None = None) -> Iterator[np.ndarray]:
        """All rows in order, to transform or score them a block at a time."""
        _check_rows("size", size)
        size = size or self.block
        return (self.read(start, start + size) for start in range(0, self.n, size))

    def sample(self, size: int) -> np.ndarray:
        """Blocks spread evenly over the source, ``size`` rows of them at most."""
        if size >= self.n:
            return self.read(0, self.n)
        pieces = min(64, size)
        length = size // pieces
        starts = np.linspace(0, self.n - length, pieces).astype(int)
        return np.concatenate([self.read(int(start), int(start) + length) for start in starts])


def _opened(source: Any, columns: list[str] | None) -> tuple[int, Read, int]:
    """How many rows there are, how they are read, and how many are decoded at once at least."""
    if isinstance(source, (str, Path)):
        return _file(Path(source), columns)
    if columns is not None:
        raise DataError("Stream: columns must be None unless the source is a table in a file")
    if getattr(source, "shape", None) == ():
        raise DataError("Stream: the source must have rows, got the shape ()")
    if hasattr(source, "shape") and hasattr(source, "__getitem__"):
        return int(source.shape[0]), lambda start, stop: np.array(_dense(source[start:stop])), 1
    if hasattr(source, "__len__") and hasattr(source, "__getitem__") and not isinstance(source, Mapping):
        return len(source), lambda start, stop: _stacked([_row(source[i]) for i in range(start, stop)], "items"), 1
    raise DataError(
        f"Stream: source must be a path, something of n rows that can be cut, or a Dataset with a length, got "
        f"{type(source).__name__}"
    )


def _check_rows(name: str, value: Any) -> None:
    if value is not None and (allowed := integer(1)(value)):
        raise DataError(f"Stream: {name} must be {allowed}, got {value!r}")


def _are_names(columns: Any) -> bool:
    listed = isinstance(columns, (list, tuple)) and len(columns) > 0
    return listed and all(isinstance(name, str) for name in columns) and len(set(columns)) == len(columns)


def _file(path: Path, columns: list[str] | None) -> tuple[int, Read, int]:
    if columns is not None and (path.is_dir() or path.suffix not in TABLES):
        raise DataError(f"Stream: columns must be None unless the source is a table in a file, got {str(path)!r}")
    if path.is_dir():
        return *_folder(path), 1
    if path.suffix not in SUFFIXES:
        raise DataError(f"Stream: a path must end in one of {', '.join(SUFFIXES)}, or be a folder, got {str(path)!r}")
    if not path.is_file():
        raise DataError(f"Stream: no such file: {path}")
    try:
        return _array(path) if path.suffix == ".npy" else _table(path, columns)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"Stream: cannot read {path}: {error}") from error


def _array(path: Path) -> tuple[int, Read, int]:
    """A .npy file, which is mapped for its form only: to read is faster than to fault page after page."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim == 0:
        raise DataError(f"Stream: {path} must hold rows, got the shape ()")
    if not array.flags.c_contiguous:
        return len(array), lambda start, stop: np.array(array[start:stop]), 1
    width, first = math.prod(array.shape[1:]), array.offset

    def read(start: int, stop: int) -> np.ndarray:
        at = first + start * width * array.itemsize
        rows = np.fromfile(path, array.dtype, (stop - start) * width, offset=at)
        return rows.reshape(stop - start, *array.shape[1:])

    return len(array), read, 1


def _folder(path: Path) -> tuple[int, Read]:
    files = sorted(one for one in path.iterdir() if one.suffix.lower() in images.SUFFIXES and one.name[0] != ".")

    def read(start: int, stop: int) -> np.ndarray:
        return _stacked([images.read_images(one)[0] for one in files[start:stop]], f"images of {path}")

    return len(files), read


def _table(path: Path, columns: list[str] | None) -> tuple[int, Read, int]:
    """By row groups, of which the last one read is kept."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError("Stream: tables in files need pyarrow: pip install 'isthmus[frames]'") from error
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        names, sizes = (
            file.schema_arrow.names,
            [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)],
        )
        group: Callable[[int], Any] = lambda i: file.read_row_group(i, columns=columns)  # noqa: E731
    else:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        names, sizes = reader.schema.names, [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
        group = lambda i: reader.get_batch(i) if columns is None else reader.get_batch(i).select(columns)  # noqa: E731
    if columns is not None and (unknown := [name for name in columns if name not in names]):
        raise DataError(f"Stream: {path} has no columns {unknown}; it has {names}")
    ends = np.cumsum(sizes)
    kept: dict[int, np.ndarray] = {}

    def rows(number: int) -> np.ndarray:
        if number not in kept:
            kept.clear()
            arrays = [column.to_numpy(zero_copy_only=False) for column in _columns(group(number))]
            if dates := [
                name for name, array in zip(columns or names, arrays, strict=True) if array.dtype.kind in "mM"
            ]:
                raise DataError(f"Stream: {path} has dates or times in {dates}; name columns of numbers")
            kept[number] = np.column_stack(arrays)
        return kept[number]

    def read(start: int, stop: int) -> np.ndarray:
        parts = []
        for number in range(
            int(np.searchsorted(ends, start, "right")), int(np.searchsorted(ends, stop - 1, "right")) + 1
        ):
            first = int(ends[number]) - sizes[number]
            parts.append(rows(number)[max(0, start - first) : stop - first])
        return np.concatenate(parts)

    return int(ends[-1]) if len(ends) else 0, read, max(sizes, default=1)


def _columns(table: Any) -> list[Any]:
    return [column.combine_chunks() if hasattr(column, "combine_chunks") else column for column in table.columns]


def _stacked(rows: Sequence[np.ndarray], said: str) -> np.ndarray:
    if len(shapes := {row.shape for row in rows}) > 1:
        raise DataError(f"Stream: {said} must have one size, got {sorted(shapes)}")
    return np.stack(rows)


def _row(item: Any) -> np.ndarray:
    first = item[0] if isinstance(item, (tuple, list)) else item
    return first.detach().cpu().numpy() if isinstance(first, Tensor) else np.asarray(first)


def _dense(rows: Any) -> Any:
    rows = rows.toarray() if hasattr(rows, "toarray") else rows
    return rows.detach().cpu().numpy() if isinstance(rows, Tensor) else rows
