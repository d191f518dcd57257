"""Places for several models in stacked tensors, and the one step that moves them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx

from isthmus.errors import UnsupportedError
from isthmus.training.alike import Record, tensors_of
from isthmus.training.compiled import compiled_or_replayed
from isthmus.training.feed import Feed
from isthmus.training.graph import Recorder, put_back, replayed
from isthmus.training.loop import Loop
from isthmus.training.step import present
from isthmus.types import Batch

__all__ = ["Member", "Slots"]


class Member:
    """One of the models: its loop, its recorded step, and its randomness from where torch's generator stood.

    ``error`` is what ended its training, if anything did.
    """

    def __init__(self, loop: Loop, record: Record, generator_state: Tensor) -> None:
        self.loop, self.record = loop, record
        self.generator = torch.Generator()
        self.generator.set_state(generator_state)
        self.tensors, self.homes = tensors_of(loop, record.moves), list[Tensor]()
        self.numbers: list[float] = []
        self.after_step = loop.hooks("after_step")
        self.steps_per_epoch = loop.source.steps_per_epoch
        self.learning_rate = 0.0
        self.first_step, self.started = 0, 0.0  # of its epoch: by the count of all slots' steps, by the clock
        self.error: Exception | None = None

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """An error in here ends this member's training alone."""
        try:
            yield
        except Exception as error:
            self.error = error

    @property
    def is_done(self) -> bool:
        """Whether it has no step to take."""
        state = self.loop.state
        return self.error is not None or state.stop is not None or state.epoch >= self.loop.max_epochs

    def next_rate(self) -> float:
        """The learning rate of its next step."""
        self.learning_rate = self.loop.next_rate()
        return self.learning_rate


class Slots:
    """Stacked tensors with a place for each of ``size`` members.

    A member's tensors are views of its place while it sits there, so that all that reads or moves a model between two
    steps, such as validation, hooks and callbacks, does so as ever. A place that was left goes on to nobody's use.

    Parameters
    ----------
    graph : Graph
        The members' step, of one model, as `united` gives it.
    members : sequence of Member
        All that will ever sit here.
    size : int
    """

    def __init__(self, graph: fx.Graph, members: Sequence[Member], size: int) -> None:
        one = members[0]
        self.members: list[Member | None] = [None] * size
        self.is_compiled = one.record.moves
        self._module = fx.GraphModule({}, graph)
        self._stacks = [torch.zeros(size, *tensor.shape, dtype=tensor.dtype) for tensor in one.tensors]
        self._rates = torch.zeros(size, dtype=torch.float64)
        self._numbers = [torch.zeros(size, dtype=torch.float64) for _ in one.numbers]
        self._draws = [torch.zeros(size, *draw.shape, dtype=draw.dtype) for draw in one.record.draws]
        self._fills: list[list[Callable[[], object]]] = [[] for _ in range(size)]
        self._feed = Feed([member.loop.source for member in members], size, one.record.size)
        self._run, row = self._recorded()
        self._log = row.new_zeros(max(member.steps_per_epoch for member in members), *row.shape)

    def _inputs(self, batch: Batch) -> list[Tensor]:
        return [*present(batch), self._rates, *self._stacks, *self._numbers, *self._draws]

    def _recorded(self) -> tuple[Callable[..., Sequence[Tensor]], Tensor]:
        """The step over stacked tensors, and a row of what it gives; it leaves all tensors as they are."""
        inputs = self._inputs(self._feed.like())
        used = [bool(node.users) for node in self._module.graph.nodes if node.op == "placeholder"]

        def wanted(given: Sequence[Tensor]) -> list[Tensor]:
            return [tensor for tensor, is_used in zip(given, used, strict=True) if is_used]

        with put_back(inputs), torch.no_grad(), _without_loops(), Recorder(wanted(inputs)) as recorder:
            outputs = torch.vmap(self._module.forward)(*inputs)
        if recorder.obstacle is not None:
            raise UnsupportedError(recorder.obstacle)
        record = recorder.graph(outputs)
        if self.is_compiled:
            run, _ = compiled_or_replayed(record, wanted(inputs), "the common step")
        else:
            run = replayed(record)
        return lambda *given: run(*wanted(given)), outputs[0]

    # ------------------------------------------------------------------ who sits where

    def seat(self, slot: int, member: Member) -> None:
        """The member's tensors move into the slot."""
        self.members[slot] = member
        member.homes = [tensor.data for tensor in member.tensors]
        for home, stack in zip(member.homes, self._stacks, strict=True):
            stack[slot].copy_(home)
        for number, value in zip(self._numbers, member.numbers, strict=True):
            number[slot] = value
        self._feed.seat(slot, member.loop.source)
        self._bind(slot, member)

    def _bind(self, slot: int, member: Member) -> None:
        for tensor, stack in zip(member.tensors, self._stacks, strict=True):
            tensor.data = stack[slot]
        self._fills[slot] = list(self._drawing(slot, member))

    def _drawing(self, slot: int, member: Member) -> Iterator[Callable[[], object]]:
        """What draws a step's random numbers as the member alone would: those of its own rows, in its order."""
        size = member.loop.source.sampler.batch_size
        for draw, buffer in zip(member.record.draws, self._draws, strict=True):
            own = buffer[slot] if size == self._feed.size else buffer[slot][: draw.shape[0] * size // self._feed.size]
            yield lambda fill=draw.fill, own=own: fill(own, member.generator)  # type: ignore[misc]

    def leave(self, slot: int) -> None:
        """Its member's tensors move back to where they were."""
        member = self.members[slot]
        assert member is not None
        for tensor, home in zip(member.tensors, member.homes, strict=True):
            home.copy_(tensor.data)
            tensor.data = home
        self.members[slot], self._fills[slot] = None, []
        self._feed.seat(slot, None)

    def shrink(self) -> None:
        """Keep the slots where a member sits, and record their step."""
        kept = [slot for slot, member in enumerate(self.members) if member is not None]
        self.members = [self.members[slot] for slot in kept]
        self._stacks, self._numbers, self._draws = (
            [tensor[kept] for tensor in tensors] for tensors in (self._stacks, self._numbers, self._draws)
        )
        self._rates, self._log = self._rates[kept], self._log[:, kept]
        self._feed.keep(kept)
        self._fills = [[] for _ in kept]
        for slot, member in enumerate(self.members):
            assert member is not None
            self._bind(slot, member)
        self._run, _ = self._recorded()

    # ------------------------------------------------------------------ a step

    def step(self, number: int) -> None:
        """One step of every member; its terms go to the log."""
        rates = [0.0 if member is None else member.next_rate() for member in self.members]
        self._rates.copy_(torch.tensor(rates, dtype=torch.float64))
        for fills in self._fills:
            for fill in fills:
                fill()
        with torch._C._AutoDispatchBelowAutograd():  # where the operations were recorded
            row, *gradients = self._run(*self._inputs(self._feed.next()))
            self._log[number % len(self._log)].copy_(row)
            if not self.is_compiled:
                self._move(gradients)

    def _move(self, gradients: Sequence[Tensor]) -> None:
        """Each member's optimiser takes its step: one fused call, which is quicker than its formula on the stack."""
        of_slots = zip(*(gradient.unbind(0) for gradient in gradients), strict=True)
        for member, own, rate in zip(self.members, of_slots, self._rates.unbind(0), strict=True):
            if member is not None:
                member.loop.optimizer.update(member.loop.parameters, list(own), member.loop.state.memory, rate)

    def terms(self, slot: int, first: int, last: int) -> dict[str, Tensor]:
        """Each term of the slot's steps from the one to the other, ``(k,)``."""
        member = self.members[slot]
        assert member is not None
        rows = self._log[torch.arange(first, last + 1) % len(self._log), slot]
        return dict(zip(member.record.names, rows.unbind(1), strict=True))


@contextmanager
def _without_loops() -> Iterator[None]:
    """Refuse operations that `torch.vmap` would run model by model, which gains nothing."""
    functorch: Any = torch._C._functorch
    before = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    except RuntimeError as error:
        raise UnsupportedError(f"an operation of the step does not take stacked tensors: {error}") from error
    finally:
        functorch._set_vmap_fallback_enabled(before)
