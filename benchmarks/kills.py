"""Runs that are killed at random and resumed: whether they end on the bits of the run that never was.

A small but real training: a variational autoencoder with noise, dropout, validation, a cosine schedule, a warm-up
and early stopping. Each run is a process that SIGKILL ends at a random moment, one to four times; each time a new
process goes on with ``fit(X, resume=True)``. Compared with the uninterrupted run are all weights, bit for bit, and
the history but for its seconds. Counted are the steps of all processes: allowed are those of one run, and for each
kill those since the newest checkpoint that stood then.

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

EVERY = 7
"""Steps from one checkpoint to the next."""


def data() -> np.ndarray:
    """600 rows of 12 columns that depend on one another."""
    draw = np.random.default_rng(0)
    return (draw.normal(size=(600, 3)) @ draw.normal(size=(3, 12)) + 0.1 * draw.normal(size=(600, 12))).astype("f4")


def estimator(epochs: int, *callbacks: Callback, **more: Any) -> VariationalAutoencoder:
    """The training."""
    return VariationalAutoencoder(
        encoder=MLPEncoder((48, 24), dropout=0.1),
        corruption=GaussianNoise(0.1),
        max_epochs=epochs,
        patience=6,
        batch_size=32,
        learning_rate=3e-3,
        random_state=0,
        callbacks=[WeightSchedule(epochs=10), *callbacks],
        **more,
    )


class Started(Callback):
    """Tells at which step a process took the run up."""

    def __init__(self, step: Any) -> None:
        self.step = step

    def on_fit_start(self, loop: Any) -> None:
        self.step.value = loop.state.n_steps


def attempt(folder: Path, epochs: int, taken: Any, started: Any) -> None:
    """One process: go on, count the steps, save the model."""
    torch.set_num_threads(1)
    after_step, before = Checkpoints.after_step, taken.value

    def counted(self: Checkpoints, loop: Any) -> None:
        taken.value = before + loop.state.n_steps - started.value
        after_step(self, loop)

    Checkpoints.after_step = counted  # type: ignore[method-assign]
    model = estimator(epochs, Started(started), checkpoint_dir=folder / "run", checkpoint_every=EVERY)
    model.fit(data(), resume=True).save(folder / "model")
    os._exit(0)


def one_run(seed: int, epochs: int, seconds: float) -> dict[str, Any]:
    """Kills, and how it ended; ``seconds`` is what an uninterrupted process takes."""
    draw, folder = random.Random(seed), Path(tempfile.mkdtemp())
    taken, started = (multiprocessing.Value(ctypes.c_long, 0, lock=False) for _ in range(2))  # the dead hold no lock
    wanted, lost = draw.randint(1, 4), list[int]()
    while True:
        before, started.value = taken.value, newest_step(folder / "run")
        process = multiprocessing.get_context("fork").Process(target=attempt, args=(folder, epochs, taken, started))
        process.start()
        process.join(draw.random() * seconds * 0.6 if len(lost) < wanted else None)
        if process.exitcode is not None:
            break
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        lost.append(started.value + taken.value - before - newest_step(folder / "run"))
    if process.exitcode:
        raise SystemExit(f"run {seed}: a process that nobody killed ended with status {process.exitcode}")
    model = isthmus.load(folder / "model")
    shutil.rmtree(folder)
    return {"model": model, "lost": lost, "steps": taken.value}


def newest_step(folder: Path) -> int:
    """Of the checkpoints that stand, by their names."""
    return max([int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.safetensors")], default=0)


def history(model: Any) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in model.history_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=150, help="at most, of a run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/kills.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    whole = estimator(options.epochs).fit(data())
    seconds = time.perf_counter() - started
    steps = whole.n_iter_ * -(-540 // 32)
    same = total = more = 0
    lost = list[int]()
    for seed in range(options.runs):
        found = one_run(seed, options.epochs, seconds)
        weights = zip(found["model"].module_.state_dict().values(), whole.module_.state_dict().values(), strict=True)
        same += all(torch.equal(a, b) for a, b in weights) and history(found["model"]) == history(whole)
        total, more = total + found["steps"], more + (found["steps"] > steps + sum(found["lost"]))
        lost += found["lost"]
        print(f"run {seed}: killed, and lost {found['lost']} steps; {found['steps']} in all; {same} same", flush=True)
    result = {
        "runs": options.runs,
        "bit_identical": same,
        "kills": len(lost),
        "epochs": whole.n_iter_,
        "checkpoint_every": EVERY,
        "steps_of_a_run": steps,
        "steps_taken": total,
        "steps_allowed": options.runs * steps + sum(lost),
        "runs_with_more_steps_than_allowed": more,
        "most_steps_lost_by_a_kill": max(lost, default=0),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
