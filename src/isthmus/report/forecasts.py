"""Forecasts from many origins of the series shown, from one pass."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.errors import DataError, UnsupportedError
from isthmus.report.rows import every, taken

if TYPE_CHECKING:
    from isthmus.report.subject import Subject

__all__ = ["COVERAGE", "Forecasts"]

COVERAGE, MOST, STRETCH, PATHS = 0.9, 100, 8, 100
"""Of the intervals; the most origins, evenly spaced; the last of one series, beside them; and the futures of one
origin, where they are drawn."""


class Forecasts:
    """From every ``horizon``-th origin, counted from each series' end, or from some of them.

    Parameters
    ----------
    subject : Subject
        Of a model that forecasts.

    Attributes
    ----------
    values : list of arrays (T, D)
    longest, last : int, and array
        The series with most steps, and which of the forecasts are its last.
    series, origin : arrays of shape (k,)
        Of which series, and the first step forecast.
    forecast, truth, naive : arrays of shape (k, horizon, D)
        ``naive`` repeats the last value seen.
    lower, upper : arrays of shape (k, horizon, D), or None
        Ends of the intervals, where the model has some.
    """

    def __init__(self, subject: Subject) -> None:
        line = subject.line
        self.window, horizon = line.window_, line.horizon_
        self.timelines = subject.rows
        self.values = [one.values for one in self.timelines]
        known = None if subject.known is None else taken(line._told(subject.known, *_all(subject)), subject.index)
        if subject.known is None:
            line._told(None, self.timelines, 0)  # refuses where the model was fitted with such columns
        places = [
            (number, origin)
            for number, values in enumerate(self.values)
            for origin in range(len(values) - horizon, self.window - 1, -horizon)[::-1]
        ]
        if not places:
            raise DataError(f"X must have at least window + horizon = {self.window + horizon} steps to show a forecast")
        longest = max(range(len(self.values)), key=lambda number: (len(self.values[number]), -number))
        last = [place for place, (number, _) in enumerate(places) if number == longest][-STRETCH:]
        chosen = [places[place] for place in sorted({*every(len(places), MOST).tolist(), *last})]
        self.longest, self.last = longest, np.array([chosen.index(places[place]) for place in last])
        self.series, self.origin = (np.array(one) for one in zip(*chosen, strict=True))
        histories = [self._as_given(number, origin) for number, origin in chosen]
        told = {} if known is None else {"exogenous": [known[i][: origin + horizon] for i, origin in chosen]}
        self.truth = np.stack([self.values[i][origin : origin + horizon] for i, origin in chosen])
        self.naive = np.stack([self.values[i][origin - 1 : origin] for i, origin in chosen]).repeat(horizon, 1)
        self.forecast = self._stacked(line.predict(histories, **told))
        self.lower = self.upper = None
        try:
            ends = line.predict_interval(histories, COVERAGE, n_paths=PATHS, **told)
        except UnsupportedError:
            return
        self.lower, self.upper = (self._stacked(end) for end in ends)

    def _as_given(self, number: int, end: int) -> np.ndarray:
        values: np.ndarray = self.values[number][:end]
        return values[:, 0] if self.timelines[number].flat else values

    def _stacked(self, found: Any) -> np.ndarray:
        return np.stack([np.reshape(one, self.truth.shape[1:]) for one in found])

    @cached_property
    def error(self) -> np.ndarray:
        """Forecast less what came, ``(k, horizon, D)``."""
        difference: np.ndarray = self.forecast - self.truth
        return difference

    @cached_property
    def mae(self) -> np.ndarray:
        """Mean absolute error of each forecast, ``(k,)``."""
        return np.asarray(np.abs(self.error).mean((1, 2)))

    @cached_property
    def inside(self) -> np.ndarray | None:
        """Whether a step came within its interval, ``(k, horizon, D)``."""
        if self.lower is None or self.upper is None:
            return None
        return np.asarray((self.truth >= self.lower) & (self.truth <= self.upper))

    @property
    def share(self) -> str:
        """Of all steps, within their intervals."""
        return "–" if self.inside is None else f"{100 * self.inside.mean():.0f} %"

    @property
    def channel(self) -> int:
        """The one that varies most."""
        return int(np.concatenate(self.values).std(0).argmax())

    @property
    def names(self) -> list[str]:
        """Of the channels."""
        return self.timelines[0].columns or [str(place) for place in range(self.truth.shape[-1])]

    def times(self, number: int) -> Any:
        """When each step of a series was: dates, where it has them, else positions."""
        times, steps = self.timelines[number].times, range(len(self.values[number]))
        if times is None or not all(hasattr(time, "isoformat") and hasattr(time, "year") for time in times[:1]):
            return steps
        return np.array([getattr(time, "to_pydatetime", lambda time=time: time)() for time in times])

    def label(self, place: int) -> str:
        """Where a forecast begins, as its series says."""
        number, origin = int(self.series[place]), int(self.origin[place])
        said = str(self.timelines[number].label(origin)).removesuffix(" 00:00:00")
        return f"series {number}, from {said}" if len(self.values) > 1 else f"from {said}"


def _all(subject: Subject) -> tuple[Any, int]:
    """All series given, for what is known beside each."""
    return subject.line._read_known(subject.given, "X")[0], 0
