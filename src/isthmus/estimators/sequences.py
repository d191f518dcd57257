"""Rows whose length is their own: series and texts, in and out.

A series is ``(T, D)`` or ``(T,)``; rows of it are one array ``(n, T, D)`` or a list of unequal ones. A text is
read as the classes ``(T,)`` of its pieces. Inside, rows are padded at the end, and a mask says where they count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import spec
from isthmus.adapters import SUFFIXES
from isthmus.checks import integer
from isthmus.errors import DataError, ParameterError
from isthmus.images import SUFFIXES as IMAGE_SUFFIXES
from isthmus.part import Encoder
from isthmus.text import TOKENIZERS, TextTokenizer, Tokenizer

__all__ = [
    "cut",
    "is_text",
    "layout_of",
    "lengths_of",
    "made_tokenizer",
    "numbers_of",
    "padded_texts",
    "series",
    "without_unknown",
]

FILES = (*SUFFIXES, *IMAGE_SUFFIXES)
"""Endings of names that are files, and no texts."""
TEXTS = ("<u", "|s", "str", "large_str", "object", "utf8", "categor", "enum")
"""Beginnings of the names of types of numpy, pandas and polars."""
FEWEST, MOST = 1, 2**24
"""Positions of a series."""


def layout_of(data: Any, encoder: Any) -> str:
    """What the rows are: "texts", "series", or "rows" of a table, pictures among them.

    An encoder of sequences reads series; with ``encoder="auto"`` a list of texts is texts, and a list of arrays
    is series where they are ``(T,)``, or, of real numbers, ``(T, D)`` with one D and several T.
    """
    if hasattr(data, "dtype") and np.ndim(data) == 1 and np.asarray(data).dtype.kind in "OSUT":
        data = np.asarray(data).tolist()  # a column
    if isinstance(data, (list, tuple)) and any(isinstance(item, (str, bytes)) for item in data):
        return "rows" if all(str(item).lower().endswith(FILES) for item in data) else "texts"
    if encoder is None:
        return "rows"
    if encoder != "auto":
        resolved: Encoder = spec.resolve("encoder", encoder)
        return "series" if resolved.sequences else "rows"
    if not isinstance(data, (list, tuple)) or not data:
        return "rows"
    arrays = [item for item in data if isinstance(item, np.ndarray) or hasattr(item, "to_numpy")]
    if len(arrays) < len(data):
        return "rows"
    shapes = {np.shape(item) for item in arrays}
    if len(shapes) < 2:
        return "rows"
    if all(len(shape) == 1 for shape in shapes):
        return "series"
    wide = all(len(shape) == 2 for shape in shapes) and len({shape[1] for shape in shapes}) == 1
    return "series" if wide and all(np.asarray(item).dtype.kind == "f" for item in arrays) else "rows"


def series(data: Any, name: str) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Rows ``(n, T, D)``, where they are data ``(n, T)`` if lengths differ, and whether D was left out.

    Raises
    ------
    DataError
        It names the series that has no numbers, NaN, another width or nothing at all.
    """
    if data is None or isinstance(data, str) or not hasattr(data, "__len__"):
        raise DataError(f"{name} must be an array (n, T, D), (n, T) or a list of series, got {type(data).__name__}")
    if len(data) == 0:
        raise DataError(f"{name} must hold at least one series, got none")
    if str(getattr(data, "dtype", "")).lower() == "object" and data.ndim == 1:
        data = list(data)  # a column of series
    if not isinstance(data, (list, tuple)):
        array = numbers_of(data, name)
        if array.ndim not in (2, 3) or 0 in array.shape:
            raise DataError(f"{name} must be (n, T, D) or (n, T), got shape {array.shape}")
        return (array[..., np.newaxis] if array.ndim == 2 else array), None, array.ndim == 2
    if isinstance(data[0], (list, tuple)) and data[0] and isinstance(data[0][0], str):
        raise DataError(f"{name}[0] must be numbers or one text, got words: ' '.join({name}[0]) makes them one")
    arrays = [numbers_of(item, f"{name}[{i}]") for i, item in enumerate(data)]
    first = arrays[0]
    for i, array in enumerate(arrays):
        if array.ndim not in (1, 2) or 0 in array.shape:
            raise DataError(f"{name}[{i}] must be a series (T, D) or (T,), got shape {array.shape}")
        if array.shape[1:] != first.shape[1:]:
            raise DataError(f"{name}[{i}] must be as wide as {name}[0], {first.shape[1:]}, got {array.shape[1:]}")
    flat = first.ndim == 1
    arrays = [array[:, np.newaxis] if flat else array for array in arrays]
    lengths = np.array([len(array) for array in arrays])
    if (lengths == lengths[0]).all():
        return np.stack(arrays), None, flat
    mask = np.arange(lengths.max()) < lengths[:, np.newaxis]
    padded = np.zeros((*mask.shape, arrays[0].shape[1]), np.result_type(*arrays))
    padded[mask] = np.concatenate(arrays)
    return padded, mask, flat


def numbers_of(item: Any, name: str) -> np.ndarray:
    """An array of finite numbers; `DataError` where it is none."""
    if hasattr(item, "toarray"):
        item = item.toarray()
    try:
        array = np.asarray(item)
    except ValueError:
        raise DataError(f"{name} must be one array of numbers, got items of several shapes") from None
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{name} must hold numbers, got other objects") from None
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} must hold numbers, got {array.dtype}")
    if not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "infinity"
        raise DataError(f"{name} must be finite, got {what}; interpolate what is missing first")
    return array


def cut(values: Tensor, mask: Tensor | None, flat: bool = False) -> Any:
    """``(n, T, D)`` as the user gave series: one array, or a list of each one's own length where those differ."""
    array = values.float().numpy() if values.dtype != torch.float64 else values.numpy()
    array = array[..., 0] if flat else array
    if mask is None or mask.all():
        return array
    return [row[:length] for row, length in zip(array, mask.sum(1).tolist(), strict=True)]


def lengths_of(lengths: Any, n: int, longest: int) -> Tensor:
    """The mask ``(n, T)`` of these lengths: one for all, one a row, or the longest of training."""
    given = np.asarray(longest if lengths is None else lengths)
    if given.dtype.kind not in "iu" or given.ndim > 1 or (given.ndim == 1 and len(given) != n):
        raise DataError(f"lengths must be a whole number or {n} of them, got {lengths!r:.60}")
    if given.size and (given.min() < FEWEST or given.max() > MOST):
        raise DataError(f"lengths must be from {FEWEST} to {MOST}, got {given.min()} to {given.max()}")
    each = torch.from_numpy(np.broadcast_to(given, n).astype(np.int64))
    return torch.arange(int(each.max())) < each.unsqueeze(1)


# ---------------------------------------------------------------------- texts


def is_text(data: Any) -> bool:
    """Whether it is a list or column with texts in it."""
    dtype = str(getattr(data, "dtype", "object")).lower()
    if hasattr(data, "columns") or not hasattr(data, "__len__") or not dtype.startswith(TEXTS):
        return False
    return dtype not in ("object", "category") or len(data) == 0 or any(isinstance(item, (str, bytes)) for item in data)


def made_tokenizer(given: Any, texts: list[str], vocabulary_size: int | None = None, lower: bool = False) -> Any:
    """The tokenizer of that name, learnt from these texts; one of the user's own is taken as it is."""
    if isinstance(given, str):
        return TextTokenizer(given, vocabulary_size, lower).fit(texts)
    if isinstance(given, TextTokenizer) and not given.fitted:
        return TextTokenizer(given.kind, given.limit, given.lower).fit(texts)
    if not isinstance(given, Tokenizer):
        raise ParameterError(
            f"tokenizer must be one of {list(TOKENIZERS)} or have encode, decode and vocabulary_size, "
            f"got {type(given).__name__}"
        )
    if (allowed := integer(1)(given.vocabulary_size)) is not None:
        raise ParameterError(f"tokenizer must have as vocabulary_size {allowed}, got {given.vocabulary_size!r:.60}")
    return given


def padded_texts(texts: Sequence[str], tokenizer: Tokenizer, least: int = 0) -> tuple[Tensor, Tensor]:
    """Ids ``(n, T)``, 0 where there are none, and where there are some; at least so many a row."""
    allowed = f"tokenizer must give whole numbers from 0 to {tokenizer.vocabulary_size - 1}, a list a text"
    try:
        ids = [[*row, *[0] * (least - len(row))] for row in tokenizer.encode(texts)]
        every = np.array([number for row in ids for number in row])
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{allowed}: {error}") from error
    if len(ids) != len(texts):
        raise ParameterError(f"{allowed}, got {len(ids)} lists of {len(texts)} texts")
    if every.size and (every.ndim > 1 or every.dtype.kind not in "iu"):
        raise ParameterError(f"{allowed}, got {every.tolist()[0]!r:.60}")
    if every.size and (every.min() < 0 or every.max() >= tokenizer.vocabulary_size):
        raise ParameterError(f"{allowed}, got {every.min()} to {every.max()}")
    lengths = np.array([len(row) for row in ids], dtype=np.int64)
    mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    padded = np.zeros(mask.shape, dtype=np.int64)
    padded[mask] = every
    return torch.from_numpy(padded), torch.from_numpy(mask)


def without_unknown(step: Any) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
    """A decoder's step that gives class 0, the unknown, no probability."""

    def known(previous: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, state = step(previous, state)
        logits[:, 0] = -torch.inf
        return logits, state

    return known
