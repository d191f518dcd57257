"""One series as the user gave it, array or frame, and what comes after it in the same kind."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from isthmus import adapters
from isthmus.errors import DataError
from isthmus.estimators.indices import continued, frequency, polars_times
from isthmus.estimators.sequences import is_text, numbers_of

__all__ = ["Timeline", "read_timelines"]


class Timeline(NamedTuple):
    """Values ``(T, D)`` in float64, and the array, series or frame they are from."""

    values: np.ndarray
    given: Any
    flat: bool
    name: str

    @property
    def columns(self) -> list[str] | None:
        """Of a frame, without its column of times."""
        if not hasattr(self.given, "columns"):
            return None
        return [str(column) for column in self.given.columns if column != time_column(self.given, self.name)]

    def check(self) -> str | None:
        """The frequency of the index, where it has one; `DataError` where it has none that goes on."""
        if is_pandas(self.given):
            return frequency(self.given.index, self.name)
        if (column := time_column(self.given, self.name)) is not None:
            polars_times(self.given[column], 1, self.name)
        return None

    def after(self, values: np.ndarray, known: str | None = None) -> Any:
        """The next values ``(H, D)`` in the same kind, the index continued.

        Parameters
        ----------
        values : array of shape (H, D)
        known : str, optional
            The frequency of an index too short to tell it.
        """
        given = self.given
        if is_pandas(given):
            import pandas as pd

            index = continued(given.index, len(values), known, self.name)
            if self.flat:
                return pd.Series(values[:, 0], index, name=given.name)
            return pd.DataFrame(values, index, columns=given.columns)
        if not is_polars(given):
            return values[:, 0] if self.flat else values
        import polars as pl

        if self.flat:
            return pl.Series(given.name, values[:, 0])
        column = time_column(given, self.name)
        rest = {name: values[:, i] for i, name in enumerate(self.columns or [])}
        if column is None:
            return pl.DataFrame(rest)
        times = polars_times(given[column], len(values), self.name)
        return pl.DataFrame({column: times, **rest}).select(given.columns)

    def parts_from(self, other: Timeline) -> int | None:
        """The first step at which the two have other times, where both have times."""
        mine, theirs = self.times, other.times
        if mine is None or theirs is None:
            return None
        n = min(len(mine), len(theirs))
        apart = np.flatnonzero(mine[:n] != theirs[:n])
        return int(apart[0]) if len(apart) else None

    @property
    def times(self) -> np.ndarray | None:
        """Of each step, where there is an index or a column of dates or times."""
        if is_pandas(self.given):
            index = self.given.index
            return np.asarray(index, dtype=object) if hasattr(index, "freq") else None
        column = time_column(self.given, self.name)
        return None if column is None else np.asarray(self.given[column].to_list(), dtype=object)

    def label(self, place: int) -> Any:
        """The index at a position: what stands there, else the position."""
        if is_pandas(self.given):
            return self.given.index[place]
        column = time_column(self.given, self.name)
        return place if column is None else self.given[column][place]


def is_pandas(data: Any) -> bool:
    """Whether it is a series or frame of pandas."""
    return hasattr(data, "iloc") and hasattr(data, "index")


def is_polars(data: Any) -> bool:
    """Whether it is a series or frame of polars."""
    return type(data).__module__.startswith("polars")


def read_timelines(data: Any, name: str) -> tuple[list[Timeline], bool]:
    """Each series of the data, and whether it was one alone.

    One is ``(T,)`` or ``(T, D)``, an array, a series or a frame; several are a list, or ``(n, T, D)``.
    """
    given = adapters.read(data, name)
    if given is None or isinstance(given, str) or not hasattr(given, "__len__"):
        wanted = "one series (T,) or (T, D), a frame, or a list of series"
        raise DataError(f"{name} must be {wanted}, got {type(given).__name__}")
    several = np.ndim(given) == 3 if isinstance(given, np.ndarray) else isinstance(given, (list, tuple))
    if several and not isinstance(given, np.ndarray) and len(given) and all(np.ndim(item) == 0 for item in given):
        given, several = np.asarray(given), False  # a list of numbers is one series
    if not several:
        return [_read(given, name)], True
    if len(given) == 0:
        raise DataError(f"{name} must hold at least one series, got none")
    read = [_read(item, f"{name}[{i}]") for i, item in enumerate(given)]
    for i, one in enumerate(read):
        if one.values.shape[1] != read[0].values.shape[1] or one.flat != read[0].flat:
            shapes = [np.shape(item.given)[1:] for item in (read[0], one)]
            raise DataError(f"{name}[{i}] must be as wide as {name}[0], {shapes[0]}, got {shapes[1]}")
        if one.columns != read[0].columns:
            raise DataError(f"{name}[{i}] must have the columns of {name}[0], {read[0].columns}, got {one.columns}")
    return read, False


def _read(given: Any, name: str) -> Timeline:
    if hasattr(given, "collect") and is_polars(given):
        given = given.collect()
    column = time_column(given, name)
    if column is not None and is_pandas(given):
        raise DataError(f"{name} must have its times as index, got a column {column!r}; {name}.set_index({column!r})")
    values = given if column is None else given.drop(column)
    if hasattr(values, "columns"):
        for each in values.columns:
            if is_text(values[each]):
                mend = (
                    "dates go into the index, as pandas.to_datetime reads them"
                    if is_pandas(given)
                    else "cast or drop it"
                )
                raise DataError(f"{name} must hold numbers, got texts in column {each!r}; {mend}")
    array = numbers_of(values, name)
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise DataError(f"{name} must be one series, (T,) or (T, D), got shape {array.shape}")
    flat = array.ndim == 1
    return Timeline(np.array(array[:, np.newaxis] if flat else array, dtype=np.float64), given, flat, name)


def time_column(data: Any, name: str) -> str | None:
    """The one column of dates or times of a frame."""
    if not hasattr(data, "columns") or not hasattr(data, "dtypes"):
        return None
    kinds = zip(data.columns, data.dtypes, strict=True)
    found = [column for column, kind in kinds if str(kind).lower().startswith(("date", "time", "period"))]
    if len(found) > 1:
        raise DataError(f"{name} must have one column of times at most, got {found}")
    return found[0] if found else None
