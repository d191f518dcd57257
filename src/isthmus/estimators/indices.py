"""What comes after an index of pandas, or after a column of times of polars."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from isthmus.errors import DataError

__all__ = ["continued", "frequency", "polars_times"]


def frequency(index: Any, name: str) -> str | None:
    """Of an index of pandas: "" where it needs none, None where it is too short to tell."""
    import pandas as pd

    ordered = isinstance(index, (pd.PeriodIndex, pd.DatetimeIndex, pd.TimedeltaIndex))
    if (ordered or pd.api.types.is_integer_dtype(index.dtype)) and len(index) > 1 and index[-1] < index[0]:
        way = f"got {index[0]} to {index[-1]}; {name}.sort_index()"
        raise DataError(f"{name} must have an index that goes forward, {way}")
    if isinstance(index, pd.PeriodIndex) and (np.diff(index.asi8) != 1).any():
        raise DataError(f"{name} must have an index of periods one after another, got some left out or twice")
    if isinstance(index, (pd.RangeIndex, pd.PeriodIndex)):
        return ""
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        if index.freq is not None:
            return str(index.freqstr)
        if len(index) < 3:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pandas announces that it will give an offset, which has a freqstr
                found = pd.infer_freq(index)
        except (TypeError, ValueError):
            found = None
        if found is None:
            raise DataError(
                f"{name} must have an index whose frequency can be inferred, got steps of several lengths: "
                f"{name}.asfreq(...).interpolate() makes them one"
            )
        return str(getattr(found, "freqstr", found))
    steps = np.diff(np.asarray(index)) if pd.api.types.is_integer_dtype(index.dtype) else np.arange(2)
    if len(set(steps.tolist())) > 1 or 0 in steps:
        raise DataError(
            f"{name} must have an index of times or of whole numbers, one step apart, got {index.dtype}; "
            f"pandas.to_datetime({name}.index) reads dates, {name}.reset_index(drop=True) counts from 0"
        )
    return ""


def continued(index: Any, n: int, known: str | None, name: str) -> Any:
    """The next n entries of an index of pandas."""
    import pandas as pd

    found = frequency(index, name)
    if found is None and not known:
        raise DataError(f"{name} must have an index whose frequency can be inferred, got {len(index)} entries")
    if isinstance(index, pd.PeriodIndex):
        return pd.period_range(index[-1] + 1, periods=n, name=index.name)
    if isinstance(index, pd.DatetimeIndex):
        return pd.date_range(index[-1], periods=n + 1, freq=found or known, name=index.name)[1:]
    if isinstance(index, pd.TimedeltaIndex):
        return pd.timedelta_range(index[-1], periods=n + 1, freq=found or known, name=index.name)[1:]
    step = int(index[-1] - index[-2]) if len(index) > 1 else 1
    first = int(index[-1]) + step
    return pd.RangeIndex(first, first + n * step, step, name=index.name)


def polars_times(times: Any, n: int, name: str) -> Any:
    """The next n times of a column of polars: one step on, or so many months."""
    import polars as pl

    if len(times) > 1 and times[-1] < times[0]:
        raise DataError(f"{name} must have times that go forward, got {times[0]} to {times[-1]}")
    steps = times.diff().drop_nulls().unique()
    if len(steps) == 1 and len(times) > 1:
        last, step = times[-1], steps[0]
        return pl.Series(times.name, [last + step * (i + 1) for i in range(n)], dtype=times.dtype)
    if len(times) > 2 and times.dt.day().n_unique() == 1:
        months = (times.dt.year().cast(pl.Int64) * 12 + times.dt.month()).diff().drop_nulls().unique()
        if len(months) == 1 and times.dtype in (pl.Date, pl.Datetime):
            last = pl.Series(times.name, [times[-1]], dtype=times.dtype)
            return pl.concat([last.dt.offset_by(f"{int(months[0]) * (i + 1)}mo") for i in range(n)])
    raise DataError(f"{name} must have times whose frequency can be inferred, got steps of several lengths")
