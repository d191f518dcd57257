"""A training run of so many minutes that reports on its way and can go on after a stop."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus import Callback, WeightAverage

__all__ = ["CLOCKS", "Epochs", "Timed", "machine", "run_each"]

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def machine() -> str:
    """The processor's kind, the widest instructions that torch takes, and the cores."""
    return f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores"


class Epochs(Callback):
    """What each epoch of a `fit` took."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.seconds = clock, list[float]()

    def on_epoch_start(self, loop: Any) -> None:
        self.started = self.clock()

    def on_epoch_end(self, loop: Any) -> None:
        self.seconds.append(self.clock() - self.started)


class Timed(Callback):
    """Ends the run when its training time is over; a learning-rate schedule stretches or shrinks to that.

    Parameters
    ----------
    minutes, every : float
        Of the run, and between two reports. Only the epochs' own time counts.
    average : WeightAverage
        Whose weights are reported on, and kept.
    measure : callable
        The figures of a report, by name; it runs with the averaged weights in place. Nothing is chosen by them.
    checkpoint : Path
        Written after each report.
    resume : bool
        Go on from the checkpoint, where there is one.
    clock : {"wall", "cpu"}
        "cpu" counts the seconds that the process computes: with one thread on a busy machine.
    """

    def __init__(
        self,
        minutes: float,
        every: float,
        average: WeightAverage,
        measure: Callable[[], dict[str, float]],
        checkpoint: Path,
        resume: bool,
        clock: str = "wall",
    ) -> None:
        self.clock = CLOCKS[clock]
        self.minutes, self.every, self.average, self.measure = minutes, every, average, measure
        self.checkpoint, self.resume = checkpoint, resume
        self.spent = self.reported = 0.0  # seconds
        self.curve: list[dict[str, float]] = []
        self.lengths: list[float] = []  # of the last epochs, seconds

    def on_fit_start(self, loop: Any) -> None:
        if self.resume and self.checkpoint.exists():
            self.resume = False
            loop.state.load_state_dict(torch.load(self.checkpoint, weights_only=True))

    def on_epoch_start(self, loop: Any) -> None:
        self.started = self.clock()

    def on_epoch_end(self, loop: Any) -> None:
        state = loop.state
        length = self.clock() - self.started if self.clock is time.process_time else state.history[-1]["seconds"]
        self.lengths = [*self.lengths[-19:], length]
        self.spent += self.lengths[-1]
        recent = np.mean(self.lengths)
        loop.max_epochs = state.epoch + max(0, round((self.minutes * 60 - self.spent) / recent))
        if self.spent - self.reported >= self.every * 60 or loop.max_epochs == state.epoch:
            self.reported = self.spent
            self._report(loop)

    def _report(self, loop: Any) -> None:
        with averaged(loop.step.model, self.average):
            figures = self.measure()
        self.curve.append({"minutes": self.spent / 60, "epoch": loop.state.epoch, **figures})
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        print(f"{self.spent / 60:6.1f} min  epoch {loop.state.epoch:5d}  {shown}", flush=True)
        self.checkpoint.parent.mkdir(exist_ok=True)
        beside = self.checkpoint.with_suffix(".new")
        torch.save(loop.state.state_dict(), beside)
        beside.replace(self.checkpoint)

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self.spent, "reported": self.reported, "curve": self.curve}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


@contextmanager
def averaged(network: torch.nn.Module, average: WeightAverage) -> Iterator[None]:
    """The network with the averaged weights, in prediction mode; its own and the mode come back."""
    was_training = network.training
    own = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(average.weights)
    try:
        yield
    finally:
        network.load_state_dict(own)
        network.train(was_training)


def run_each(out: Path, names: list[str], run: Callable[[str], dict[str, Any]]) -> None:
    """Run what does not stand in the file yet, write it after each run, and print all figures."""
    results = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for name in names:
        if name not in results:
            results[name] = run(name)
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in results[name].items()), flush=True)
