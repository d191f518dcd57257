"""The training step as one function of (parameters, memory, batch, learning rate), and three ways to run it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph

from isthmus.objective import Terms, TrainStep
from isthmus.optimizers import Memory, Optimizer, clip_gradients
from isthmus.training.graph import Recorder, put_back, replayed
from isthmus.training.rng import generators, set_generators
from isthmus.training.rule import AS_WRITTEN, COMPILED, REPLAYED, Decision
from isthmus.types import Batch

__all__ = ["autocast", "compiled_step", "eager_step", "gradients_of", "moved_by", "present", "replayed_step"]

logger = logging.getLogger("isthmus")

Run = Callable[[Batch, Tensor], Terms]
"""One step on a batch at a learning rate: moves parameters and memory in place, gives the terms."""
Tell = Callable[[Decision], None]
"""Hears how the steps of a run are taken in the end, and why."""


def _ignore(decision: Decision) -> None:
    pass


def eager_step(
    step: TrainStep, optimizer: Optimizer, memory: Memory, clip_norm: float | None, precision: str = "32-true"
) -> Run:
    """The step, run as it is written."""
    parameters: list[Tensor] = [parameter for parameter in step.parameters() if parameter.requires_grad]

    def run(batch: Batch, learning_rate: Tensor) -> Terms:
        with autocast(batch.x.device, precision):
            total, terms = step(batch)
        gradients = gradients_of(total, parameters, clip_norm)
        with torch.no_grad():
            optimizer.update(parameters, gradients, memory, learning_rate)
        return terms

    return run


def replayed_step(
    step: TrainStep,
    optimizer: Optimizer,
    memory: Memory,
    clip_norm: float | None,
    precision: str = "32-true",
    tell: Tell = _ignore,
) -> Run:
    """The first step runs as it is written and is recorded; the others replay it: the same bits, less Python.

    A part that looks at a tensor's value, indexes by a mask, or reads a tensor that is neither a
    parameter nor a buffer cannot be recorded: its steps run as written, with a warning. What `forward`
    does in Python alone (a counter, a branch on an attribute) happens in the first step only.
    """
    eager = eager_step(step, optimizer, memory, clip_norm, precision)
    return _after_the_first(eager, moved_by(step, memory), lambda graph, _: replayed(graph), tell)


def compiled_step(
    step: TrainStep,
    optimizer: Optimizer,
    memory: Memory,
    clip_norm: float | None,
    precision: str = "32-true",
    tell: Tell = _ignore,
    choose: Callable[[Graph], Decision] | None = None,
) -> Run:
    """The first step runs as it is written and is recorded, the record is compiled, and all run that, the first too.

    So a run that is stopped and resumed has the bits of one that was not. The numbers are those of a step as
    written but for rounding. Where compiling fails, or ``choose`` says so of the record, the record is replayed.
    ``tell`` hears which it is and why.
    """
    eager, fixed = eager_step(step, optimizer, memory, clip_norm, precision), moved_by(step, memory)

    def way(graph: Graph, inputs: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
        from isthmus.training.compiled import compiled_or_replayed

        if choose is not None:
            tell(chosen := choose(graph))
            if chosen.way != COMPILED:
                return replayed(graph)
        found, reason = compiled_or_replayed(graph, inputs)
        if reason:
            tell(Decision(REPLAYED, f"since the step cannot be compiled: {reason}"))
        return found

    recording, begun = _after_the_first(eager, fixed, way, tell), False

    def run(batch: Batch, learning_rate: Tensor) -> Terms:
        nonlocal begun
        if not begun:
            device = batch.x.device
            states = generators(device)
            with put_back(fixed):
                recording(batch, learning_rate)
            set_generators(states, device)
            begun = True
        return recording(batch, learning_rate)

    return run


Way = Callable[[Graph, Sequence[Tensor]], Callable[..., Sequence[Tensor]]]
"""From a record and its inputs to what runs it."""


def _after_the_first(eager: Run, fixed: Sequence[Tensor], way: Way, tell: Tell) -> Run:
    others: Run | None = None

    def run(batch: Batch, learning_rate: Tensor) -> Terms:
        nonlocal others
        if others is None:
            terms, others = _recorded(eager, fixed, batch, learning_rate, way, tell)
            return terms
        return others(batch, learning_rate)

    return run


def _recorded(
    eager: Run, fixed: Sequence[Tensor], batch: Batch, learning_rate: Tensor, way: Way, tell: Tell
) -> tuple[Terms, Run]:
    """One step as written, and the way to run the ones that follow."""
    with Recorder([*present(batch), learning_rate, *fixed]) as recorder:
        terms = eager(batch, learning_rate)
    if recorder.obstacle is not None:
        logger.warning("steps cannot be replayed and run as written: %s", recorder.obstacle)
        tell(Decision(AS_WRITTEN, f"since they cannot be recorded: {recorder.obstacle}"))
        return terms, eager
    names = list(terms)
    graph = way(recorder.graph(list(terms.values())), [*present(batch), learning_rate, *fixed])

    def replay(batch: Batch, learning_rate: Tensor) -> Terms:
        with torch._C._AutoDispatchBelowAutograd():  # where the operations were recorded
            return dict(zip(names, graph(*present(batch), learning_rate, *fixed), strict=True))

    return terms, replay


def moved_by(step: TrainStep, memory: Memory) -> list[Tensor]:
    """The tensors that a step reads, and moves in place, besides its batch and its learning rate."""
    return [*step.parameters(), *step.buffers(), *chain.from_iterable(memory.values())]


def present(batch: Batch) -> list[Tensor]:
    """The fields of a batch that are there, in order."""
    return [field for field in batch if field is not None]


def gradients_of(total: Tensor, parameters: Sequence[Tensor], clip_norm: float | None) -> list[Tensor]:
    """Of the objective by each parameter, cut to the joint norm; zeros where it does not depend on one."""
    gradients = list(torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True))
    return gradients if clip_norm is None else clip_gradients(gradients, clip_norm)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """What training and its evaluation run under: bfloat16 products where ``precision`` asks for them."""
    if precision == "bf16-mixed":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()
