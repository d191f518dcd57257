"""A folder that one process at a time may write into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isthmus.errors import CheckpointError

__all__ = ["locked"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, made where it is not there; the system lets go of it where the process dies."""
    handle = -1
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            _take(handle, folder)
            (folder / "step-none.part").touch()
            for left in folder.glob("step-*.part"):  # that one, and those of a process that died while it wrote
                left.unlink(missing_ok=True)
        except CheckpointError:
            raise
        except (OSError, ValueError) as error:  # no path has a null character
            raise CheckpointError(
                f"checkpoint_dir must be a folder that can be written, got {str(folder)!r} "
                f"({getattr(error, 'strerror', error)})"
            ) from error
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _take(handle: int, folder: Path) -> None:
    with suppress(ImportError):  # where the system has no such locks, two runs are not kept apart
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CheckpointError(f"checkpoint_dir {str(folder)!r} is held by another run: name another") from error
