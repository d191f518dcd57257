"""Signals that end a process, put off until a run can be left in order."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self

__all__ = ["Deferred"]


class Deferred:
    """A context in which SIGTERM and Ctrl-C wait for `take_effect`; a second one does not wait.

    In the main thread alone. A signal that is ignored stays so. At the end the handlers of before are back, and what
    still waits takes effect.

    Attributes
    ----------
    waiting : int or None
        The signal that was sent.
    """

    def __init__(self) -> None:
        self.waiting: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in map(int, (signal.SIGTERM, signal.SIGINT)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.waiting is not None and kind is None:
            self.take_effect()

    def take_effect(self) -> None:
        """What the signal would have done: Ctrl-C raises KeyboardInterrupt, SIGTERM SystemExit(143).

        A handler of the user's own is called; where it returns, so does this.
        """
        assert self.waiting is not None
        number, self.waiting = self.waiting, None
        handler = self._before[number]
        if handler is signal.SIG_DFL:
            raise SystemExit(128 + number)
        handler(number, None)

    def _hear(self, number: int, frame: Any) -> None:
        again, self.waiting = self.waiting is not None, number
        if again:
            self.take_effect()
