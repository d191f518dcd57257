"""The one training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from isthmus.errors import ParameterError, TrainingError
from isthmus.nn.share import sharing
from isthmus.objective import Terms, TrainStep
from isthmus.optimizers import LBFGS, Optimizer
from isthmus.part import Part
from isthmus.schedules import Schedule
from isthmus.training.callbacks import Callback
from isthmus.training.checkpoints import Checkpoints
from isthmus.training.evaluation import evaluate
from isthmus.training.lbfgs import lbfgs_epoch
from isthmus.training.processes import current
from isthmus.training.resident import Resident
from isthmus.training.rng import seeded_noise
from isthmus.training.rule import AS_WRITTEN, COMPILED, Decision, by_the_record, by_the_run
from isthmus.training.sharded import gathered, sharded
from isthmus.training.sharing import shared_step
from isthmus.training.state import TrainState
from isthmus.training.step import Run, compiled_step, eager_step, replayed_step

__all__ = ["Loop"]

logger = logging.getLogger("isthmus")


class Loop:
    """Batches to weights: one step after another, terms averaged an epoch, callbacks between epochs.

    Parameters
    ----------
    step : TrainStep
        Model and objective, built.
    source : Resident
        Gives full training batches.
    optimizer, learning_rate, schedule, clip_norm, max_epochs, precision
        As in the estimators.
    compile : {"auto", False, "replay", True}
        How the step is run: as written, recorded once and replayed, or recorded and compiled. "auto": by `rule`.
    validation : Resident, optional
        Rows whose objective is evaluated after each epoch with one fixed draw of noise.
    callbacks : sequence of Callback
        Called in order.
    seed : int
        Of the validation's noise and of L-BFGS's.
    accumulate : int
        Parts of a batch that run one after the other before the weights move.

    Attributes
    ----------
    decision : Decision or None
        How steps are taken, and why, once that is decided.
    was_compiled : bool or None
        Whether the run that goes on had compiled steps, which "auto" obeys; None for a new run.
    """

    def __init__(
        self,
        step: TrainStep,
        source: Resident,
        optimizer: Optimizer,
        *,
        learning_rate: float,
        schedule: Schedule | None = None,
        clip_norm: float | None = None,
        max_epochs: int = 100,
        precision: str = "32-true",
        compile: bool | str = "auto",
        validation: Resident | None = None,
        callbacks: Sequence[Callback] = (),
        seed: int = 0,
        accumulate: int = 1,
    ) -> None:
        self.step, self.source, self.validation = step, source, validation
        self.optimizer, self.schedule, self.clip_norm = optimizer, schedule, clip_norm
        self.base_rate, self.max_epochs, self.precision, self.compile = learning_rate, max_epochs, precision, compile
        self.callbacks, self.seed = list(callbacks), seed
        self.accumulate, self.processes, self.is_cut = accumulate, current(), False
        self.checkpoints: Checkpoints | None = None
        self.decision: Decision | None = None
        self.was_compiled: bool | None = None
        self.parameters: list[Tensor] = [parameter for parameter in step.parameters() if parameter.requires_grad]
        device = self.parameters[0].device
        self.state = TrainState(
            step,
            optimizer.state(self.parameters),
            torch.tensor(learning_rate, dtype=torch.float64, device=device),
            source.sampler,
            self.callbacks,
        )

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.max_epochs * self.source.steps_per_epoch

    def next_rate(self) -> float:
        """The learning rate of the next step."""
        factor = 1.0 if self.schedule is None else self.schedule.factor(self.state.n_steps, self.total_steps)
        return self.base_rate * factor

    def run(self) -> TrainState:
        """Train until ``max_epochs`` or a callback stops; the model ends with the best weights, if kept."""
        state = self.state
        self._tell("on_fit_start")
        try:
            if state.n_steps == 0:
                self._before_fit()
            with sharded(self) if self.processes.cut_weights else nullcontext():
                self._epochs()
            if self.checkpoints is not None:
                self.checkpoints.finish(self)
            if state.best_weights is not None:
                self.step.model.load_state_dict(state.best_weights)
        finally:
            self.step.eval()
            self._tell("on_fit_end")
        return state

    def _epochs(self) -> None:
        state = self.state
        run_epoch = lbfgs_epoch(self) if isinstance(self.optimizer, LBFGS) else self._minibatch_epoch()
        while state.epoch < self.max_epochs and state.stop is None:
            started = time.perf_counter()
            self._tell("on_epoch_start")
            self.step.train()
            run_epoch()
            self._close_epoch(started)
            self._tell("on_epoch_end")
            state.stop = self.processes.first(lambda: state.stop)
            if self.checkpoints is not None:
                self.checkpoints.after_step(self)

    # ------------------------------------------------------------------ one epoch

    def _minibatch_epoch(self) -> Callable[[], None]:
        state, schedule, after_step = self.state, self.schedule, self.hooks("after_step")
        following, run = self._make_shared_run() if self._shares else (self.source.next, self._make_run())

        def epoch() -> None:
            end = (state.epoch + 1) * self.source.steps_per_epoch
            while state.n_steps < end:
                if schedule is not None:
                    state.learning_rate.fill_(self.next_rate())
                state.note(run(following(), state.learning_rate))
                state.n_steps += 1
                if after_step:
                    rate = float(state.learning_rate)
                    with sharing(self.processes.everywhere()):
                        for hook in after_step:
                            hook(rate)
                if self.checkpoints is not None:
                    self.checkpoints.after_step(self)

        return epoch

    @property
    def _shares(self) -> bool:
        """Whether a batch is shared out."""
        return self.accumulate > 1 or not self.processes.alone

    def _make_shared_run(self) -> tuple[Callable[[], Any], Callable[[Any, Tensor], Terms]]:
        """Where shares of the next batch come from, and what runs them."""
        size, least = self.source.sampler.batch_size, self.accumulate * self.processes.size
        if self.source.one_shape and size < least:
            raise ParameterError(f"batch_size must be at least {least}, a row for each process and part, got {size}")
        if self.compile in ("replay", True):
            told = "with accumulate or several processes"
            raise ParameterError(f"compile must be 'auto' or False {told}, got {self.compile!r}")
        told = f"{size} rows a step, in {self.accumulate} parts, by {self.processes.size} processes"
        self._decide(Decision(AS_WRITTEN, told))
        run = shared_step(
            self.step, self.optimizer, self.state.memory, self.clip_norm, self.precision, self.processes,
            self.source.slice(0, 2),
        )  # fmt: skip
        return partial(self.source.next_shares, partial(self.processes.shares, parts=self.accumulate)), run

    def _make_run(self) -> Run:
        decision = by_the_run(self)
        given = (self.step, self.optimizer, self.state.memory, self.clip_norm, self.precision)
        if decision is None:
            return compiled_step(*given, self._decide, partial(by_the_record, steps=self.total_steps))
        self._decide(decision)
        if decision.way == AS_WRITTEN:
            return eager_step(*given)
        return (compiled_step if decision.way == COMPILED else replayed_step)(*given, self._decide)

    def _decide(self, decision: Decision) -> None:
        self.decision = decision
        logger.info("compile=%r: steps %s, %s", self.compile, *decision)

    def _close_epoch(self, started: float) -> None:
        state = self.state
        means = {name: column.mean().item() for name, column in state.logged().items()}
        state.columns.clear()
        if not math.isfinite(means["objective"]):
            raise TrainingError(
                f"the objective is {means['objective']} in epoch {state.epoch + 1}: lower learning_rate "
                f"(now {self.base_rate:g}), set clip_norm=1.0, or look for extreme values in the data"
            )
        if self.validation is not None:
            held = evaluate(self.step, self.validation, self.seed, self.precision, processes=self.processes)
            means |= {f"val_{name}": value for name, value in held.items()}
        state.epoch += 1
        rate = float(state.learning_rate)
        seconds = time.perf_counter() - started
        state.history.append({"epoch": state.epoch, **means, "learning_rate": rate, "seconds": seconds})
        logger.debug("epoch %d: %s", state.epoch, means)

    # ------------------------------------------------------------------ hooks and callbacks

    def hooks(self, name: str) -> list[Callable[..., None]]:
        """The parts' hooks of this name."""
        return [getattr(part, name) for part in self.step.modules() if isinstance(part, Part) and hasattr(part, name)]

    @torch.no_grad()
    def _before_fit(self) -> None:
        if hooks := self.hooks("before_fit"):
            trace = self.step.model(self.source.first(), noise=seeded_noise(self.seed), scaled=True)
            for hook in hooks:
                hook(trace)

    def _tell(self, event: str) -> None:
        with self.gathered():
            for callback in self.callbacks:
                if self.processes.is_first or callback.everywhere:
                    getattr(callback, event)(self)

    def gathered(self) -> AbstractContextManager[None]:
        """Within it the model has all weights, where each process has a part of them."""
        return gathered(self.step) if self.is_cut else nullcontext()
