"""Checkpoints of a run: when they are written, what goes on from them, and what ends a run in order.

The files are those of `checkpoint_files`. A run holds its folder by a lock that dies with the process.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from isthmus.errors import CheckpointError, TrainingError
from isthmus.training.checkpoint_files import Saved, locked, newest, write

if TYPE_CHECKING:
    from isthmus.training.loop import Loop

__all__ = ["Checkpoints"]

logger = logging.getLogger("isthmus")

TIMES_ITS_COST, LATEST = 50, 60.0
"""A checkpoint is due once the time since the last is so many times its cost, and after 60 s in any case."""


class Checkpoints:
    """The checkpoints of one run in one folder; a context that holds the folder.

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
        self._failure: OSError | None = None
        self._signal: int | None = None
        self._cost, self._last, self._last_step = 0.0, time.monotonic(), 0
        self._head: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._lock = locked(self.folder)
        self._lock.__enter__()
        try:
            self.saved = newest(self.folder)
            if self.saved is not None and not self.resume:
                raise CheckpointError(
                    f"checkpoint_dir {str(self.folder)!r} holds a run at step {self.saved.head['step']}: "
                    "pass resume=True to go on with it, or name another folder"
                )
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._join()
        finally:
            self._lock.__exit__(None, None, None)

    def seed(self, drawn: int) -> int:
        """That of the run: the saved one, or what was drawn for a new one."""
        return drawn if self.saved is None else int(self.saved.head["seed"])

    # ------------------------------------------------------------------ one run

    def run(self, loop: Loop, seed: int, identity: Mapping[str, str]) -> None:
        """Run the loop, from where the saved run stood; ``identity`` names what must not have changed."""
        decisions: dict[str, Any] = {"precision": loop.precision, "threads": torch.get_num_threads()}
        names = ", ".join(type(callback).__name__ for callback in loop.state.remembering)
        identity = {**identity, "callbacks with a state": names}
        if self.saved is not None:
            _compare(self.folder, self.saved.head["identity"], identity)
            decisions = self.saved.head["decisions"]
            loop.precision = decisions["precision"]
            _warn_of_other_bits(self.saved.head["versions"])
            loop.state.load_state_dict(self.saved.state)
            logger.info("going on at step %d, from %s", loop.state.n_steps, self.folder)
            self.saved = None
        self._head = {"seed": seed, "identity": identity, "decisions": decisions, "versions": _versions()}
        self._last, self._last_step = time.monotonic(), loop.state.n_steps
        threads = torch.get_num_threads()
        torch.set_num_threads(decisions["threads"])
        loop.checkpoints = self
        try:
            with self._listening():
                loop.run()
        finally:
            loop.checkpoints = None
            torch.set_num_threads(threads)

    def after_step(self, loop: Loop) -> None:
        """Write one if it is due, in the background; end the run where it was told to, or where writing fails."""
        if self._signal is not None:
            self._end(loop)
        if self._failure is not None:
            self._join()
        steps, waited = loop.state.n_steps - self._last_step, time.monotonic() - self._last
        due = waited >= min(TIMES_ITS_COST * self._cost, LATEST) if self.every is None else steps >= self.every
        if due and (self.every is not None or self._writer is None or not self._writer.is_alive()):
            self._write(loop)

    def finish(self, loop: Loop) -> None:
        """The last one, after the last step."""
        self._write(loop)
        self._join()

    # ------------------------------------------------------------------ writing

    def _write(self, loop: Loop) -> None:
        """Copy the state now, and write the copy while training goes on."""
        self._join()
        started = time.monotonic()
        state, head = loop.state.state_dict(), {**self._head, "step": loop.state.n_steps}
        copied = time.monotonic() - started

        def run() -> None:
            begun = time.monotonic()
            try:
                write(self.folder, head, state)
            except OSError as error:
                self._failure = error
            self._cost = copied + time.monotonic() - begun

        self._writer = threading.Thread(target=run, name="isthmus checkpoint")
        self._writer.start()
        self._last, self._last_step = time.monotonic(), loop.state.n_steps

    def _join(self) -> None:
        """Wait for the writer, and tell where it failed."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise CheckpointError(
                f"checkpoint_dir {str(self.folder)!r} cannot be written ({failure.strerror or failure}), so training "
                "stops; the last good checkpoint is intact: mend it, and fit(..., resume=True) goes on from there"
            ) from failure

    # ------------------------------------------------------------------ signals

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C wait for the end of a step; a second one does not. In the main thread alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def hear(number: int, frame: Any) -> None:
            if self._signal is not None:
                signal.signal(number, before[number])
                raise KeyboardInterrupt
            self._signal = number

        before: dict[int, Any] = {}
        try:
            for number in map(int, (signal.SIGTERM, signal.SIGINT)):
                before[number] = signal.signal(number, hear)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _end(self, loop: Loop) -> None:
        """Write a last one, say how to go on, and end as the signal would have."""
        number, self._signal = self._signal, None
        self.finish(loop)
        logger.warning(
            "stopped by %s after step %d; %s holds all of it: fit(..., resume=True) or `isthmus fit --resume` goes on",
            signal.Signals(number or 0).name,
            loop.state.n_steps,
            self.folder,
        )
        if number == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


def _compare(folder: Path, saved: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Raise `TrainingError` where a parameter or the data are not those of the saved run."""
    changed = sorted(name for name in {*saved, *given} if saved.get(name) != given.get(name))
    if changed:
        told = ", ".join(
            "the data" if name == "data" else f"{name} (was {saved.get(name)}, is {given.get(name)})"
            for name in changed
        )
        raise TrainingError(
            f"checkpoint_dir {str(folder)!r} holds another run, it differs in {told}: give what it was fitted "
            "with, or name another folder"
        )


def _versions() -> dict[str, str]:
    return {"torch": torch.__version__, "processor": torch.backends.cpu.get_cpu_capability()}


def _warn_of_other_bits(saved: Mapping[str, str]) -> None:
    for name, value in _versions().items():
        if saved[name] != value:
            logger.warning("%s was %s and is %s: the run goes on, its last bits may differ", name, saved[name], value)
