"""The training step as one function of (parameters, memory, batch, learning rate), and two ways to run it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from isthmus.objective import Terms, TrainStep
from isthmus.optimizers import Memory, Optimizer, clip_gradients
from isthmus.training.graph import simplify
from isthmus.types import Batch

__all__ = ["eager_step", "replayed_step"]

Run = Callable[[Batch, Tensor], Terms]
"""One step on a batch at a learning rate: moves parameters and memory in place, gives the terms."""


def eager_step(
    step: TrainStep, optimizer: Optimizer, memory: Memory, clip_norm: float | None, precision: str = "32-true"
) -> Run:
    """The step, run as it is written."""
    parameters: list[Tensor] = [parameter for parameter in step.parameters() if parameter.requires_grad]

    def run(batch: Batch, learning_rate: Tensor) -> Terms:
        with _autocast(batch.x.device, precision):
            total, terms = step(batch)
        gradients = _gradients(total, parameters, clip_norm)
        with torch.no_grad():
            optimizer.update(parameters, gradients, memory, learning_rate)
        return terms

    return run


def replayed_step(
    step: TrainStep,
    optimizer: Optimizer,
    memory: Memory,
    clip_norm: float | None,
    example: Batch,
    learning_rate: Tensor,
    precision: str = "32-true",
) -> Run:
    """The same step, traced once as one graph and replayed: the bits of `eager_step`, less Python.

    Tracing moves nothing: it runs on fake tensors. A part that looks at a tensor's value, indexes
    by a mask or changes a Python attribute in `forward` cannot be traced.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    names = [name for name, parameter in step.named_parameters() if parameter.requires_grad]
    parameters = [step.get_parameter(name) for name in names]
    frozen = {name: parameter.detach() for name, parameter in step.named_parameters() if not parameter.requires_grad}
    buffers = {**dict(step.named_buffers()), **frozen}
    keys = [key for key, tensors in memory.items() for _ in tensors]
    present = [field is not None for field in example]
    outputs: list[str] = []

    def pure(
        values: list[Tensor], held: list[Tensor], moments: list[Tensor], fields: list[Tensor], rate: Tensor
    ) -> list[Tensor]:
        given = iter(fields)
        batch = Batch(*[next(given) if there else None for there in present])  # type: ignore[arg-type]
        state: Memory = {key: [] for key in memory}
        for key, moment in zip(keys, moments, strict=True):
            state[key].append(moment)
        with torch.enable_grad():
            leaves = [value.detach().requires_grad_() for value in values]
            tensors = {**dict(zip(names, leaves, strict=True)), **dict(zip(buffers, held, strict=True))}
            with _autocast(batch.x.device, precision):
                total, terms = functional_call(step, tensors, (batch,))
            gradients = _gradients(total, leaves, clip_norm)
        optimizer.update(values, gradients, state, rate)
        outputs[:] = terms
        return list(terms.values())

    moments = [moment for tensors in memory.values() for moment in tensors]
    held = list(buffers.values())
    with torch.no_grad():
        values = [parameter.detach() for parameter in parameters]
        fields = [field for field in example if field is not None]
        graph = simplify(make_fx(pure, tracing_mode="fake")(values, held, moments, fields, learning_rate))
    fixed = [*values, *held, *moments]

    def run(batch: Batch, rate: Tensor) -> Terms:
        with torch.no_grad():
            given = [field for field in batch if field is not None]
            return dict(zip(outputs, graph(*fixed, *given, rate), strict=True))

    return run


def _gradients(total: Tensor, parameters: Sequence[Tensor], clip_norm: float | None) -> list[Tensor]:
    gradients = list(torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True))
    return gradients if clip_norm is None else clip_gradients(gradients, clip_norm)


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    if precision == "bf16-mixed":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()
