"""L-BFGS on all rows: the one optimiser that evaluates the objective several times a step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isthmus.errors import ParameterError
from isthmus.objective import Terms
from isthmus.optimizers import LBFGS
from isthmus.training.rng import reseed, seeded_noise

if TYPE_CHECKING:
    from isthmus.training.loop import Loop

__all__ = ["lbfgs_epoch"]

logger = logging.getLogger("isthmus")


def lbfgs_epoch(loop: Loop) -> Callable[[], None]:
    """One epoch as a function: `LBFGS.iterations` iterations on the resident rows.

    Every evaluation draws the same noise (and the same dropout), so the line search sees a function.
    The epoch's figures are those of the weights it ends with. Where an epoch lowers the objective by
    no more than the tolerance, the memory of earlier gradients is cleared and the search begins anew
    from steepest descent; where that fails too, ``state.stop`` gives the reason.
    """
    state, rows, optimizer = loop.state, loop.source.rows, loop.optimizer
    assert isinstance(optimizer, LBFGS)
    _refuse(loop)
    search = optimizer.torch_optimizer(loop.parameters)
    memory = search.state[loop.parameters[0]]
    memory.update(state.search)
    single = loop.parameters[0].dtype != torch.float64
    hint = " in single precision; precision='64-true' may" if single else ""

    def evaluate() -> tuple[Tensor, Terms]:
        reseed(loop.seed, rows.x.device)  # dropout draws from torch's own generators, which `fit` has forked
        total, terms = loop.step(rows, seeded_noise(loop.seed))
        return total, terms

    def closure() -> Tensor:
        search.zero_grad()
        total, _ = evaluate()
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()

    def descend() -> tuple[bool, Terms]:
        before = float(search.step(closure))  # type: ignore[no-untyped-call]
        with torch.set_grad_enabled(loop.step.objective.input_grad):
            _, terms = evaluate()
        gained = before - float(terms["objective"])
        return gained <= optimizer.tolerance * abs(before), terms

    def epoch() -> None:
        stuck, terms = descend()
        if stuck:
            memory.clear()
            stuck, terms = descend()
        if stuck:
            state.stop = f"L-BFGS cannot lower the objective any further{hint}"
            logger.info("stopped in epoch %d: %s", state.epoch + 1, state.stop)
        state.note(terms)
        state.n_steps += 1
        state.search = dict(memory)

    return epoch


def _refuse(loop: Loop) -> None:
    """What would change the result of mini-batch steps, and would be passed over in silence here."""
    if loop.clip_norm is not None:
        raise ParameterError(f"clip_norm must be None with optimizer LBFGS, got {loop.clip_norm!r}")
    if loop.accumulate > 1:
        raise ParameterError(f"accumulate must be 1 with optimizer LBFGS, got {loop.accumulate!r}")
    if not loop.processes.alone:
        raise ParameterError("optimizer must be 'adam', 'adamw' or 'sgd' with several processes, got LBFGS")
    if loop.precision == "bf16-mixed":
        raise ParameterError("precision must be '32-true' or '64-true' with optimizer LBFGS, got 'bf16-mixed'")
    owners = [hook.__self__ for hook in loop.hooks("after_step")]  # type: ignore[attr-defined]
    if names := sorted({type(part).__name__ for part in owners if getattr(part, "proximal", True)}):
        raise ParameterError(f"optimizer must be 'adam', 'adamw' or 'sgd' with {', '.join(names)}, got LBFGS")
