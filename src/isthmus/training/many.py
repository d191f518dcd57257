"""The training of several models by one step: each with its own rows, order, noise, schedule and end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from isthmus.optimizers import LBFGS
from isthmus.training.alike import united
from isthmus.training.callbacks import EarlyStopping, WeightAverage, WeightSchedule
from isthmus.training.loop import Loop
from isthmus.training.resident import Resident
from isthmus.training.rule import AS_WRITTEN, by_the_run
from isthmus.training.slots import Member, Slots
from isthmus.training.threads import fitting_threads
from isthmus.training.trackers import CSVLogger

__all__ = ["against_others", "train_together"]

BETWEEN_EPOCHS = (EarlyStopping, WeightAverage, WeightSchedule, CSVLogger)
"""Callbacks that read and move a model's own tensors, and nothing else of its loop."""
WIDE = 32
"""Channels from which convolutions keep the processor busy alone: of 32 and 64, eight together are no faster."""


def against_others(loop: Loop) -> str:
    """Why a model cannot be trained by a step that it shares, "" where it can."""
    if isinstance(loop.optimizer, LBFGS):
        return "since LBFGS evaluates all rows several times a step"
    if loop.parameters[0].device.type != "cpu":
        return "since models are trained together on a CPU only"
    if type(loop.source) is not Resident:
        return f"since {type(loop.source).__name__} makes batches of many kinds"
    if any(kernel.dim() > 2 and max(kernel.shape[:2]) >= WIDE for kernel in loop.parameters):
        return "since wide convolutions gain nothing by company"
    others = [type(callback).__name__ for callback in loop.callbacks if type(callback) not in BETWEEN_EPOCHS]
    if others:
        return f"since callback {others[0]} may need a loop of its own"
    decision = by_the_run(loop)
    return decision.reason if decision is not None and decision.way == AS_WRITTEN else ""


def train_together(members: Sequence[Member], size: int) -> None:
    """Train members of one form, ``size`` of them at a time.

    Where one stops, early or at its last epoch, the next of those that wait takes its place. Where nobody waits and
    half of the places are empty, replayed steps go on with fewer; compiled ones keep their shape. What fails ends
    one member's training alone, as its ``error``.

    Raises
    ------
    UnsupportedError
        Before any step, where it cannot be run over stacked tensors.
    """
    graph, numbers = united([member.record for member in members])
    for member, own in zip(members, numbers, strict=True):
        member.numbers = own
    size = min(size, len(members))
    loop = members[0].loop
    with fitting_threads(loop.step, size * loop.source.sampler.batch_size):
        _run(Slots(graph, members, size), deque(members))


def _run(slots: Slots, waiting: deque[Member]) -> None:
    number = 0
    try:
        while True:
            for slot, member in enumerate(slots.members):
                if member is None and waiting:
                    _take_in(slots, slot, waiting, number)
            n_seated = sum(member is not None for member in slots.members)
            if n_seated == 0:
                return
            if not slots.is_compiled and 2 * n_seated <= len(slots.members):
                slots.shrink()
            slots.step(number)
            for slot, member in enumerate(slots.members):
                if member is not None:
                    _after_step(slots, slot, member, number)
            number += 1
    finally:
        for slot, member in enumerate(slots.members):
            if member is not None:  # interrupted
                slots.leave(slot)
                _end(member)


def _take_in(slots: Slots, slot: int, waiting: deque[Member], number: int) -> None:
    """Seat the first of those who wait and have a step to take."""
    while waiting:
        member = waiting.popleft()
        slots.seat(slot, member)
        with member.guarded():
            member.loop._tell("on_fit_start")
            member.loop._before_fit()
        _open_epoch(member, number)
        if not member.is_done:
            return
        _finish(slots, slot, member)


def _open_epoch(member: Member, number: int) -> None:
    member.first_step, member.started = number, time.perf_counter()
    with member.guarded():
        member.loop._tell("on_epoch_start")


def _after_step(slots: Slots, slot: int, member: Member, number: int) -> None:
    """What a lone loop does between two steps, and between two epochs."""
    loop = member.loop
    state = loop.state
    state.n_steps += 1
    for hook in member.after_step:
        hook(member.learning_rate)
    if state.n_steps % member.steps_per_epoch:
        return
    state.learning_rate.fill_(member.learning_rate)
    state.columns = slots.terms(slot, member.first_step, number)
    with member.guarded():
        loop._close_epoch(member.started)
        loop._tell("on_epoch_end")
    if not member.is_done:
        _open_epoch(member, number + 1)
    if member.is_done:
        _finish(slots, slot, member)


def _finish(slots: Slots, slot: int, member: Member) -> None:
    """The member leaves, with its best weights where it kept any."""
    slots.leave(slot)
    state = member.loop.state
    if member.error is None and state.best_weights is not None:
        member.loop.step.model.load_state_dict(state.best_weights)
    _end(member)


def _end(member: Member) -> None:
    member.loop.step.eval()
    with member.guarded():
        member.loop._tell("on_fit_end")
