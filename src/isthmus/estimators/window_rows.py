"""Series as rows: windows with what follows them, in the network's units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DataError, ParameterError
from isthmus.estimators.atomic import all_or_nothing
from isthmus.estimators.resuming import checkpoints_of
from isthmus.estimators.series_pairs import SeriesPairs
from isthmus.estimators.timeline import Timeline, read_timelines
from isthmus.estimators.windows import STILL, Windows, cut_at, level, origins_of, split_by_time
from isthmus.scalers import StandardScaler
from isthmus.types import Batch, Space

__all__ = ["WindowRows"]

AUTO_SCALE = "last"
"""Chosen on the series of ``benchmarks/series.py``."""


class WindowRows(SeriesPairs):
    """Reads series, checks what is known ahead of time, and cuts both into rows."""

    window: int | None
    horizon: int | None
    stride: int
    window_scale: str | None
    window_: int
    horizon_: int
    window_scale_: str | None
    still_: np.ndarray
    columns_: list[str] | None
    exogenous_columns_: list[str] | None
    exogenous_scaler_: StandardScaler | None
    frequency_: str | None
    interval_scores_: np.ndarray | None

    # ------------------------------------------------------------------ training

    def _fit_windows(self, X: Any, exogenous: Any, validation_data: Any, resume: bool) -> Self:
        self._check()
        with all_or_nothing(self), checkpoints_of(self, resume) as checkpoints:
            series, known, _ = self._learn_series(X, exogenous)
            lengths = [len(values) for values in series]
            fraction = self.validation_fraction if validation_data is None else 0.0
            train, held = split_by_time(lengths, self.window_, self.horizon_, self.stride, fraction)
            windows = self._cut(series, known, train)
            self._need_two(windows, series)
            tested = self._cut(series, known, held)
            if validation_data is not None:
                pair = validation_data if isinstance(validation_data, tuple) else (validation_data, None)
                if len(pair) != 2:
                    raise DataError(f"validation_data must be series or a pair (series, exogenous), got {len(pair)}")
                tested = self._windows_of(*pair, name="validation_data")
            self._learn_units(windows)
            rows = self._batch(windows)[0]
            given = self._batch(tested)[0] if len(tested) else None
            self._fit(rows, None, None, given, checkpoints)
            self._calibrate(tested, min((len(origins) for origins in held if len(origins)), default=0))
            return self

    def _calibrate(self, held: Windows, recent: int) -> None:
        """Learn from the windows held out what training cannot tell."""

    def _window_rows(self, X: Any, exogenous: Any, reset: bool) -> Batch:
        """Every window of X, for one epoch of ``partial_fit``."""
        if not reset:
            windows = self._windows_of(X, exogenous)
        else:
            series, known, _ = self._learn_series(X, exogenous)
            lengths = [len(values) for values in series]
            train, _ = split_by_time(lengths, self.window_, self.horizon_, self.stride, 0)
            windows = self._cut(series, known, train)
            self._need_two(windows, series)
            self._learn_units(windows)
        self.interval_scores_ = None  # of weights that will be others
        return self._batch(windows)[0]

    def _need_two(self, windows: Windows, series: Sequence[np.ndarray]) -> None:
        """Raise `DataError` where there are no two windows to learn from."""
        if len(windows) > 1:
            return
        longest, wide = max(map(len, series)), series[0].shape[1]
        several = "; several series are a list, or (n, T, D)" if wide > longest and len(series) == 1 else ""
        apart = f", stride={self.stride} apart" if self.stride > 1 else ""
        raise DataError(
            f"X must have at least {self.window_ + self.horizon_ + self.stride} time steps, for two windows of "
            f"window={self.window_} and horizon={self.horizon_}{apart}, got {longest}{several}"
        )

    def _learn_series(self, X: Any, exogenous: Any) -> tuple[list[np.ndarray], list[np.ndarray], bool]:
        """Values and what is known, ``(T, D)`` and ``(T, E)`` of each series; their shape is remembered."""
        given, single = read_timelines(X, "X")
        assert self.window is not None
        assert self.horizon is not None
        self._forget()
        self._layout, self.window_, self.horizon_ = "windows", self.window, self.horizon
        self.interval_scores_ = None
        width = given[0].values.shape[1]
        self._sample_shape = (self.window,) if given[0].flat else (self.window, width)
        self.columns_ = given[0].columns
        self.frequency_ = [one.check() for one in given][0] or None  # noqa: RUF015
        self.exogenous_columns_, self.exogenous_scaler_ = None, None
        if exogenous is None:
            return [one.values for one in given], [np.zeros((len(one.values), 0)) for one in given], single
        told = self._matched(exogenous, given, 0)
        self.exogenous_columns_ = told[0].columns
        self.exogenous_scaler_ = StandardScaler().build(Space((None, told[0].values.shape[1])))
        return [one.values for one in given], [one.values for one in told], single

    def _learn_units(self, windows: Windows) -> None:
        """From the windows of training alone: how much a column moves, and the units of what is known."""
        width = windows.past.shape[-1]
        spread = windows.past.reshape(-1, width).std(0)
        self.still_ = STILL * np.where(spread > 0, spread, 1 / STILL)
        self.window_scale_ = self.window_scale
        if self.window_scale == "auto":
            bounded = self._loss_for(Batch(torch.zeros(1, 1, 1))).bounds is not None
            self.window_scale_ = None if bounded else AUTO_SCALE
        if self.exogenous_scaler_ is not None:
            self.exogenous_scaler_.fit(torch.from_numpy(windows.known_past))

    def _cut(self, series: Sequence[np.ndarray], known: Sequence[np.ndarray], origins: Sequence[np.ndarray]) -> Windows:
        return cut_at(series, known, origins, self.window_, self.horizon_)

    def _batch(self, windows: Windows) -> tuple[Batch, Tensor, Tensor]:
        """Windows as rows, and what was subtracted from each and divided by, ``(n, 1, D)``.

        What is known of the past stands beside it; what is known of the future, flattened, is the condition.
        """
        shift, spread = level(windows.past, self.window_scale_, self.still_)
        x, y = (torch.from_numpy((part - shift) / spread) for part in (windows.past, windows.future))
        condition = None
        if self.exogenous_scaler_ is not None:
            past, future = (
                self.exogenous_scaler_(torch.from_numpy(part))[0] for part in (windows.known_past, windows.known_future)
            )
            x, condition = torch.cat([x, past], -1), future.flatten(1).float()
        return Batch(x, y, condition=condition), torch.from_numpy(shift), torch.from_numpy(spread)

    # ------------------------------------------------------------------ reading what is to be forecast

    def _read_known(self, X: Any, name: str) -> tuple[list[Timeline], bool]:
        """Series like those of training."""
        given, single = read_timelines(X, name)
        flat, width = len(self._sample_shape) == 1, self._sample_shape[-1]
        for one in given:
            if one.flat is not flat or (not flat and one.values.shape[1] != width):
                wanted, got = "(T,)" if flat else f"(T, {width})", "(T,)" if one.flat else ("T", one.values.shape[1])
                raise DataError(f"{one.name} must be a series {wanted}, as in training, got {got}".replace("'", ""))
            if self.columns_ is not None and one.columns is not None and one.columns != self.columns_:
                raise DataError(f"{one.name} must have the columns {self.columns_}, got {one.columns}")
        return given, single

    def _matched(self, exogenous: Any, given: Sequence[Timeline], ahead: int) -> list[Timeline]:
        """What is known of each series, over its steps and ``ahead`` more."""
        told, _ = read_timelines(exogenous, "exogenous")
        if len(told) != len(given):
            raise DataError(f"exogenous must hold one for each of the {len(given)} series, got {len(told)}")
        for one, other in zip(told, given, strict=True):
            if len(one.values) != len(other.values) + ahead:
                wanted = f"{len(other.values)} steps of {other.name}" + (
                    f" and the {ahead} after them" if ahead else ""
                )
                raise DataError(f"{one.name} must cover the {wanted}, got {len(one.values)} steps")
            if (place := one.parts_from(other)) is not None:
                got = f"{one.label(place)} beside {other.label(place)}"
                raise DataError(f"{one.name} must have the times of {other.name}, got {got}")
        return told

    def _told(self, exogenous: Any, given: Sequence[Timeline], ahead: int) -> list[np.ndarray]:
        """The columns known at all times, ``(T + ahead, E)`` of each series; without them E is 0."""
        if self.exogenous_scaler_ is None:
            if exogenous is not None:
                raise DataError("exogenous must be left out, since the model was fitted without it")
            return [np.zeros((len(one.values) + ahead, 0)) for one in given]
        width = len(self.exogenous_scaler_.shift)
        if exogenous is None:
            raise DataError(f"exogenous must be given: the model was fitted with {width} such columns")
        told = self._matched(exogenous, given, ahead)
        for one in told:
            if one.values.shape[1] != width:
                raise DataError(f"{one.name} must have {width} columns, as in training, got {one.values.shape[1]}")
            if None not in (one.columns, self.exogenous_columns_) and one.columns != self.exogenous_columns_:
                raise DataError(f"{one.name} must have the columns {self.exogenous_columns_}, got {one.columns}")
        return [one.values for one in told]

    def _windows_of(self, X: Any, exogenous: Any, name: str = "X") -> Windows:
        """Every ``stride``-th window of X with its target."""
        given, _ = self._read_known(X, name)
        known = self._told(exogenous, given, 0)
        series = [one.values for one in given]
        origins = [origins_of(len(values), self.window_, self.horizon_, self.stride) for values in series]
        if not sum(map(len, origins)):
            least = self.window_ + self.horizon_
            raise DataError(f"{name} must have at least window + horizon = {least} steps, got {max(map(len, series))}")
        return self._cut(series, known, origins)

    def _last_windows(self, X: Any, exogenous: Any) -> tuple[Windows, list[Timeline], bool]:
        """The last window of each series; its future is not known, and is left 0."""
        given, single = self._read_known(X, "X")
        for one in given:
            if len(one.values) < self.window_:
                raise DataError(f"{one.name} must have at least window={self.window_} steps, got {len(one.values)}")
        known = self._told(exogenous, given, self.horizon_)
        series = [np.pad(one.values, ((0, self.horizon_), (0, 0))) for one in given]
        return self._cut(series, known, [np.array([len(one.values)]) for one in given]), given, single

    def _check_windows(self) -> None:
        """Raise `ParameterError` where window and horizon are not given together, or beside what has no place there."""
        if (self.window is None) != (self.horizon is None):
            raise ParameterError(f"window and horizon must be given together, got {self.window} and {self.horizon}")
        if self.window is not None and self.validation_metrics:  # type: ignore[attr-defined]
            raise ParameterError("validation_metrics must be empty where window is given: they are of texts")
        if self.window is not None and self.batch_tokens is not None:  # type: ignore[attr-defined]
            raise ParameterError("batch_tokens must be None where window is given: windows are alike in length")
