"""Forecasts: what comes next in a series, from its last steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from isthmus.checks import Check, check_parameters, instance, integer, number, optional
from isthmus.errors import UnsupportedError
from isthmus.estimators.backtesting import Backtest, errors_of, rolling_origins
from isthmus.estimators.intervals import Intervals
from isthmus.estimators.parameters import seed_of
from isthmus.estimators.series_pairs import outputs_of
from isthmus.estimators.timeline import Timeline
from isthmus.estimators.windows import Windows

__all__ = ["Forecasting", "Interval"]

INTERVAL: dict[str, Check] = {
    "coverage": number(0, 1, open_low=True, open_high=True),
    "calibrated": instance(bool, "True or False"),
    "n_paths": integer(2),
}
ROLLING: dict[str, Check] = {
    "start": optional(integer(0)),
    "n_folds": optional(integer(1)),
    "step": optional(integer(1)),
    "season": integer(1),
}


class Interval(NamedTuple):
    """The ends of a prediction interval, each in the kind of the history."""

    lower: Any
    upper: Any


class Forecasting(Intervals):
    """Forecasts from the last window of a series, with intervals, and looks back at many."""

    def _forecasts(self, windows: Windows) -> np.ndarray:
        """What follows each window, ``(n, horizon, D)``."""
        model = self.module_
        return self._over_windows(
            windows, lambda latent: model.loss.mean(outputs_of(model, latent, self.horizon_, self._width))
        )

    def _forecast(self, X: Any, exogenous: Any) -> Any:
        windows, given, single = self._last_windows(X, exogenous)
        return self._as_given(self._forecasts(windows), given, single)

    def _as_given(self, values: np.ndarray, given: Sequence[Timeline], single: bool) -> Any:
        found = [one.after(row, self.frequency_) for one, row in zip(given, values, strict=True)]
        if single:
            return found[0]
        return np.stack(found) if all(isinstance(one.given, np.ndarray) for one in given) else found

    def predict_interval(
        self,
        X: Any,
        coverage: float = 0.9,
        *,
        exogenous: Any = None,
        calibrated: bool = True,
        n_paths: int = 400,
        random_state: Any = 0,
    ) -> Interval:
        """Between which values each of the next steps lies with probability ``coverage``.

        The interval of a step is μ ∓ q σ. μ and σ are what the loss's likelihood says of it: those of the Gaussian
        where a decoder writes all steps at once; of ``n_paths`` drawn futures where it writes step by step, and for
        other likelihoods. A loss that is no likelihood has σ = 1, in the window's own units (``window_scale``).

        q is learnt at the end of `fit` from held-out windows, later than all that was trained on: the
        ⌈(n + 1) · coverage⌉-th smallest of their n scores s = |y − μ| / σ, for each step of the horizon and each
        column (locally weighted split conformal prediction, Lei et al. 2018). The newest windows of X, whose futures
        X holds, take the place of those of `fit`, as many as were held out of a series (as Xu & Xie 2021), or join
        them where they are fewer; so X must not end within the training rows. Where futures are drawn, and with
        ``validation_data``, the scores are those of `fit` alone.

        Were the windows to come like those scored, and independent, the interval would hold at least ``coverage``.
        They overlap and the world moves on, so that it holds about so many: see the shares in the README. Of fewer
        than 20 windows all steps share one q; beyond the largest score, q grows as a normal distribution's quantile.

        Without held-out windows (at least 20 steps of them), and after `partial_fit`, the interval is the
        likelihood's own, which is most often too narrow: training leaves smaller residuals than what follows.

        Parameters
        ----------
        X, exogenous
            As in `predict`.
        coverage : float
            In (0, 1).
        calibrated : bool
            False: the likelihood's own in any case.
        n_paths : int
        random_state : int, RandomState or None
            Of the draws.

        Returns
        -------
        Interval
            ``lower`` and ``upper``, each as `predict` gives a forecast.

        Raises
        ------
        UnsupportedError
            Where the loss is no likelihood and nothing was held out, or the model was not fitted to forecast.
        """
        self._fitted("predict_interval")
        self._need_windows("predict_interval")
        values = {"coverage": coverage, "calibrated": calibrated, "n_paths": n_paths}
        check_parameters("predict_interval", values, INTERVAL)
        windows, given, single = self._last_windows(X, exogenous)
        scores = None
        if calibrated and getattr(self, "interval_scores_", None) is not None:  # earlier versions saved none
            known = self._told(exogenous, given, self.horizon_)
            pairs = [(one.values, told[: len(one.values)]) for one, told in zip(given, known, strict=True)]
            scores = [self._scores_for(*pair) for pair in pairs]
        ends = self._interval(windows, coverage, n_paths, seed_of(random_state), scores)
        return Interval(*(self._as_given(ends[:, i], given, single) for i in range(2)))

    def _window_codes(self, X: Any, exogenous: Any) -> np.ndarray:
        """Of the last window of each series."""
        rows, model = self._batch(self._last_windows(X, exogenous)[0])[0], self.module_.eval()
        with torch.no_grad():
            batch = rows._replace(y=None).map(lambda field: field.to(model.device))
            return model.encode(batch, noise=torch.zeros_like)[2].z.float().cpu().numpy()  # type: ignore[no-any-return]

    def _window_scores(self, X: Any, exogenous: Any) -> np.ndarray:
        """Of each window in turn: log p of its target, nats, a density of the data as given; or minus the loss."""
        windows = self._windows_of(X, exogenous)
        rows, _, spread = self._batch(windows)
        scores = self._pair_scores(rows)
        if self.module_.loss.is_likelihood:
            scores -= self.horizon_ * spread.log().sum((1, 2)).numpy()
        return scores

    def backtest(
        self,
        X: Any,
        *,
        start: int | None = None,
        n_folds: int | None = None,
        step: int | None = None,
        season: int = 1,
        exogenous: Any = None,
    ) -> Backtest:
        """Forecasts from origins that move through X, beside what came; the model is not fitted again.

        From each origin only the ``window`` steps before it are seen. Give origins after the training rows: errors
        on those flatter.

        Parameters
        ----------
        X : series, or list of series
            As in `fit`.
        start : int, optional
            Position of the first origin, the first step that is forecast.
        n_folds : int, optional
            So many origins, the last of them ``horizon`` steps before the end.
        step : int, optional
            From one origin to the next; None: ``horizon``.
        season : int
            Steps of the seasonal naive forecast, y_t = y_{t − season}, that MASE divides by.
        exogenous : like X, optional
            Known at all steps of X.

        Returns
        -------
        Backtest
            See `isthmus.estimators.backtesting.Backtest`.
        """
        self._fitted("backtest")
        self._need_windows("backtest")
        values = {"start": start, "n_folds": n_folds, "step": step, "season": season}
        check_parameters("backtest", values, ROLLING)
        given, _ = self._read_known(X, "X")
        known, series = self._told(exogenous, given, 0), [one.values for one in given]
        lengths = [len(one) for one in series]
        windows = self._cut(series, known, rolling_origins(lengths, self.window_, self.horizon_, start, n_folds, step))
        forecasts, truth = self._forecasts(windows), windows.future
        errors = errors_of(forecasts, truth, series, windows.series, windows.origin, season)
        labels = [
            given[i].label(place) for i, place in zip(windows.series.tolist(), windows.origin.tolist(), strict=True)
        ]
        if len(self._sample_shape) == 1:
            forecasts, truth = forecasts[..., 0], truth[..., 0]
        return Backtest(forecasts, truth, errors, labels)

    def _need_windows(self, method: str) -> None:
        if self._layout != "windows":
            raise UnsupportedError(f"{method} needs a model of windows, such as Seq2Seq(window=48, horizon=12), fitted")
