"""What a training step costs on this machine, where its time goes, and which settings make it fastest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch

from isthmus.checks import check_parameters, instance, number
from isthmus.errors import ParameterError
from isthmus.optimizers import LBFGS
from isthmus.training.allocator import VARIABLE, keep_freed_memory
from isthmus.training.callbacks import Callback
from isthmus.training.environment import environment
from isthmus.training.loop import Loop
from isthmus.training.rule import AS_WRITTEN, COMPILED, REPLAYED, Decision
from isthmus.training.step import Run, compiled_step, eager_step, replayed_step
from isthmus.training.step_parts import ROUNDS, gigaflops, matrix_peak, median_of, operators_of, parts_of
from isthmus.training.threads import threads

__all__ = ["Profile", "Timing", "profile", "within_fit"]

WAYS: dict[str, tuple[bool | str, Callable[..., Run]]] = {
    AS_WRITTEN: (False, eager_step),
    REPLAYED: ("replay", replayed_step),
    COMPILED: (True, compiled_step),
}


class Timing(NamedTuple):
    """One way to take a step: its settings, the median milliseconds of a step and the seconds before the first.

    ``note`` says why there are none.
    """

    compile: bool | str
    threads: int
    precision: str
    keeps_freed_memory: bool
    milliseconds: float | None
    build_seconds: float
    note: str = ""


class Profile(NamedTuple):
    """What `profile` found; times are milliseconds a step, ``parts`` and ``operators`` of a step as written."""

    timings: list[Timing]
    parts: dict[str, float]
    operators: dict[str, float]
    gigaflops: float
    matrix_peak: float
    share_of_peak: float
    best: Timing
    advice: str


class _Measured(Exception):
    """Carries the result out of `fit`, whatever copies its callbacks."""

    def __init__(self, found: Any) -> None:
        self.found = found


class _Measuring(Callback):
    """Measures in place of training."""

    def __init__(self, measure: Callable[[Loop], Any]) -> None:
        self.measure = measure

    def on_fit_start(self, loop: Loop) -> None:
        if isinstance(loop.optimizer, LBFGS):
            raise ParameterError("profile: optimizer must be 'adam', 'adamw' or 'sgd', whose steps it times, got LBFGS")
        loop.step.train()
        raise _Measured(self.measure(loop))


def profile(estimator: Any, X: Any, y: Any = None, *, seconds: float = 1.0, compile: bool = True) -> Profile:
    """Time the ways to train this model on these data on this machine.

    Steps as written and replayed, on one thread and on more, in 32 and in 16 bits, with freed memory kept and not, and
    compiled on the better number of threads. The estimator is cloned; neither it nor anything on disk but the
    compiler's own folder is touched.

    Parameters
    ----------
    estimator : estimator
        With the parameters that you mean to fit with. A detector needs an ``estimator``.
    X, y
        As `fit` takes them.
    seconds : float
        Of each measurement, about. The ways take turns, so that a busy machine slows all of them.
    compile : bool
        Whether to time the compiled step too, whose build may take a minute.

    Returns
    -------
    Profile
        Whether freed memory is kept can be compared once in a process: before anything is fitted in it.
    """
    check_parameters("profile", {"seconds": seconds, "compile": compile}, _ALLOWED)
    with environment(VARIABLE, "system"):
        kept_already = keep_freed_memory()
        bare = [] if kept_already else within_fit(estimator, X, y, lambda loop: _bare(loop, seconds))
    found: Profile = within_fit(estimator, X, y, lambda loop: _measured(loop, seconds, compile, bare))
    return found


_ALLOWED = {"seconds": number(0, open_low=True), "compile": instance(bool, "True or False")}


def within_fit(estimator: Any, X: Any, y: Any, measure: Callable[[Loop], Any]) -> Any:
    """What ``measure`` finds of the loop that a clone's `fit` makes, in place of training."""
    from sklearn.base import clone

    params = estimator.get_params() if hasattr(estimator, "get_params") else {}
    prefix = next((prefix for prefix in ("", "estimator__") if f"{prefix}callbacks" in params), None)
    if prefix is None:
        raise ParameterError(f"profile: estimator must be one of this library that trains by steps, got {estimator!r}")
    own = {"callbacks": [_Measuring(measure)], "verbose": False, "checkpoint_dir": None}
    model = clone(estimator).set_params(**{f"{prefix}{name}": value for name, value in own.items()})
    try:
        model.fit(X, y)
    except _Measured as measured:
        return measured.found
    raise ParameterError("profile: the estimator was fitted without a step")


# ------------------------------------------------------------------ the ways to take a step


def _bare(loop: Loop, seconds: float) -> list[Timing]:
    return _timings(loop, [(_fast(loop), torch.get_num_threads(), loop.precision)], seconds)


def _fast(loop: Loop) -> str:
    """The best way that costs no build."""
    return REPLAYED if loop.source.one_shape and loop.parameters[0].device.type == "cpu" else AS_WRITTEN


def _measured(loop: Loop, seconds: float, compile: bool, bare: list[Timing]) -> Profile:
    fast, numbers = _fast(loop), sorted({1, min(2, os.cpu_count() or 1), torch.get_num_threads()})
    ways = [AS_WRITTEN] if fast == AS_WRITTEN else [AS_WRITTEN, REPLAYED]
    asked = [(way, number, loop.precision) for number in numbers for way in ways]
    timings = _timings(loop, asked, seconds)
    first = timings.index(min(timings, key=_cost))
    more = [asked[first]]
    if loop.precision != "64-true":
        more.append((fast, asked[first][1], "32-true" if loop.precision == "bf16-mixed" else "bf16-mixed"))
    if compile and fast == REPLAYED:
        more.append((COMPILED, asked[first][1], loop.precision))
    timings[first], *others = _timings(loop, more, seconds)
    timings += others
    best = min(timings, key=_cost)
    with threads(best.threads):
        peak, work = matrix_peak(), gigaflops(loop)
        parts, operators = parts_of(loop, seconds), operators_of(loop)
    share = work / (1e-3 * _cost(best)) / peak
    return Profile([*bare, *timings], parts, operators, work, peak, share, best, _advice(timings, best))


def _cost(timing: Timing) -> float:
    return float("inf") if timing.milliseconds is None else timing.milliseconds


def _timings(loop: Loop, asked: list[tuple[str, int, str]], seconds: float) -> list[Timing]:
    """Ways, threads and precisions, timed in turns, so that what else the machine does falls on all of them."""
    built = [_built(loop, *one) for one in asked]
    found: list[list[float]] = [[] for _ in asked]
    for _ in range(ROUNDS):
        for (run, _, note), times, one in zip(built, found, asked, strict=True):
            if not note:
                with threads(one[1]):
                    times.append(median_of(partial(_step, loop, run), seconds / ROUNDS, least=1))
    kept = keep_freed_memory()
    return [
        Timing(WAYS[way][0], number, precision, kept, median(times) if times else None, build, note)
        for (way, number, precision), times, (_, build, note) in zip(asked, found, built, strict=True)
    ]


def _built(loop: Loop, way: str, number: int, precision: str) -> tuple[Run, float, str]:
    """A way to take a step, the seconds before its second, and why it fell back to another, if it did."""
    told: list[Decision] = []
    _, make = WAYS[way]
    given = (loop.step, loop.optimizer, loop.state.memory, loop.clip_norm, precision)
    with threads(number):
        started = time.perf_counter()
        run = make(*given) if way == AS_WRITTEN else make(*given, told.append)
        _step(loop, run)
        return run, time.perf_counter() - started, told[-1].reason if told else ""


def _step(loop: Loop, run: Run) -> None:
    run(loop.source.next(), loop.state.learning_rate)


def _advice(timings: list[Timing], best: Timing) -> str:
    """One line: what to set, and from how many steps on a build pays."""
    plain = min((row for row in timings if row.compile is not True), key=_cost)
    said = "use " + _settings(plain) + f": {_cost(plain):.3g} ms a step"
    eager = next(row for row in timings if row.compile is False and row.threads == plain.threads)
    said += f", {_cost(eager) / _cost(plain):.2f} × as fast as written" if plain.compile else ""
    if best.compile is True:
        steps = 1e3 * best.build_seconds / (_cost(plain) - _cost(best))
        said += f"; compile=True takes {_cost(best):.3g} ms and pays from {steps:,.0f} steps on"
    return said


def _settings(row: Timing) -> str:
    count = "one thread" if row.threads == 1 else f"{row.threads} threads"
    return f"compile={row.compile!r}, precision={row.precision!r} and {count}"
