"""Reading what the user gives: checked once, with errors that show the line that would mend it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor

from isthmus import adapters
from isthmus.errors import DataError
from isthmus.estimators.sequences import cut, layout_of, made_tokenizer, padded_texts, series
from isthmus.images import looks_channels_last, stacked
from isthmus.model import EncoderDecoder
from isthmus.scalers import MinMaxScaler
from isthmus.text import texts_of
from isthmus.types import Batch

__all__ = [
    "Inputs",
    "allowed_rows",
    "check_finite",
    "check_same_sizes",
    "check_targets",
    "check_weights",
    "each_size",
    "fits",
    "is_list_of_images",
    "one_array",
]

MEND_MISSING = "make_pipeline(SimpleImputer(), {name}())"
MEND_TIME = "give numbers, such as ({name}[column] - {name}[column].min()).dt.total_seconds()"
MEND_CATEGORY = (
    "make_pipeline(make_column_transformer((OneHotEncoder(sparse_output=False), [{columns}]), "
    "remainder='passthrough'), {name}())"
)


def each_size(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of one array, for a list of pictures of several sizes too: then a list of results."""

    @wraps(method)
    def wrapper(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        given = adapters.read(X, "X")
        if self._layout == "rows" and is_list_of_images(given) and len({np.shape(picture) for picture in given}) > 1:
            results = [method(self, np.asarray(picture)[np.newaxis], *args, **kwargs)[0] for picture in given]
            return np.array(results) if np.ndim(results[0]) == 0 else results
        return method(self, given, *args, **kwargs)

    return wrapper


class Inputs:
    """The road from the user's data to tensors, channels last, and back."""

    _sample_shape: tuple[int | None, ...]
    _layout: str = "rows"
    """What the training rows were: "rows" of a table or pictures, "series" or "texts"."""
    _longest: int = 0
    """Positions of the longest series or text of training."""
    tokenizer_: Any

    def _read_pair(self, X: Any, y: Any) -> tuple[Any, Any]:
        """As `adapters.read_pair`; a model that knows better which file belongs to which says so here."""
        return adapters.read_pair(X, y)

    def _read(self, data: Any, *, reset: bool = False, name: str = "X") -> Batch:
        """Check the data, remember (or compare) its features; a mask goes with sequences of several lengths."""
        x, mask = self._read_masked(data, reset=reset, name=name)
        if mask is not None and self._layout == "rows":
            raise DataError(f"{name} must hold samples of one size here, got several")
        return Batch(x, x_mask=mask)

    def _read_masked(self, data: Any, *, reset: bool = False, name: str = "X") -> tuple[Tensor, Tensor | None]:
        """As `_read`; images of several sizes, too, are padded, and a mask ``(n, *positions)`` says where they are."""
        given = adapters.read(data, name)
        if reset:
            self._layout = layout_of(given, self._encoder_given())
        if self._layout == "texts":
            return self._read_texts(given, reset, name)
        return (
            self._read_series(given, reset, name) if self._layout == "series" else self._read_rows(given, reset, name)
        )

    def _read_rows(self, given: Any, reset: bool, name: str) -> tuple[Tensor, Tensor | None]:
        dims, mask = self._dims(), None
        if is_list_of_images(given):
            given, mask = stacked(given, name, dims)
        array = self._validate(given, reset=reset, name=name)
        if complaint := looks_channels_last(array.shape, name):
            raise DataError(complaint)
        if reset:
            self._sample_shape = array.shape[1:]
        elif not fits(array.shape[1:], self._sample_shape):
            wanted = str(self._sample_shape).replace("None", "any")
            raise DataError(f"{name} must hold samples of shape {wanted}, got {array.shape[1:]}")
        x = adapters.channels_last(adapters.to_tensor(array), dims, name)
        return x, None if mask is None else torch.from_numpy(mask)

    def _read_series(self, given: Any, reset: bool, name: str) -> tuple[Tensor, Tensor | None]:
        array, mask, flat = series(given, name)
        shape = (None,) if flat else (None, array.shape[-1])
        if reset:
            if len(array) < 2:
                raise DataError(f"{name} must hold at least 2 series, got {len(array)}")
            self._sample_shape, self._longest = shape, array.shape[1]
        elif shape != self._sample_shape:
            wanted = str(self._sample_shape).replace("None", "T")
            raise DataError(f"{name} must hold series of shape {wanted}, got {str(shape).replace('None', 'T')}")
        return adapters.to_tensor(array), None if mask is None else torch.from_numpy(mask)

    def _read_texts(self, given: Any, reset: bool, name: str) -> tuple[Tensor, Tensor | None]:
        texts = texts_of(given, name)
        if len(texts) < (2 if reset else 1):
            raise DataError(f"{name} must hold at least {2 if reset else 1} texts, got {len(texts)}")
        if reset:
            self.tokenizer_ = made_tokenizer(self._tokenizer_given(), texts)
            self._sample_shape = (None,)
        x, mask = padded_texts(texts, self.tokenizer_, least=1)
        if reset:
            self._longest = x.shape[1]
        return x, mask

    def _user_units(self, values: Tensor, mask: Tensor | None = None) -> Any:
        """Rows in the user's units, channels last, as the user gave theirs."""
        if self._layout == "series":
            return cut(values, mask, flat=len(self._sample_shape) == 1)
        return adapters.channels_first(values, len(self._sample_shape) + 1, self._dims()).numpy()

    def _tokenizer_given(self) -> Any:
        """What cuts texts into pieces."""
        return getattr(self, "tokenizer", None)

    def _encoder_given(self) -> Any:
        """What decides how data are read."""
        return getattr(self, "encoder", None)

    def _dims(self) -> int | None:
        """How many axes the encoder takes for positions, where it was told."""
        return getattr(self._encoder_given(), "dims", None)

    def _validate(self, data: Any, *, reset: bool, name: str) -> np.ndarray:
        owner = type(self).__name__
        if data is None or isinstance(data, (dict, set, Iterator)):
            kind = None if data is None else type(data).__name__
            raise DataError(f"{name} must be an array, a frame, a sparse matrix, a tensor or a path, got {kind}")
        if isinstance(data, (list, tuple)) and data and all(isinstance(item, (str, Path)) for item in data):
            raise DataError(f"{name} must be an array or one path, got a list of {len(data)} texts; give their folder")
        if columns := columns_of(data, is_time):
            mend = MEND_TIME.format(name=name)
            raise DataError(f"{name} must hold numbers, got dates or times in {columns}; {mend}")
        if columns := columns_of(data, is_category):
            mend = MEND_CATEGORY.format(name=owner, columns=columns)
            raise DataError(f"{name} must hold numbers, got text or other objects in {columns}; encode them: {mend}")
        try:
            rules = {"accept_sparse": ["csr", "csc", "coo"], "allow_nd": True, "dtype": "numeric"}
            rules |= {"ensure_min_samples": 2 if reset else 1, "ensure_all_finite": True}
            pictures = not reset and (len(self._sample_shape) > 1 or None in self._sample_shape)
            if pictures:  # whose first axis is no count of features
                array = check_array(data, input_name=name, **rules)
            else:
                array = validate_data(self, X=data, reset=reset, **rules)
        except (TypeError, ValueError) as error:
            if isinstance(error, TypeError) and "Feature names" not in str(error):
                raise
            said = str(error).replace("X has", f"{name} has", 1)
            if "contains NaN" in said and np.ndim(data) == 2:
                mend = MEND_MISSING.format(name=owner)
                raise DataError(f"{name} must be finite, got NaN; impute missing values first: {mend}") from None
            if "contains NaN" in said or "contains infinity" in said:
                what = "NaN" if "NaN" in said else "infinity"
                raise DataError(f"{name} must be finite, got {what}; np.nan_to_num({name}) replaces it") from None
            if "could not convert string" in said or "bytes/strings" in said:
                mend = MEND_CATEGORY.format(name=owner, columns="...")
                raise DataError(f"{name}: {said}; encode categories first: {mend}") from None
            if "setting an array element" in said:
                wanted = "an array, or a list of pictures with equally many axes"
                raise DataError(f"{name} must be {wanted}, got items of several shapes") from None
            raise DataError(said if name in said else f"{name}: {said}") from None
        if hasattr(array, "toarray"):
            array = array.toarray()
        if array.dtype.kind not in "biuf":
            raise DataError(f"{name} must hold numbers, got {array.dtype}")
        if array.ndim > 5:
            raise DataError(f"{name} must have 2 to 5 axes, (n, d) to (n, C, D, H, W), got shape {array.shape}")
        if 0 in array.shape:
            raise DataError(f"{name} must not have an empty axis, got shape {array.shape}")
        return array  # type: ignore[no-any-return]


def is_list_of_images(data: Any) -> bool:
    """Whether it is a list of arrays with positions, such as images of several sizes."""
    return isinstance(data, (list, tuple)) and len(data) > 0 and all(np.ndim(item) > 1 for item in data)


def one_array(data: Any, name: str) -> np.ndarray:
    """Whatever can be read as one array; `DataError` where its items have several shapes."""
    given = adapters.read(data, name)
    try:
        return np.asarray(given.toarray() if hasattr(given, "toarray") else given)
    except ValueError:
        raise DataError(f"{name} must be one array, got items of several shapes") from None


def check_same_sizes(x: Tensor, x_mask: Tensor | None, y_mask: Tensor | None, name: str) -> None:
    """Raise `DataError` where pictures of several sizes have targets of others; True in a mask is data."""
    if x_mask is None and y_mask is None:
        return
    given = [x.new_ones(x.shape[:-1], dtype=torch.bool) if mask is None else mask for mask in (x_mask, y_mask)]
    if given[0].shape != given[1].shape or torch.equal(*given):
        return
    number = int((given[0] != given[1]).flatten(1).any(1).nonzero()[0])
    wanted, got = (tuple(int(i) + 1 for i in mask[number].nonzero().amax(0)) for mask in given)
    raise DataError(f"{name}[{number}] must have the size of X[{number}], {wanted}, got {got}")


def check_finite(scaled: Tensor, name: str) -> tuple[float, float] | None:
    """The least and the greatest value, or `DataError` where scaling made infinite what was finite."""
    if not scaled.is_floating_point():
        return None
    low, high = (float(end) for end in scaled.aminmax())
    if not math.isfinite(low) or not math.isfinite(high):
        kind = str(scaled.dtype).removeprefix("torch.")
        raise DataError(f"{name} must hold numbers that {kind} can hold after scaling, got some that overflow it")
    return low, high


def check_targets(
    model: EncoderDecoder, scaled: Batch, name: str = "X", ends: tuple[float, float] | None = None
) -> None:
    """Raise `DataError` where a (scaled) target, whose ends may be known, lies outside what the loss allows."""
    loss, values = model.loss, scaled.x if scaled.y is None else scaled.y
    if loss.bounds is None or not values.is_floating_point():
        return
    low, high = ends or (float(end) for end in values.aminmax())
    inside = not loss.whole and loss.bounds[0] <= low <= high <= loss.bounds[1]  # one pass, where most data end
    if inside or allowed_rows(model, values).all():
        return
    if loss.whole and low >= loss.bounds[0]:
        raise DataError(f"loss {loss.part_name()!r} needs whole numbers (counts) as targets, got fractions in {name}")
    raise DataError(
        f"loss {loss.part_name()!r} needs targets in [{loss.bounds[0]:g}, {loss.bounds[1]:g}], "
        f"got values from {low:g} to {high:g} in {name} (after scaling): scale='min_max' or another loss mends it"
    )


def allowed_rows(model: EncoderDecoder, scaled: Tensor) -> Tensor:
    """Which rows of scaled targets the loss allows, ``(n,)``.

    Scaled to [0, 1] by the training rows, others lie a little outside, and count as they are.
    """
    loss, values = model.loss, scaled.flatten(1)
    allowed = values == values.round() if loss.whole else torch.ones_like(values, dtype=torch.bool)
    if loss.bounds is not None and not isinstance(model.scaler, MinMaxScaler):
        allowed &= (values >= loss.bounds[0]) & (values <= loss.bounds[1])
    return allowed.all(1)


def fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    """Whether a sample has the shape that was fitted, where None is any length."""
    return len(shape) == len(wanted) and all(
        want is None or got == want for got, want in zip(shape, wanted, strict=True)
    )


def columns_of(data: Any, chosen: Callable[[Any, Any, str], bool]) -> str:
    """The names of a frame's columns that the function chooses, by the name of their type."""
    if not (hasattr(data, "dtypes") and hasattr(data, "columns")):
        return ""
    kinds = zip(data.columns, data.dtypes, strict=True)
    return ", ".join(repr(str(column)) for column, kind in kinds if chosen(data, column, str(kind).lower()))


def is_time(data: Any, column: Any, kind: str) -> bool:
    """Whether the column holds dates, times or durations."""
    return kind.startswith(("date", "time", "duration", "period", "interval"))


def is_category(data: Any, column: Any, kind: str) -> bool:
    """Whether the column holds categories, text or other objects that are no numbers."""
    if kind != "object":
        return kind.startswith(("categor", "str", "enum", "utf8", "list", "array", "binary"))
    try:
        np.asarray(data[column]).astype(float)
    except (TypeError, ValueError):
        return True
    return False


def check_weights(rows: Batch, weight: Any, max_repeats: int) -> Batch:
    """Apply sample weights: whole numbers repeat rows, others go along as ``rows.weight``."""
    if weight is None:
        return rows
    try:
        given = np.asarray(adapters.read(weight, "sample_weight"))
        if given.dtype.kind in "cmM":
            raise TypeError(f"got {given.dtype}")
        values = given.astype(np.float64)
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        raise DataError(f"sample_weight must be numbers, one a row: {error}") from None
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
