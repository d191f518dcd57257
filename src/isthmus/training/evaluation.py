"""The figures of held-out rows."""

from __future__ import annotations

import torch

from isthmus.nn.share import by_rows, sharing
from isthmus.objective import TrainStep
from isthmus.training.processes import ALONE, Processes
from isthmus.training.resident import Resident
from isthmus.training.rng import seeded_noise
from isthmus.training.step import autocast

__all__ = ["evaluate"]


def evaluate(
    step: TrainStep,
    rows: Resident,
    seed: int,
    precision: str = "32-true",
    size: int = 4096,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """Each term over all rows in prediction mode, at training's precision, with one fixed draw of noise and corruption.

    ``objective`` takes every penalty at its full weight, so that a warm-up does not make early epochs
    look better. Statistics of a batch are those of chunks of ``size`` rows, fewer where rows are pictures:
    as many as have 2²⁰ positions. Several processes share out the rows of each.
    """
    step.eval()
    size = min(size, max(1, 2**20 // rows.positions))
    noise, sums, count = by_rows(seeded_noise(seed)), dict[str, float](), 0.0
    grad = torch.enable_grad() if step.objective.input_grad else torch.no_grad()
    with grad:
        for batch in rows.chunks(size):
            share, mine = processes.share(batch)
            with sharing(share), autocast(batch.x.device, precision):
                _, terms = step(mine, noise)
            weight = float(len(batch.x) if batch.weight is None else batch.weight.sum())
            count += weight
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + weight * float(value)
    means = {name: value / count for name, value in sums.items()}
    penalties = zip(step.objective.names, step.objective.penalties, strict=True)
    means["objective"] = means["loss"] + sum(penalty.weight * means[name] for name, penalty in penalties)  # type: ignore[operator, misc]
    return means
