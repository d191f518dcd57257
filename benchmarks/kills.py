"""Runs that are killed at random and resumed: whether they end on the bits of the run that never was.

A small but real training: a variational autoencoder with noise, dropout, validation, a cosine schedule, a warm-up
and early stopping. Each run is a process that SIGKILL ends at a random moment, one to four times; each time a new
process goes on with ``fit(X, resume=True)``. Compared with the uninterrupted run are all weights, bit for bit, and
the history but for its seconds. A step that is taken again is one since the last checkpoint.

    python benchmarks/kills.py --runs 100

It writes ``benchmarks/results/kills.json``.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isthmus
from isthmus import Callback, GaussianNoise, MLPEncoder, VariationalAutoencoder, WeightSchedule
from isthmus.training.checkpoints import Checkpoints


def data() -> np.ndarray:
    """600 rows of 12 columns that depend on one another."""
    draw = np.random.default_rng(0)
    return (draw.normal(size=(600, 3)) @ draw.normal(size=(3, 12)) + 0.1 * draw.normal(size=(600, 12))).astype("f4")


def estimator(**more: Any) -> VariationalAutoencoder:
    """The training."""
    return VariationalAutoencoder(
        encoder=MLPEncoder((48, 24), dropout=0.1),
        corruption=GaussianNoise(0.1),
        max_epochs=150,
        patience=6,
        batch_size=32,
        learning_rate=3e-3,
        random_state=0,
        **{"callbacks": [WeightSchedule(epochs=10)]} | more,
    )


class Started(Callback):
    """Tells at which step a process took the run up."""

    def __init__(self, step: Any) -> None:
        self.step = step

    def on_fit_start(self, loop: Any) -> None:
        self.step.value = loop.state.n_steps


def attempt(folder: Path, taken: Any, started: Any) -> None:
    """One process: go on, count the steps, save the model."""
    torch.set_num_threads(1)
    after_step, last = Checkpoints.after_step, [-1]

    def counted(self: Checkpoints, loop: Any) -> None:
        if loop.state.n_steps != last[0]:  # it is asked at the end of an epoch, too
            taken.value += last[0] >= 0 or loop.state.n_steps > started.value
            last[0] = loop.state.n_steps
        after_step(self, loop)

    Checkpoints.after_step = counted  # type: ignore[method-assign]
    callbacks = [WeightSchedule(epochs=10), Started(started)]
    model = estimator(checkpoint_dir=folder / "run", checkpoint_every=7, callbacks=callbacks)
    model.fit(data(), resume=True).save(folder / "model")
    os._exit(0)


def one_run(seed: int, seconds: float) -> dict[str, Any]:
    """Kills, and how it ended; ``seconds`` is what an uninterrupted process takes."""
    draw, folder = random.Random(seed), Path(tempfile.mkdtemp())
    taken, started = (multiprocessing.Value(ctypes.c_long, 0) for _ in range(2))
    kills, wanted, lost, steps = 0, draw.randint(1, 4), 0, 0
    while True:
        reached = started.value + (taken.value - steps)
        process = multiprocessing.get_context("fork").Process(target=attempt, args=(folder, taken, started))
        steps = taken.value
        process.start()
        process.join(draw.random() * seconds * 0.6 if kills < wanted else None)
        if kills:
            lost += reached - started.value
        if process.exitcode is not None:
            break
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        kills += 1
    model = isthmus.load(folder / "model")
    shutil.rmtree(folder)
    return {"model": model, "kills": kills, "steps": taken.value, "lost": lost}


def history(model: Any) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in model.history_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/kills.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    whole = estimator().fit(data())
    seconds = time.perf_counter() - started
    steps = whole.n_iter_ * -(-540 // 32)
    same = kills = more = total = 0
    for seed in range(options.runs):
        found = one_run(seed, seconds)
        weights = zip(found["model"].module_.state_dict().values(), whole.module_.state_dict().values(), strict=True)
        same += all(torch.equal(a, b) for a, b in weights) and history(found["model"]) == history(whole)
        kills, total = kills + found["kills"], total + found["steps"]
        more += found["steps"] > steps + found["lost"]
        print(
            f"run {seed}: {found['kills']} kills, {found['steps']} steps, {found['lost']} again; {same} same",
            flush=True,
        )
    result = {
        "runs": options.runs,
        "bit_identical": same,
        "kills": kills,
        "steps_of_a_run": steps,
        "epochs": whole.n_iter_,
        "steps_taken_a_run": total / options.runs,
        "runs_with_more_steps_than_those_since_a_checkpoint": more,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
