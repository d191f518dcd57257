"""What checkpoints of a model of 50 million parameters cost of its training.

The same fit without checkpoints and with them, in turn (A B A B …), after a fit of each that is not counted. What
one checkpoint costs is the difference in the processor time of the whole process, the writing thread's included,
divided by their number; its share is of training on that many threads with one every 20 s or 60 s. The clock's
difference, which other programs disturb, stands beside it.

    python benchmarks/checkpoint_cost.py --rounds 5 --threads 1

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

EVERY, WRITTEN = 4, 6
"""Steps from one checkpoint to the next, so that each is on the disk before the next is due; and how many."""
STEPS = EVERY * WRITTEN + EVERY - 1


class Watch(Callback):
    """Seconds of the processor and of the clock after each step."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def on_epoch_end(self, loop: Any) -> None:
        self.marks.append((time.process_time(), time.perf_counter()))

    @property
    def seconds(self) -> list[float]:
        """From the first step's end to the last's: of the processor, of the clock."""
        return [end - start for start, end in zip(self.marks[0], self.marks[-1], strict=True)]


def fitted(X: np.ndarray, checkpoints: bool) -> dict[str, Any]:
    """One fit, an epoch a step: its seconds, its parameters, and the size of a checkpoint in MB."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        model = Autoencoder(
            encoder=MLPEncoder((4096, 4096)),
            latent_dim=64,
            batch_size=len(X),
            max_epochs=STEPS,
            validation_fraction=0,
            schedule=None,
            random_state=0,
            callbacks=[watch],
            checkpoint_dir=folder if checkpoints else None,
            checkpoint_every=EVERY,
        ).fit(X)
        size = max([path.stat().st_size for path in Path(folder).iterdir()], default=0) / 1e6
    return {"seconds": watch.seconds, "parameters": sum(p.numel() for p in model.module_.parameters()), "size": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/checkpoint_cost.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    X = np.random.default_rng(0).normal(size=(128, 2048)).astype(np.float32)
    rounds = list[list[float]]()
    for number in range(-1, options.rounds):
        without, with_them = fitted(X, False), fitted(X, True)
        pairs = zip(without["seconds"], with_them["seconds"], strict=True)
        costs = [(b - a) / WRITTEN for a, b in pairs]
        print(f"round {number}: a checkpoint costs {costs[0]:.2f} s of the processor, {costs[1]:.2f} s by the clock",
              flush=True)  # fmt: skip
        if number >= 0:
            rounds.append(costs)
    processor, clock = (statistics.median(column) for column in zip(*rounds, strict=True))
    result = {
        "parameters": with_them["parameters"],
        "megabytes": with_them["size"],
        "threads": options.threads,
        "step_seconds": without["seconds"][0] / (STEPS - 1),
        "cost_seconds": {"processor": processor, "clock": clock},
        "share": {str(every): processor / every / options.threads for every in (20, 60)},
        "rounds": rounds,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
