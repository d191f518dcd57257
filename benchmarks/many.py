"""`fit_many` of sixteen small autoencoders against sixteen fits, one after the other, compiled and replayed.

Tables of 8,192 rows, 30-64-32-64-30, batch 32, Adam. Both sides run their steps in the same way (``compile``), with
PyTorch's cache of compiled code warm on disk and the same allocator settings, in turn (A B A B …): medians over the
rounds, ratios taken round by round.

    taskset -c 1 python benchmarks/many.py --threads 1 --clock cpu

Each side is fitted for a few epochs and for many. The difference is the time of the steps alone; what the short fit
takes besides its steps is the time of building: reading the rows, recording the step, loading compiled code. It writes
``benchmarks/results/many.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from timed import CLOCKS, machine

from isthmus import Autoencoder, MLPEncoder, fit_many
from isthmus.training.allocator import keep_freed_memory

N_ROWS, BATCH, MARK = 8192, 32, 2.5
STEPS_AN_EPOCH = N_ROWS // BATCH


class Pair(NamedTuple):
    """Seconds of a short fit and of a long one."""

    short: float
    long: float


def models(n: int, epochs: int, compile: Any) -> list[Autoencoder]:
    """n autoencoders that differ in their seed and learning rate."""
    return [
        Autoencoder(
            latent_dim=32,
            encoder=MLPEncoder((64,)),
            batch_size=BATCH,
            learning_rate=1e-3 * (1 + i / n),
            max_epochs=epochs,
            validation_fraction=0,
            compile=compile,
            random_state=i,
        )
        for i in range(n)
    ]


def sides(n: int, X: np.ndarray, compile: Any) -> dict[str, Callable[[int], object]]:
    """Each side's fit for so many epochs."""
    return {
        "together": lambda epochs: fit_many(models(n, epochs, compile), X, together=n),
        "one after the other": lambda epochs: [model.fit(X) for model in models(n, epochs, compile)],
    }


def contest(options: argparse.Namespace, X: np.ndarray, compile: Any) -> dict[str, Any]:
    """Both sides in turn, after a first fit of each that fills the cache."""
    clock, fits = CLOCKS[options.clock], sides(options.models, X, compile)

    def seconds(name: str, epochs: int) -> float:
        started = clock()
        fits[name](epochs)
        return clock() - started

    first = {name: seconds(name, 1) for name in fits}
    pairs: dict[str, list[Pair]] = {name: [] for name in fits}
    for _ in range(options.rounds):
        for name in fits:
            pairs[name].append(Pair(*(seconds(name, epochs) for epochs in options.epochs)))
    short, long = (epochs * STEPS_AN_EPOCH * options.models for epochs in options.epochs)
    a_step = {name: [(pair.long - pair.short) / (long - short) for pair in found] for name, found in pairs.items()}
    build = {
        name: median(pair.short - each * short for pair, each in zip(found, a_step[name], strict=True))
        for name, found in pairs.items()
    }
    whole = {name: [pair.long for pair in found] for name, found in pairs.items()}
    return {
        "first_fit_seconds": first,
        "milliseconds_a_step_of_one_model": {name: 1000 * median(found) for name, found in a_step.items()},
        "build_seconds": build,
        "times_as_fast": {"steps": ratio(a_step), "whole_fit": ratio(whole)},
    }


def ratio(times: dict[str, list[float]]) -> list[float]:
    """How many times as fast together is: the median over the rounds, the least, the most."""
    found = [alone / together for together, alone in zip(*times.values(), strict=True)]
    return [median(found), min(found), max(found)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, nargs=2, default=(2, 18), help="of the short and of the long fit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/many.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    X = np.random.default_rng(0).standard_normal((N_ROWS, 30), dtype=np.float32)
    result: dict[str, Any] = {
        "machine": machine(),
        "torch": torch.__version__,
        "threads": options.threads,
        "clock": options.clock,
        "keeps_freed_memory": keep_freed_memory(),
        "models": options.models,
        "rounds": options.rounds,
        "steps_of_a_long_fit": options.epochs[1] * STEPS_AN_EPOCH,
        "mark": MARK,
    }
    with threadpool_limits(options.threads):
        for name, compile in (("compiled", True), ("replayed", "replay")):
            result[name] = contest(options, X, compile)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
