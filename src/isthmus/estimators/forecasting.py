"""Forecasts: what comes next in a series, from its last steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus.checks import Check, check_parameters, integer, number, optional
from isthmus.errors import UnsupportedError
from isthmus.estimators.backtesting import Backtest, errors_of, rolling_origins
from isthmus.estimators.parameters import seed_of
from isthmus.estimators.series_pairs import outputs_of
from isthmus.estimators.timeline import Timeline
from isthmus.estimators.window_rows import WindowRows
from isthmus.estimators.windows import Windows
from isthmus.losses import GaussianNLL
from isthmus.model import repeat_rows
from isthmus.training.rng import isolated_rng
from isthmus.types import Latent

__all__ = ["Forecasting", "Interval"]

NUMBERS = 2**18
"""Of the windows in a chunk."""
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


class Forecasting(WindowRows):
    """Forecasts from the last window of a series, with intervals, and looks back at many."""

    @torch.no_grad()
    def _over_windows(self, windows: Windows, function: Callable[[Latent], Tensor], copies: int = 1) -> np.ndarray:
        """The function's rows in the user's units; it gives ``(B, …, horizon, D)`` in the network's."""
        model = self.module_.eval()
        rows, shift, spread = self._batch(windows)
        size, parts = max(1, NUMBERS // (rows.x[0].numel() * copies)), []
        for start in range(0, len(rows.x), size):
            chunk = rows._replace(y=None).map(lambda field: field[start : start + size].to(model.device))  # noqa: B023
            found = function(model.encode(chunk, noise=torch.zeros_like)[2])
            parts.append(self.target_scaler_.inverse(found.double().cpu()))
        values = torch.cat(parts)
        between = [1] * (values.dim() - 3)
        shift, spread = (one.view(len(one), *between, *one.shape[1:]) for one in (shift, spread))
        return (values * spread + shift).numpy()

    def _forecasts(self, windows: Windows) -> np.ndarray:
        """What follows each window, ``(n, horizon, D)``."""
        model, width = self.module_, windows.past.shape[-1]
        return self._over_windows(
            windows, lambda latent: model.loss.mean(outputs_of(model, latent, self.horizon_, width))
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
        self, X: Any, coverage: float = 0.9, *, exogenous: Any = None, n_paths: int = 400, random_state: Any = 0
    ) -> Interval:
        """Between which values each of the next steps lies with probability ``coverage``, by the loss's likelihood.

        A decoder that writes all steps at once gives each a Gaussian, whose quantiles are known. One that writes
        step by step draws ``n_paths`` futures, and the quantiles are those of the draws.

        Parameters
        ----------
        X, exogenous
            As in `predict`.
        coverage : float
            In (0, 1).
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
            Where the loss is no likelihood, or the model was not fitted to forecast.
        """
        model = self._fitted("predict_interval")
        self._need_windows("predict_interval")
        allowed: dict[str, Check] = {"coverage": number(0, 1, open_low=True, open_high=True), "n_paths": integer(2)}
        check_parameters("predict_interval", {"coverage": coverage, "n_paths": n_paths}, allowed)
        if not model.loss.is_likelihood:
            raise UnsupportedError(
                f"predict_interval needs a likelihood, such as loss='gaussian_nll', got {model.loss.part_name()!r}"
            )
        windows, given, single = self._last_windows(X, exogenous)
        ends = self._quantiles(windows, coverage, n_paths, seed_of(random_state))
        return Interval(*(self._as_given(ends[:, i], given, single) for i in range(2)))

    def _quantiles(self, windows: Windows, coverage: float, n_paths: int, seed: int) -> np.ndarray:
        """The lower and the upper end, ``(n, 2, horizon, D)``."""
        model, width = self.module_, windows.past.shape[-1]
        loss = model.loss
        if isinstance(loss, GaussianNLL) and not model.decoder.stepwise:
            z = math.sqrt(2) * float(torch.erfinv(torch.tensor(coverage, dtype=torch.float64)))

            def ends(latent: Latent) -> Tensor:
                mean, log_variance = loss.moments(outputs_of(model, latent, self.horizon_, width))
                half = z * (0.5 * log_variance).exp()
                return torch.stack([mean - half, mean + half], 1)

            return self._over_windows(windows, ends)
        share = torch.tensor([(1 - coverage) / 2, (1 + coverage) / 2], dtype=torch.float64)

        def drawn(latent: Latent) -> Tensor:
            steps: list[Tensor] = []

            def choose(output: Tensor) -> Tensor:
                steps.append(loss.sample(output))
                return steps[-1]

            output = outputs_of(model, repeat_rows(latent, n_paths), self.horizon_, width, choose=choose)
            paths = torch.stack(steps, 1) if steps else loss.sample(output)
            return paths.double().unflatten(0, (-1, n_paths)).quantile(share.to(paths.device), 1).movedim(0, 1)

        with isolated_rng(seed, model.device):
            return self._over_windows(windows, drawn, n_paths)

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
