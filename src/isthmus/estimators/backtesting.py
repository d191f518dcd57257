"""Rolling-origin evaluation: forecasts from many origins of a series, and how far off they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from isthmus.errors import DataError, ParameterError

__all__ = ["Backtest", "errors_of", "rolling_origins"]


class Backtest(NamedTuple):
    """Forecasts from k origins, one after another in time, series by series.

    ``forecasts`` and ``truth`` are ``(k, horizon, D)``, or ``(k, horizon)`` of series ``(T,)``. ``errors`` has k
    numbers each of "series" (which of several), "origin" (the position of the first step forecast), "mae", "rmse"
    and "mase": ``pandas.DataFrame(result.errors)`` is a table. ``labels`` are the origins in the index, where
    there is one, else the positions.
    """

    forecasts: np.ndarray
    truth: np.ndarray
    errors: dict[str, np.ndarray]
    labels: list[Any]

    def mean(self) -> dict[str, float]:
        """MAE and MASE averaged over origins, and the root of the mean squared error."""
        mae, rmse, mase = (self.errors[name] for name in ("mae", "rmse", "mase"))
        return {"mae": float(mae.mean()), "rmse": float(np.sqrt(np.square(rmse).mean())), "mase": float(mase.mean())}


def rolling_origins(
    lengths: Sequence[int], window: int, horizon: int, start: int | None, n_folds: int | None, step: int | None
) -> list[np.ndarray]:
    """The origins of each series: every ``step`` from ``start`` on, or the last ``n_folds``."""
    if (start is None) == (n_folds is None):
        raise ParameterError(f"start or n_folds must be given, and not both, got {start!r} and {n_folds!r}")
    step, found = step or horizon, []
    for i, length in enumerate(lengths):
        first = length - horizon - step * (n_folds - 1) if n_folds is not None else start or 0
        if first < window or first + horizon > length:
            asked = f"start={start}" if n_folds is None else f"n_folds={n_folds} and step={step}"
            raise DataError(
                f"X must have window={window} steps before the first origin and horizon={horizon} from it on: "
                f"series {i} has {length} steps, and with {asked} the first origin is {first}"
            )
        found.append(np.arange(first, length - horizon + 1, step))
    return found


def errors_of(
    forecasts: np.ndarray,
    truth: np.ndarray,
    series: Sequence[np.ndarray],
    number: np.ndarray,
    origins: np.ndarray,
    season: int,
) -> dict[str, np.ndarray]:
    """MAE, RMSE and MASE of each origin.

    MASE divides a column's MAE by that of the seasonal naive forecast one step on, mean |y_t − y_{t − season}|,
    over all t before the origin (Hyndman & Koehler 2006), and is their mean over columns; NaN where a series has
    never moved.

    Parameters
    ----------
    forecasts, truth : arrays of shape (k, horizon, D)
    series : sequence of arrays (T, D)
    number, origins : arrays of shape (k,)
        Of which series, and where in it.
    season : int
        Steps.
    """
    missed = forecasts - truth
    scale = np.full((len(origins), truth.shape[-1]), np.nan)
    for i, values in enumerate(series):
        moved = np.abs(values[season:] - values[:-season]).cumsum(0)
        mine = number == i
        seen = origins[mine] - season
        if (seen < 1).any():
            raise ParameterError(f"season must be below the first origin, {origins[mine].min()}, got {season}")
        scale[mine] = moved[seen - 1] / seen[:, np.newaxis]
    relative = np.divide(np.abs(missed).mean(1), scale, out=np.full_like(scale, np.nan), where=scale > 0)
    return {
        "series": number,
        "origin": origins,
        "mae": np.abs(missed).mean((1, 2)),
        "rmse": np.sqrt(np.square(missed).mean((1, 2))),
        "mase": relative.mean(1),
    }
