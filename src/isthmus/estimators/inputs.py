"""Reading what the user gives: checked once, with errors that show the line that would mend it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor

from isthmus import adapters
from isthmus.errors import DataError
from isthmus.images import looks_channels_last, stacked
from isthmus.types import Batch

__all__ = ["Inputs", "check_weights", "each_size", "fits", "is_list_of_images"]

MEND_MISSING = "make_pipeline(SimpleImputer(), {name}())"
MEND_CATEGORY = (
    "make_pipeline(make_column_transformer((OneHotEncoder(sparse_output=False), [{columns}]), "
    "remainder='passthrough'), {name}())"
)


def each_size(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of one array, for a list of pictures of several sizes too: then a list of results."""

    @wraps(method)
    def wrapper(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        given = adapters.read(X, "X")
        if is_list_of_images(given) and len({np.shape(picture) for picture in given}) > 1:
            results = [method(self, np.asarray(picture)[np.newaxis], *args, **kwargs)[0] for picture in given]
            return np.array(results) if np.ndim(results[0]) == 0 else results
        return method(self, given, *args, **kwargs)

    return wrapper


class Inputs:
    """The road from the user's data to a tensor, channels last."""

    _sample_shape: tuple[int | None, ...]

    def _read(self, data: Any, *, reset: bool = False, name: str = "X") -> Tensor:
        """Check the data, remember (or compare) its features, give ``(n, *shape)``."""
        x, mask = self._read_images(data, reset=reset, name=name)
        if mask is not None:
            raise DataError(f"{name} must hold samples of one size here, got several")
        return x

    def _read_images(self, data: Any, *, reset: bool = False, name: str = "X") -> tuple[Tensor, Tensor | None]:
        """As `_read`; images of several sizes are padded, and a mask ``(n, *positions)`` says where they are."""
        dims = self._dims()
        given, mask = adapters.read(data, name), None
        if is_list_of_images(given):
            given, mask = stacked(given, name, dims)
        array = self._validate(given, reset=reset, name=name)
        if complaint := looks_channels_last(array.shape, name):
            raise DataError(complaint)
        if reset:
            self._sample_shape = array.shape[1:]
        elif not fits(array.shape[1:], self._sample_shape):
            raise DataError(f"{name} must hold samples of shape {self._sample_shape}, got {array.shape[1:]}")
        x = adapters.channels_last(adapters.to_tensor(array), dims, name)
        return x, None if mask is None else torch.from_numpy(mask)

    def _dims(self) -> int | None:
        """How many axes the encoder takes for positions, where it was told."""
        return getattr(getattr(self, "encoder", None), "dims", None)

    def _validate(self, data: Any, *, reset: bool, name: str) -> np.ndarray:
        owner = type(self).__name__
        if data is None:
            raise DataError(f"{name} must be an array, a frame, a sparse matrix, a tensor or a path, got None")
        if (columns := categories_of(data)) and not isinstance(data, np.ndarray):
            shown = ", ".join(repr(column) for column in columns)
            mend = MEND_CATEGORY.format(name=owner, columns=shown)
            raise DataError(f"{name} holds categories or text in {shown}; encode them first: {mend}")
        try:
            rules = {"accept_sparse": ["csr", "csc", "coo"], "allow_nd": True, "dtype": "numeric"}
            rules |= {"ensure_min_samples": 2 if reset else 1, "ensure_all_finite": True}
            if not reset and None in self._sample_shape:  # any number of rows a picture is no count of features
                array = check_array(data, **rules)
            else:
                array = validate_data(self, X=data, reset=reset, **rules)
        except ValueError as error:
            if "NaN" in str(error) or "infinity" in str(error):
                mend = MEND_MISSING.format(name=owner)
                raise DataError(f"{error}\nisthmus: impute missing values first: {mend}") from None
            if "could not convert string" in str(error) or "bytes/strings" in str(error):
                mend = MEND_CATEGORY.format(name=owner, columns="...")
                raise DataError(f"{name}: {error}; encode categories first: {mend}") from None
            raise DataError(str(error)) from None
        if hasattr(array, "toarray"):
            array = array.toarray()
        if array.ndim > 5:
            raise DataError(f"{name} must have 2 to 5 axes, (n, d) to (n, C, D, H, W), got shape {array.shape}")
        if 0 in array.shape:
            raise DataError(f"{name} must not have an empty axis, got shape {array.shape}")
        return array  # type: ignore[no-any-return]


def is_list_of_images(data: Any) -> bool:
    """Whether it is a list of arrays with positions, such as images of several sizes."""
    return isinstance(data, (list, tuple)) and len(data) > 0 and all(np.ndim(item) > 1 for item in data)


def fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    """Whether a sample has the shape that was fitted, where None is any length."""
    return len(shape) == len(wanted) and all(
        want is None or got == want for got, want in zip(shape, wanted, strict=True)
    )


def categories_of(data: Any) -> list[str]:
    """The columns of a frame that hold categories, text or other objects."""
    if hasattr(data, "dtypes") and hasattr(data, "columns"):
        kinds = zip(data.columns, data.dtypes, strict=True)
        return [str(column) for column, kind in kinds if _is_category(kind)]
    return []


def _is_category(kind: Any) -> bool:
    name = str(kind).lower()
    return name.startswith(("category", "categorical", "string", "str", "enum", "utf8"))


def check_weights(rows: Batch, weight: Any, max_repeats: int) -> Batch:
    """Apply sample weights: whole numbers repeat rows, others go along as ``rows.weight``."""
    if weight is None:
        return rows
    values = np.asarray(weight, dtype=np.float64)
    n = len(rows.x)
    if values.ndim == 0:
        values = np.full(n, float(values))
    if values.ndim != 1:
        raise DataError(f"sample_weight must be 1D array or scalar, got shape {values.shape}")
    if len(values) != n:
        raise DataError(f"sample_weight must have one number a row, {n}, got {len(values)}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise DataError("sample_weight must be finite and at least 0")
    if not (values > 0).sum() >= 2:
        raise DataError("sample_weight must leave at least 2 rows with a weight above zero")
    whole = bool((values == np.round(values)).all()) and values.sum() <= max_repeats * n
    counts = torch.from_numpy(values.astype(np.int64) if whole else (values > 0).astype(np.int64))
    index = torch.arange(n).repeat_interleave(counts)
    kept = rows.map(lambda field: field.index_select(0, index))
    return kept if whole else kept._replace(weight=torch.from_numpy(values)[index])
