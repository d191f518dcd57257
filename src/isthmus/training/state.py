"""Everything a training run needs to go on from where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from isthmus.objective import Terms, TrainStep
from isthmus.optimizers import Memory
from isthmus.training.callbacks import Callback
from isthmus.training.resident import Sampler
from isthmus.training.rng import generators, set_generators

__all__ = ["TrainState", "whole"]

TOGETHER = 64
"""Steps whose terms are kept apart."""


@dataclass
class TrainState:
    """Weights, optimiser, schedules, sampler position, generators, early stopping's memory, history, and what
    callbacks remember.

    It can be saved at any step: `state_dict` is a tree of tensors, numbers, strings, lists and dicts.
    """

    step: TrainStep
    memory: Memory
    learning_rate: Tensor
    sampler: Sampler
    callbacks: Sequence[Callback] = ()
    n_steps: int = 0
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    log: list[Terms] = field(default_factory=list)
    columns: dict[str, Tensor] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    best_value: float = float("inf")
    best_epoch: int = 0
    best_weights: dict[str, Tensor] | None = None
    stop: str | None = None

    @property
    def remembering(self) -> list[Callback]:
        """The callbacks that have a state."""
        return [callback for callback in self.callbacks if callback.has_state]

    def state_dict(self) -> dict[str, Any]:
        """A copy, with the states of torch's generators (as the run sees them).

        The best weights alone are not copied: nobody writes into them.
        """
        copied: dict[str, Any] = _copy(
            {
                "step": self.step.state_dict(),
                "strengths": self._strengths(),
                "memory": self.memory,
                "learning_rate": self.learning_rate,
                "sampler": self.sampler.state_dict(),
                "callbacks": [callback.state_dict() for callback in self.remembering],
                "rng": generators(self.learning_rate.device),
                "search": self.search,
                "log": self.logged(),
                **{name: getattr(self, name) for name in _PLAIN},
            }
        )
        return {**copied, "best_weights": self.best_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where the saved run stood."""
        state = _copy(state)
        self.step.load_state_dict(state["step"])
        for name, number in self._strengths().items():
            number.copy_(state["strengths"][name])
        for key, tensors in self.memory.items():
            for mine, saved in zip(tensors, state["memory"][key], strict=True):
                mine.copy_(saved)
        self.learning_rate.copy_(state["learning_rate"])
        self.sampler.load_state_dict(state["sampler"])
        for callback, saved in zip(self.remembering, state["callbacks"], strict=True):
            callback.load_state_dict(saved)
        device = self.learning_rate.device
        set_generators(state["rng"], device)
        self.log, self.columns = [], {name: column.to(device) for name, column in state["log"].items()}
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.search, self.best_weights = _copy(state["search"], device), state["best_weights"]

    def note(self, terms: Terms) -> None:
        """A step's terms. Now and then they are put together: a number kept from each step would lie between the
        large tensors of the next, and memory that is freed would fit them no more.
        """
        self.log.append(terms)
        if len(self.log) == TOGETHER:
            self.logged()

    def logged(self) -> dict[str, Tensor]:
        """Each term of the epoch's steps so far, ``(k,)``."""
        for name in (self.log or [{}])[0]:
            newest = torch.stack([terms[name] for terms in self.log])
            self.columns[name] = torch.cat([self.columns[name], newest]) if name in self.columns else newest
        self.log.clear()
        return self.columns

    def _strengths(self) -> dict[str, Tensor]:
        """The numbers that callbacks move: buffers that a saved model leaves out."""
        saved = self.step.state_dict().keys()
        return {name: value for name, value in self.step.named_buffers() if name not in saved and value.dim() == 0}

    def keep_best(self, value: float) -> bool:
        """Remember the model's weights if this value is the lowest so far."""
        if not value < self.best_value:
            return False
        self.best_value, self.best_epoch = value, self.epoch
        self.best_weights = _copy(dict(self.step.model.state_dict()))
        return True


_PLAIN = ("n_steps", "epoch", "history", "best_value", "best_epoch", "stop")


def whole(tensor: Tensor) -> Tensor:
    """The tensor; where it is cut over processes, all of it, for which all of them must ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _copy(tree: Any, device: torch.device | None = None) -> Any:
    if isinstance(tree, Tensor):
        return whole(tree.detach()).to(device, copy=True)
    if isinstance(tree, dict):
        return {key: _copy(value, device) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_copy(value, device) for value in tree]
    return tree
