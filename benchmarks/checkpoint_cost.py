"""What checkpoints of a model of 50 million parameters cost of its training.

The same fit without checkpoints and with one every 20 s, in turn (A B A B …). Counted is the processor time of the
whole process a step, the writing thread's included, and a step's wall time beside it. The share at one every 60 s
is the same cost a checkpoint over 60 s.

    python benchmarks/checkpoint_cost.py --rounds 3 --threads 2

It writes ``benchmarks/results/checkpoint_cost.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus import Autoencoder, Callback, MLPEncoder
from isthmus.training.allocator import keep_freed_memory


class Watch(Callback):
    """Processor and wall seconds from the second epoch on."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def on_epoch_end(self, loop: Any) -> None:
        self.marks.append((time.process_time(), time.perf_counter()))

    @property
    def steps(self) -> int:
        return len(self.marks) - 1

    @property
    def a_step(self) -> tuple[float, float]:
        (cpu, wall), (cpu_end, wall_end) = self.marks[0], self.marks[-1]
        return (cpu_end - cpu) / self.steps, (wall_end - wall) / self.steps


def fitted(X: np.ndarray, steps: int, every: int | None) -> tuple[Watch, int, float]:
    """One fit, an epoch a step; its parameters, and the size of a checkpoint, MB."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        model = Autoencoder(
            encoder=MLPEncoder((4096, 4096)),
            latent_dim=64,
            batch_size=len(X),
            max_epochs=steps + 1,
            validation_fraction=0,
            schedule=None,
            random_state=0,
            callbacks=[watch],
            checkpoint_dir=None if every is None else folder,
            checkpoint_every=every,
        ).fit(X)
        size = max([path.stat().st_size for path in Path(folder).iterdir()], default=0) / 1e6
    return watch, sum(p.numel() for p in model.module_.parameters()), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60, help="a fit")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/checkpoint_cost.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    X = np.random.default_rng(0).normal(size=(256, 1024)).astype(np.float32)
    watch, parameters, _ = fitted(X, 8, None)
    steps = max(6, round(options.seconds / watch.a_step[1]))
    every = max(1, round(20 / watch.a_step[1]))
    rounds, size = [], 0.0
    for number in range(options.rounds):
        without, _, _ = fitted(X, steps, None)
        with_them, _, size = fitted(X, steps, every)
        written = steps // every
        rounds.append([(b - a) * steps / written for a, b in zip(without.a_step, with_them.a_step, strict=True)])
        print(f"round {number}: {steps} steps, {written} checkpoints, {rounds[-1][0]:.2f} s of a processor each, "
              f"{rounds[-1][1]:.2f} s by the clock", flush=True)  # fmt: skip
    cost = [statistics.median(column) for column in zip(*rounds, strict=True)]
    result = {
        "parameters": parameters,
        "megabytes": size,
        "threads": options.threads,
        "step_seconds": watch.a_step[1],
        "cost_seconds": {"processor": cost[0], "clock": cost[1]},
        "share": {"20": cost[0] / 20 / options.threads, "60": cost[0] / 60 / options.threads},
        "rounds": rounds,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
