"""The processes that train one model: who is the first, what all agree in, what they add up.

They are those of `torch.distributed`'s group; gradients are averaged by DistributedDataParallel (Li et al. 2020). Each
process has all of the state of training, computes its rows of every batch, and has the same weights after each step.
Process 0 decides where processes might differ, and alone writes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from isthmus.errors import ContactError, IsthmusError, ParameterError
from isthmus.nn.share import Share
from isthmus.types import Batch

__all__ = ["ALONE", "Processes", "current", "joined"]

T = TypeVar("T")

MEETING = timedelta(minutes=30)
"""How long one waits for the others before a fit, as where their data take longer to read."""


class Processes:
    """All processes that train, as one of them sees it; alone it does nothing.

    Parameters
    ----------
    rank, size : int
        Which of how many.
    strategy : {"ddp", "fsdp"}
        Whether each has all weights and their gradients' mean, or a part of them: see `isthmus.training.sharded`.
    """

    def __init__(self, rank: int = 0, size: int = 1, strategy: str = "ddp") -> None:
        self.rank, self.size, self.strategy = rank, size, strategy

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes and tells."""
        return self.rank == 0

    @property
    def cut_weights(self) -> bool:
        """Whether each has a part of the weights."""
        return self.strategy == "fsdp" and not self.alone

    # ------------------------------------------------------------------ what all agree in

    def wait(self) -> None:
        """Wait for all, for long: one may take longer to read its data."""
        if not self.alone and _has_gloo():
            with self.contact():
                dist.monitored_barrier(timeout=MEETING)

    def first(self, make: Callable[[], T]) -> T:
        """What process 0 makes, in all of them; its error is raised in all of them."""
        if self.alone:
            return make()
        made: list[Any] = [None, None]
        if self.is_first:
            try:
                made[0] = make()
            except IsthmusError as error:
                made[1] = error
        with self.contact():
            dist.broadcast_object_list(made)
        if made[1] is not None:
            raise made[1]
        found: T = made[0]
        return found

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers."""
        if self.alone:
            return number
        value = torch.tensor(number, device="cpu" if _has_gloo() else "cuda")
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def meet(self, told: Mapping[str, str]) -> None:
        """Wait for all, and raise `ParameterError` where they were not given the same to fit."""
        if self.alone:
            return
        self.wait()
        all_told: list[Any] = [None] * self.size
        with self.contact():
            dist.all_gather_object(all_told, dict(told))
        for number, other in enumerate(all_told):
            if changed := sorted(name for name in all_told[0] if all_told[0][name] != other.get(name)):
                named = ", ".join("the data" if name == "data" else name for name in changed)
                raise ParameterError(f"all processes must fit the same, processes 0 and {number} differ in {named}")

    @contextmanager
    def contact(self) -> Iterator[None]:
        """Within it a process that is gone is told by name."""
        try:
            yield
        except RuntimeError as error:
            if self.alone or isinstance(error, IsthmusError) or not _is_of_contact(error):
                raise
            raise ContactError(
                f"process {self.rank} of {self.size} has lost another one: it was killed, failed or did not answer in "
                f"time. With a checkpoint_dir, fit(..., resume=True) goes on ({' '.join(str(error).split())[:200]})"
            ) from error

    # ------------------------------------------------------------------ the rows of a batch

    def sum(self, values: Tensor) -> Tensor:
        """Σ over the processes, in all of them; so is its gradient, since each has a loss that reads it."""
        summed: Tensor = values if self.alone else _Sum.apply(values)  # type: ignore[no-untyped-call]
        return summed

    def shares(self, n: int, parts: int = 1) -> list[Share]:
        """This process's rows of each of ``parts`` runs of a batch's ``n`` rows; fewer runs where rows are fewer."""
        found = []
        for first, last in pairwise(n * part // min(parts, n) for part in range(min(parts, n) + 1)):
            start, stop = (first + (last - first) * rank // self.size for rank in (self.rank, self.rank + 1))
            found.append(Share(start, stop, first, last, n, self.size, self.sum))
        return found

    def share(self, batch: Batch) -> tuple[Share | None, Batch]:
        """This process's rows of a batch; alone, all of it."""
        if self.alone:
            return None, batch
        (share,) = self.shares(len(batch.x))
        return share, share.weighed(batch.map(share.own))

    def everywhere(self) -> Share | None:
        """What makes `isthmus.nn.share.reduce` a sum over the processes, where no batch is read."""
        return None if self.alone else self.shares(self.size)[0]

    # ------------------------------------------------------------------ the gradient

    def wrapped(self, module: nn.Module, unused: bool) -> nn.Module:
        """The module, whose backward passes end with the gradient that all processes have in the mean.

        ``unused`` says that a parameter may get no gradient.
        """
        if self.alone or self.cut_weights:
            return module
        device = next(module.parameters()).device
        ids = None if device.type == "cpu" else [torch.cuda.current_device()]
        wrapped = nn.parallel.DistributedDataParallel(module, device_ids=ids, find_unused_parameters=unused)
        wrapped.broadcast_buffers = False  # they are the same everywhere
        return wrapped

    def without_exchange(self, module: nn.Module) -> AbstractContextManager[Any]:
        """Within it a backward pass adds to this process's gradient alone."""
        if self.cut_weights:
            return _kept_apart(module)
        return nullcontext() if self.alone else module.no_sync()  # type: ignore[operator]


@contextmanager
def _kept_apart(module: Any) -> Iterator[None]:
    module.set_requires_gradient_sync(False)
    yield
    module.set_requires_gradient_sync(True)


class _Sum(torch.autograd.Function):
    """y = Σ_r x_r; every process has an objective of y, so ∂/∂x_r is the sum of all their derivatives by y."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Sum.apply(gradient)  # type: ignore[no-untyped-call]


def _has_gloo() -> bool:
    return "gloo" in str(dist.get_backend_config())


def _is_of_contact(error: RuntimeError) -> bool:
    told = str(error)
    return isinstance(error, dist.DistError) or any(word in told for word in ("gloo", "NCCL", "monitoredBarrier"))


ALONE = Processes()
_CURRENT: ContextVar[Processes] = ContextVar("processes", default=ALONE)


def current() -> Processes:
    """Those that train together here: see `isthmus.launch`."""
    return _CURRENT.get()


@contextmanager
def joined(strategy: str = "ddp") -> Iterator[Processes]:
    """Within it estimators are fitted by all processes of `torch.distributed`'s group."""
    token = _CURRENT.set(Processes(dist.get_rank(), dist.get_world_size(), strategy))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Grad strides do not match")  # of kernels with one channel: no error
            yield _CURRENT.get()
    finally:
        _CURRENT.reset(token)
