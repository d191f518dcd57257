"""What happens between epochs: early stopping, weight schedules, progress."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from isthmus.checks import check_parameters, integer, number, optional
from isthmus.errors import DataError, ParameterError

if TYPE_CHECKING:
    from isthmus.training.loop import Loop

__all__ = ["Binarize", "Callback", "EarlyStopping", "Progress", "ScheduledSampling", "WeightAverage", "WeightSchedule"]

logger = logging.getLogger("isthmus")

HIGHER = ("val_bleu",)
"""Figures of the history of which more is better."""


class Callback:
    """Override what you need. ``loop.state`` is the whole `TrainState`; set ``loop.state.stop`` to a
    reason to end training after this epoch.

    What a callback remembers from one epoch to the next it gives in ``state_dict``, so that a run that is
    saved and goes on elsewhere has it; such a run calls ``on_fit_start`` with ``loop.state.n_steps`` above 0.
    """

    changes_weights: ClassVar[bool] = False
    """Whether the weights depend on it, so that a run which goes on must have it as it was."""
    everywhere: ClassVar[bool] = True
    """Whether each of several processes calls it; else the first alone, as what writes or tells."""

    def on_fit_start(self, loop: Loop) -> None:
        """Before the first step."""

    def on_epoch_start(self, loop: Loop) -> None:
        """Before an epoch's first step."""

    def on_epoch_end(self, loop: Loop) -> None:
        """After an epoch; ``loop.state.history[-1]`` holds its figures."""

    def on_fit_end(self, loop: Loop) -> None:
        """After the last step, with the best weights in place; also where training ends by an error."""

    @property
    def has_state(self) -> bool:
        """Whether it remembers anything."""
        return type(self).state_dict is not Callback.state_dict

    def state_dict(self) -> dict[str, Any]:
        """What it remembers: tensors, numbers, strings, lists and dicts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember what `state_dict` gave."""


class EarlyStopping(Callback):
    """Keeps the weights of the best epoch, and stops after ``patience`` epochs without a better one.

    Parameters
    ----------
    monitor : str
        A name in the history, lower is better, but for those of `HIGHER`.
    patience : int or None
        None keeps the best weights but never stops.
    """

    def __init__(self, monitor: str = "val_objective", patience: int | None = 20) -> None:
        check_parameters("EarlyStopping", {"patience": patience}, {"patience": optional(integer(1))})
        self.monitor = monitor
        self.patience = patience

    def on_epoch_end(self, loop: Loop) -> None:
        state = loop.state
        figures = state.history[-1]
        if self.monitor not in figures:
            raise ParameterError(f"monitor must be one of {sorted(figures)}, got {self.monitor!r}")
        figure = figures[self.monitor]
        if state.keep_best(-figure if self.monitor in HIGHER else figure) or self.patience is None:
            return
        if state.epoch - state.best_epoch >= self.patience:
            state.stop = f"{self.monitor} has not improved for {self.patience} epochs"
            logger.info("stopped after epoch %d: %s", state.epoch, state.stop)


class WeightSchedule(Callback):
    """Moves a penalty's strength linearly over the first epochs, as in KL warm-up (Bowman et al. 2016).

    Parameters
    ----------
    penalty : str
        Its name in the history, such as "kl_prior".
    start : float
        The factor on its weight in the first epoch; it ends at 1.
    epochs : int
        How many epochs the way takes.
    """

    changes_weights = True

    def __init__(self, penalty: str = "kl_prior", start: float = 0.0, epochs: int = 10) -> None:
        allowed = {"start": number(0), "epochs": integer(0)}
        check_parameters("WeightSchedule", {"start": start, "epochs": epochs}, allowed)
        self.penalty = penalty
        self.start = start
        self.epochs = epochs

    def on_epoch_start(self, loop: Loop) -> None:
        objective = loop.step.objective
        if self.penalty not in objective.names:
            raise ParameterError(f"WeightSchedule: penalty must be one of {objective.names}, got {self.penalty!r}")
        penalty: Any = objective.penalties[objective.names.index(self.penalty)]
        share = min(loop.state.epoch / max(self.epochs, 1), 1.0)
        penalty.strength.fill_(penalty.weight * (self.start + (1 - self.start) * share))


class ScheduledSampling(Callback):
    """A decoder that generates step by step reads in training more and more of what it wrote itself.

    The share rises linearly over the epochs (scheduled sampling, Bengio et al. 2015). What it wrote comes from a
    first pass over all steps, so that training takes one decoding more, not one a step (`own_words`).

    Parameters
    ----------
    end : float
        Share of the positions, in [0, 1], from then on.
    epochs : int
        How many epochs the way takes.
    """

    changes_weights = True

    def __init__(self, end: float = 0.25, epochs: int = 10) -> None:
        allowed = {"end": number(0, 1), "epochs": integer(0)}
        check_parameters("ScheduledSampling", {"end": end, "epochs": epochs}, allowed)
        self.end = end
        self.epochs = epochs

    def on_epoch_start(self, loop: Loop) -> None:
        model = loop.step.model
        if not model.decoder.stepwise:
            name = type(model.decoder).__name__
            raise ParameterError(f"ScheduledSampling: the decoder must generate step by step, got {name}")
        model.reads_itself = True
        model.own_share.fill_(self.end * min(loop.state.epoch / max(self.epochs, 1), 1.0))


class WeightAverage(Callback):
    """Ends training with the exponential average of the weights after each epoch (Polyak & Juditsky 1992).

    Parameters
    ----------
    decay : float
        What an epoch leaves of the average before it: 0.9 averages about the last ten.
    """

    changes_weights = True

    def __init__(self, decay: float = 0.9) -> None:
        check_parameters("WeightAverage", {"decay": decay}, {"decay": number(0, 1, open_high=True)})
        self.decay = decay
        self.weights: dict[str, Tensor] = {}

    def on_fit_start(self, loop: Loop) -> None:
        if loop.state.n_steps == 0:
            self.weights = {}

    @torch.no_grad()
    def on_epoch_end(self, loop: Loop) -> None:
        for name, value in loop.step.model.state_dict().items():
            if name not in self.weights or not value.is_floating_point():
                self.weights[name] = value.clone()
            else:
                self.weights[name] = self.weights[name].to(value.device).lerp_(value, 1 - self.decay)

    def on_fit_end(self, loop: Loop) -> None:
        if self.weights and loop.state.best_weights is None:
            loop.step.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights = state["weights"]


class Binarize(Callback):
    """Draws the training rows anew each epoch, each value 1 with its own probability (Burda et al. 2016).

    For grey images in [0, 1] and a Bernoulli likelihood. The rows as given are the probabilities.

    Parameters
    ----------
    random_state : int
        Of the draws, which have a generator of their own.
    """

    changes_weights = True

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def on_fit_start(self, loop: Loop) -> None:
        x = loop.source.rows.x
        if not x.is_floating_point() or x.min() < 0 or x.max() > 1:
            got = f"{x.min():g} to {x.max():g}" if x.is_floating_point() else "texts or other classes"
            raise DataError(f"Binarize: rows must be probabilities from 0 to 1 (after scaling), got {got}")
        self._probabilities = x.clone()

    @torch.no_grad()
    def on_epoch_start(self, loop: Loop) -> None:
        generator = torch.Generator().manual_seed(self.random_state + loop.state.epoch)
        uniform = torch.rand(self._probabilities.shape, generator=generator)
        torch.lt(uniform.to(self._probabilities.device), self._probabilities, out=loop.source.rows.x)

    def on_fit_end(self, loop: Loop) -> None:
        loop.source.rows.x.copy_(self._probabilities)


class Progress(Callback):
    """A bar on stderr with the epoch, the objective and the time left (rich)."""

    everywhere = False

    def on_fit_start(self, loop: Loop) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn, TimeRemainingColumn

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(file=sys.stderr),
        )
        self._task = self._bar.add_task("epochs", total=loop.max_epochs, completed=loop.state.epoch, figures="")
        self._bar.start()
        self._started = time.perf_counter()

    def on_epoch_end(self, loop: Loop) -> None:
        last = loop.state.history[-1]
        shown = [f"{name} {last[name]:.5g}" for name in ("objective", "val_objective") if name in last]
        self._bar.update(self._task, completed=loop.state.epoch, figures="  ".join(shown))

    def on_fit_end(self, loop: Loop) -> None:
        self._bar.stop()
