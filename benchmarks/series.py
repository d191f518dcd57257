"""Series: forecasts of real ones beside simpler methods, what a classifier reads from a code, and an anomaly.

    pip install pmdarima aeon                                # bring the series
    python benchmarks/series.py [--parts forecast codes anomaly] [--seeds 3]     # about ten minutes on one thread

Part "forecast": half-hourly electricity demand of England and Wales (Taylor 2003; 12 weeks, the last 3 held out; a
week to a day ahead) and monthly sunspots since 1749 (the last quarter held out; 22 years to a year ahead). Every
method sees the same windows of the training part, and forecasts from the same origins of the rest, none of which it
has seen. The linear autoregression is a ridge regression of the horizon on the window, of the values as they are or
less the window's last one; its penalty is chosen by leave-one-out. Intervals are asked from the same origins; how they
are calibrated was chosen on stretches of the training part. ``Seq2Seq`` has its defaults, and each way of
``window_scale``. Parts "codes" and "anomaly" are told of in ``series_codes.py``. Each part writes its own of
``benchmarks/results/series.json``.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from series_codes import anomaly, codes
from sklearn.linear_model import RidgeCV

from isthmus import Seq2Seq
from isthmus.estimators.backtesting import errors_of

RESULT = Path(__file__).parent / "results" / "series.json"
COVERAGE = 0.9
"""Of the prediction intervals."""


class Task(NamedTuple):
    """A series ``(T,)``, its unit, and what is asked of it, in steps."""

    name: str
    series: np.ndarray
    unit: str
    window: int
    horizon: int
    season: int
    start: int

    @property
    def origins(self) -> np.ndarray:
        """Every horizon from the start on, so that each held-out step is forecast once."""
        return np.arange(self.start, len(self.series) - self.horizon + 1, self.horizon)


# ---------------------------------------------------------------------- the series


def package() -> Path:
    """Where pmdarima keeps its series; they are read as they lie, without its import."""
    found = importlib.util.find_spec("pmdarima")
    if found is None or found.origin is None:
        raise SystemExit("series.py needs the series of pmdarima: pip install pmdarima")
    return Path(found.origin).parent / "datasets"


def array_in(source: str) -> np.ndarray:
    """The numbers of the first ``np.array([...])`` in Python source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.array":
            return np.array(ast.literal_eval(node.args[0]), dtype=float)
    raise ValueError("no np.array([...]) in the source")


def tasks(folder: Path) -> list[Task]:
    """Electricity demand in GW, and sunspots."""
    demand = array_in((folder / "taylor.py").read_text(encoding="utf-8")) / 1000
    with gzip.open(folder / "data" / "sunspots.txt.gz") as file:
        sunspots = np.loadtxt(file).ravel()
    return [
        Task("electricity", demand, "GW", 7 * 48, 48, 7 * 48, 9 * 7 * 48),
        Task("sunspots", sunspots, "spots", 264, 12, 132, 2112),
    ]


# ---------------------------------------------------------------------- the methods


def seasonal_naive(task: Task) -> np.ndarray:
    """y_t = y_{t − season}, the last season repeated, ``(k, horizon)``."""
    steps = np.arange(task.horizon) % task.season
    return task.series[task.origins[:, np.newaxis] - task.season + steps]


def linear(task: Task, less_last: bool) -> np.ndarray:
    """Ridge regression of the horizon on the window, ``(k, horizon)``."""
    known = np.arange(task.window, task.start - task.horizon + 1)
    past, future = (
        task.series[known[:, np.newaxis] + np.arange(*ends)] for ends in ((-task.window, 0), (0, task.horizon))
    )
    seen = task.series[task.origins[:, np.newaxis] + np.arange(-task.window, 0)]
    level, new = (rows[:, -1:] if less_last else np.full((len(rows), 1), past.mean()) for rows in (past, seen))
    spread = past.std()
    model = RidgeCV(np.logspace(-4, 4, 17)).fit((past - level) / spread, (future - level) / spread)
    found: np.ndarray = model.predict((seen - new) / spread) * spread + new
    return found


def forecaster(task: Task, seed: int, **parameters: Any) -> Seq2Seq:
    """The defaults, on the training part."""
    model = Seq2Seq(window=task.window, horizon=task.horizon, random_state=seed, **parameters)
    return model.fit(task.series[: task.start])


def measured(task: Task, forecasts: np.ndarray) -> dict[str, float]:
    """MAE, RMSE and MASE over all origins."""
    truth = task.series[task.origins[:, np.newaxis] + np.arange(task.horizon)]
    number = np.zeros(len(truth), dtype=int)
    series = [task.series[:, np.newaxis]]
    found = errors_of(forecasts[..., np.newaxis], truth[..., np.newaxis], series, number, task.origins, task.season)
    rmse = float(np.sqrt(np.square(found["rmse"]).mean()))
    return {"mae": float(found["mae"].mean()), "rmse": rmse, "mase": float(found["mase"].mean())}


def covered(task: Task, seed: int) -> dict[str, float]:
    """Share of the held-out steps within their interval: by a Gaussian likelihood, calibrated or alone; by default."""
    histories = [task.series[:origin] for origin in task.origins]
    truth = task.series[task.origins[:, np.newaxis] + np.arange(task.horizon)]

    def share(model: Seq2Seq, **more: bool) -> float:
        lower, upper = model.predict_interval(histories, COVERAGE, **more)
        return float(((truth >= np.stack(lower)) & (truth <= np.stack(upper))).mean())

    likely = forecaster(task, seed, loss="gaussian_nll")
    return {
        "gaussian_nll": share(likely),
        "gaussian_nll, not calibrated": share(likely, calibrated=False),
        "squared_error (default)": share(forecaster(task, seed)),
    }


def forecast(seeds: int, console: Console) -> dict[str, Any]:
    """Every task by every method; of `Seq2Seq` the mean over seeds, and each seed's MAE."""
    result = {}
    for task in tasks(package()):
        methods = {
            "seasonal naive": measured(task, seasonal_naive(task)),
            "ridge": measured(task, linear(task, False)),
            "ridge, less the last value": measured(task, linear(task, True)),
        }
        for way in ("last", "mean", None):
            runs = []
            for seed in range(seeds):
                model = forecaster(task, seed, window_scale=way)
                runs.append(measured(task, model.backtest(task.series, start=task.start).forecasts))
            name = f"Seq2Seq, window_scale={way!r}" + (" (default)" if way == "last" else "")
            methods[name] = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
            methods[name]["mae_by_seed"] = [run["mae"] for run in runs]
        shares = [covered(task, seed) for seed in range(seeds)]
        share = {name: [one[name] for one in shares] for name in shares[0]}
        result[task.name] = {
            **{"unit": task.unit, "steps": len(task.series), "window": task.window, "horizon": task.horizon},
            **{"season": task.season, "origins": len(task.origins), "methods": methods},
            **{"coverage_asked": COVERAGE, "coverage": share},
        }
        show(task, methods, share, console)
    return result


def show(task: Task, methods: dict[str, dict[str, Any]], share: dict[str, list[float]], console: Console) -> None:
    """A row a method."""
    table = Table(title=f"{task.name}: {task.horizon} steps ahead from {len(task.origins)} origins, {task.unit}")
    for column, head in enumerate(("forecast by", "MAE", "RMSE", "MASE")):
        table.add_column(head, justify="right" if column else "left")
    for name, found in methods.items():
        table.add_row(name, *(f"{found[key]:.3f}" for key in ("mae", "rmse", "mase")))
    console.print(table)
    for name, held in share.items():
        said = ", ".join(f"{one:.0%}" for one in held)
        console.print(f"intervals of {COVERAGE:.0%} by {name} hold {said}", style="dim")


PARTS: dict[str, Callable[[int, Console], dict[str, Any]]] = {"forecast": forecast, "codes": codes, "anomaly": anomaly}


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(given)
    for name in options.parts:
        found = PARTS[name](options.seeds, Console())
        result = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
        options.out.write_text(json.dumps({**result, name: found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
