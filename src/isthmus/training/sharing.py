"""A step on a batch that is shared out: over processes, and over parts that run one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from isthmus.nn.share import Share, by_rows, sharing
from isthmus.nn.shared_layers import layers_of_batch, shared_layers
from isthmus.objective import Terms, TrainStep
from isthmus.optimizers import Memory, Optimizer, clip_gradients
from isthmus.training.processes import Processes
from isthmus.training.rng import generators, set_generators
from isthmus.training.step import autocast
from isthmus.types import Batch

__all__ = ["SharedRun", "shared_step"]

Part = tuple[Share, Batch]
SharedRun = Callable[[Sequence[Part], Tensor], Terms]
"""One step on this process's rows of each part of a batch."""


def shared_step(
    step: TrainStep,
    optimizer: Optimizer,
    memory: Memory,
    clip_norm: float | None,
    precision: str,
    processes: Processes,
    sample: Batch,
) -> SharedRun:
    """The step of `eager_step`, of a batch whose rows this process has a share of.

    Gradients are added over the parts and averaged over the processes before they are clipped. Each part begins
    with the generators where the step found them and draws for the whole batch, so that noise is what it is in one
    piece. What is taken over a batch (KL sparsity's ρ̂, batch norm, a trimmed mean) is taken over a part.

    Parameters
    ----------
    sample : Batch
        Two rows, by which parameters that get no gradient are found.
    """
    parameters: list[Tensor] = [parameter for parameter in step.parameters() if parameter.requires_grad]
    unused = not processes.cut_weights and not _reaches_all(step, parameters, sample)
    module = processes.wrapped(step, unused)
    own_memory = {name: _here(tensors) for name, tensors in memory.items()}
    noise, device, layers = by_rows(), parameters[0].device, layers_of_batch(step)

    def run(parts: Sequence[Part], learning_rate: Tensor) -> Terms:
        begun, terms = generators(device) if len(parts) > 1 else [], dict[str, Tensor]()
        for number, ((share, batch), weight) in enumerate(zip(parts, _weights(parts, processes), strict=True)):
            if number:
                set_generators(begun, device)
            last = number == len(parts) - 1
            with nullcontext() if last else processes.without_exchange(module):
                with sharing(share), shared_layers(layers), autocast(device, precision):
                    total, found = module(batch, noise)
                (total * weight).backward()
            terms = {name: terms.get(name, 0.0) + weight * value for name, value in found.items()}
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        with torch.no_grad():
            clipped = gradients if clip_norm is None else clip_gradients(gradients, clip_norm)
            optimizer.update(_here(parameters), _here(clipped), own_memory, learning_rate)
        for parameter in parameters:
            parameter.grad = None
        return terms

    return run


def _weights(parts: Sequence[Part], processes: Processes) -> Sequence[float | Tensor]:
    """Each part's share of the batch's weight."""
    if len(parts) == 1:
        return [1.0]
    if any(batch.weight is not None for _, batch in parts):
        sums = [
            len(batch.x) * batch.x.new_ones(()) if batch.weight is None else batch.weight.sum() for _, batch in parts
        ]
        weight = processes.sum(torch.stack(sums))
        return list(weight / weight.sum())
    return [(share.last - share.first) / share.n for share, _ in parts]


@torch.no_grad()
def _here(tensors: Sequence[Any]) -> list[Tensor]:
    """What this process has of them, where they are cut: optimisers work number by number."""
    return [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]


def _reaches_all(step: TrainStep, parameters: Sequence[Tensor], sample: Batch) -> bool:
    """Whether every parameter gets a gradient."""
    was_training = step.training
    step.eval()
    total, _ = step(sample, torch.zeros_like)
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    step.train(was_training)
    return all(gradient is not None for gradient in found)
