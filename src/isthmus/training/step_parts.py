"""Where a training step's time goes: its parts, its operators, its arithmetic beside the machine's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from isthmus.training.loop import Loop
from isthmus.training.step import autocast, eager_step, gradients_of

__all__ = ["ROUNDS", "gigaflops", "matrix_peak", "median_of", "operators_of", "parts_of"]

ROUNDS, TOP = 5, 10


def parts_of(loop: Loop, seconds: float) -> dict[str, float]:
    """Milliseconds of a step as written: its batch, forward, backward and the update."""
    marks: dict[str, list[float]] = {name: [] for name in ("data", "forward", "backward", "optimizer")}

    def run() -> None:
        times = [time.perf_counter()]

        def mark() -> None:
            times.append(time.perf_counter())

        batch = loop.source.next()
        mark()
        total = _forward(loop, batch)
        mark()
        gradients = gradients_of(total, loop.parameters, loop.clip_norm)
        mark()
        with torch.no_grad():
            loop.optimizer.update(loop.parameters, gradients, loop.state.memory, loop.state.learning_rate)
        mark()
        for name, before, after in zip(marks, times, times[1:], strict=False):
            marks[name].append(1e3 * (after - before))

    median_of(run, seconds)
    return {name: statistics.median(found) for name, found in marks.items()}


def _forward(loop: Loop, batch: Any) -> Tensor:
    with autocast(batch.x.device, loop.precision):
        total: Tensor = loop.step(batch)[0]
    return total


def operators_of(loop: Loop, steps: int = 10) -> dict[str, float]:
    """Milliseconds a step of the operators that take most, by themselves."""
    run = eager_step(loop.step, loop.optimizer, loop.state.memory, loop.clip_norm, loop.precision)
    run(loop.source.next(), loop.state.learning_rate)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(steps):
            run(loop.source.next(), loop.state.learning_rate)
    rows = sorted(seen.key_averages(), key=lambda row: -row.self_cpu_time_total)
    return {row.key: 1e-3 * row.self_cpu_time_total / steps for row in rows[:TOP]}


def gigaflops(loop: Loop) -> float:
    """Of one step, forward and backward, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter:
        gradients_of(_forward(loop, loop.source.first()), loop.parameters, loop.clip_norm)
    return 1e-9 * counter.get_total_flops()


def matrix_peak(clock: Callable[[], float] = time.perf_counter, size: int = 2048, times: int = 8) -> float:
    """GFLOP/s of the fastest of several square float32 products, on this number of threads."""
    a, b = torch.ones(size, size), torch.ones(size, size)
    found = []
    for _ in range(times):
        started = clock()
        a @ b
        found.append(clock() - started)
    return 2e-9 * size**3 / min(found)


def median_of(run: Callable[[], Any], seconds: float, least: int = ROUNDS) -> float:
    """Milliseconds: the median of calls for so many seconds, at least ``least``."""
    found: list[float] = []
    ends = time.perf_counter() + seconds
    while len(found) < least or time.perf_counter() < ends:
        started = time.perf_counter()
        run()
        found.append(1e3 * (time.perf_counter() - started))
    return statistics.median(found)
