"""Checkpoints of a run: when they are written, what goes on from them, and what ends a run in order.

The files are those of `checkpoint_files`. A run holds its folder by a lock that dies with the process.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from isthmus.errors import CheckpointError
from isthmus.training.checkpoint_files import Saved, newest, write
from isthmus.training.fingerprint import compare, versions, warn_of_other_bits
from isthmus.training.folder_lock import locked
from isthmus.training.processes import current
from isthmus.training.rule import COMPILED
from isthmus.training.signals import Deferred
from isthmus.training.threads import threads

if TYPE_CHECKING:
    from isthmus.training.loop import Loop

__all__ = ["Checkpoints"]

logger = logging.getLogger("isthmus")

TIMES_ITS_COST, LATEST = 50, 60.0
"""A checkpoint is due once the time since the last is so many times its cost, and after 60 s in any case."""
DUE = 1024
"""What says so to the other processes, above the number of any signal."""


class Checkpoints:
    """The checkpoints of one run in one folder; a context that holds the folder, and of several processes in the first.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    every : int or None
        Steps from one to the next; None: by time, see `TIMES_ITS_COST`.
    resume : bool
        Go on from the newest good one, where there is one.

    Raises
    ------
    CheckpointError
        Where another run holds the folder, it cannot be written, or holds checkpoints and ``resume`` is False.
    """

    def __init__(self, folder: Path, every: int | None, resume: bool) -> None:
        self.folder, self.every, self.resume = folder, every, resume
        self.saved: Saved | None = None
        self._writer: threading.Thread | None = None
        self._failure: Exception | None = None
        self._signals = Deferred()
        self._processes = current()
        self._lock: AbstractContextManager[None] = nullcontext()
        self._cost, self._time, self._place = 0.0, 0.0, (0, 0)
        self._head: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._processes.wait()
        self.saved = self._processes.first(self._held)
        return self

    def _held(self) -> Saved | None:
        """Hold the folder; the newest checkpoint in it."""
        self._lock = locked(self.folder)
        self._lock.__enter__()
        try:
            saved = newest(self.folder)
            if saved is not None and not self.resume:
                raise CheckpointError(
                    f"checkpoint_dir {str(self.folder)!r} holds a run at step {saved.head['step']}: "
                    "pass resume=True to go on with it, or name another folder"
                )
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return saved

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if self._writer is not None:
                self._writer.join()
        finally:
            self._lock.__exit__(None, None, None)

    def seed(self, drawn: int) -> int:
        """That of the run: the saved one, or what was drawn for a new one."""
        return drawn if self.saved is None else int(self.saved.head["seed"])

    # ------------------------------------------------------------------ one run

    def run(self, loop: Loop, seed: int, identity: Mapping[str, str]) -> None:
        """Run the loop, from where the saved run stood; ``identity`` names what must not have changed."""
        decisions: dict[str, Any] = {"precision": loop.precision, "threads": torch.get_num_threads()}
        here = versions(loop.parameters[0].device)
        if self.saved is not None:
            compare(self.folder, self.saved.head["identity"], identity)
            warn_of_other_bits(self.saved.head["versions"], here)
            decisions = self.saved.head["decisions"]
            loop.precision = decisions["precision"]
            loop.was_compiled = decisions.get("compiled")
            if loop.was_compiled and loop.compile in (False, "replay"):
                raise CheckpointError(
                    f"checkpoint_dir {str(self.folder)!r} holds a run with compiled steps, which have other last "
                    f"bits: compile must be 'auto' or True to go on with it, got {loop.compile!r}"
                )
            loop.state.load_state_dict(self.saved.state)
            logger.info("going on at step %d, from %s", loop.state.n_steps, self.folder)
            self.saved = None
        self._head = {"seed": seed, "identity": identity, "decisions": decisions, "versions": here}
        self._time, self._place = time.monotonic(), _place(loop)
        loop.checkpoints = self
        try:
            with threads(decisions["threads"]), self._signals:
                loop.run()
                if self._signals.waiting is not None:
                    self._end(loop)
        finally:
            loop.checkpoints = None

    def after_step(self, loop: Loop) -> None:
        """Write one if it is due, in the background; end the run where it was told to, or where writing fails."""
        agreed = self._processes.largest((self._signals.waiting or 0) + DUE * self._is_due(loop))
        self._signals.waiting = agreed % DUE or None
        if self._signals.waiting is not None:
            self._end(loop)
        if self._failure is not None:
            self._join()
        if agreed >= DUE:
            self._write(loop)

    def _is_due(self, loop: Loop) -> bool:
        """Whether it is time for one; of several processes the first has the clock."""
        if self.every is not None:
            return loop.state.n_steps - self._place[0] >= self.every
        waited = time.monotonic() - self._time >= min(TIMES_ITS_COST * self._cost, LATEST)
        return waited and not self._writing() and self._processes.is_first

    def finish(self, loop: Loop) -> None:
        """The last one, where the run has moved since, and until it is on the disk."""
        self._join()
        if _place(loop) != self._place:
            self._write(loop)
            self._join()

    # ------------------------------------------------------------------ writing

    def _write(self, loop: Loop) -> None:
        """Copy the state now, and write the copy while training goes on."""
        self._place = _place(loop)
        if not self._processes.is_first and not loop.is_cut:
            return
        self._join()
        started = time.monotonic()
        compiled = loop.decision is not None and loop.decision.way == COMPILED
        head = {**self._head, "decisions": {**self._head["decisions"], "compiled": compiled}}
        with loop.gathered():
            state, head = loop.state.state_dict(), {**head, "step": loop.state.n_steps}
        copied = time.monotonic() - started
        if not self._processes.is_first:
            return

        def run() -> None:
            begun = time.monotonic()
            try:
                write(self.folder, head, state)
            except Exception as error:  # raised in the thread that trains
                self._failure = error
            self._cost = copied + time.monotonic() - begun

        self._writer = threading.Thread(target=run, name="isthmus checkpoint")
        self._writer.start()
        self._time = time.monotonic()

    def _writing(self) -> bool:
        return self._writer is not None and self._writer.is_alive()

    def _join(self) -> None:
        """Wait for the writer, and tell where it failed."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        failure, self._failure = self._failure, None
        if isinstance(failure, OSError):
            raise CheckpointError(
                f"checkpoint_dir {str(self.folder)!r} cannot be written ({failure.strerror or failure}), so training "
                "stops; the last good checkpoint is intact: mend it, and fit(..., resume=True) goes on from there"
            ) from failure
        if failure is not None:
            raise failure

    def _end(self, loop: Loop) -> None:
        """Write a last one, say how to go on, and end as the signal would have."""
        self.finish(loop)
        logger.warning(
            "stopped by %s after step %d; %s holds all of it: fit(..., resume=True) or `isthmus fit --resume` goes on",
            signal.Signals(self._signals.waiting or 0).name,
            loop.state.n_steps,
            self.folder,
        )
        self._signals.take_effect()


def _place(loop: Loop) -> tuple[int, int]:
    """Where the run stands: an epoch ends a moment after its last step."""
    return loop.state.n_steps, loop.state.epoch
