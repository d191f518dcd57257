"""What makes two runs the same run: the parameters and the data, told in a few characters each."""

from __future__ import annotations

import inspect
import json
import zlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from isthmus.errors import FileError, ParameterError
from isthmus.spec import to_spec
from isthmus.training.callbacks import Callback
from isthmus.training.checkpoints import Checkpoints
from isthmus.training.trackers import callbacks_of
from isthmus.types import Batch

__all__ = ["checkpoints_of", "identity"]

NO_MATTER = ("checkpoint_dir", "checkpoint_every", "device", "verbose")
"""Parameters that a run may go on without: they change no weight."""


def checkpoints_of(estimator: Any, resume: bool) -> AbstractContextManager[Checkpoints | None]:
    """Those of the estimator's folder, held for the run; None where it names none."""
    if estimator.checkpoint_dir is not None:
        return Checkpoints(Path(estimator.checkpoint_dir), estimator.checkpoint_every, resume)
    if resume:
        raise ParameterError("resume=True needs a checkpoint_dir to go on from, got checkpoint_dir=None")
    return nullcontext()


def identity(estimator: Any, rows: Batch, held: Batch | None) -> dict[str, str]:
    """Each parameter that changes weights, as text, and a CRC-32 of the rows."""
    params = estimator.get_params(deep=False)
    told = {name: _text(value) for name, value in params.items() if name not in NO_MATTER}
    told["callbacks"] = ", ".join(map(_told, filter(_matters, callbacks_of(estimator.callbacks)))) or "none"
    told["compile"] = "compiled" if estimator.compile is True else "as written"  # a replay has the same bits
    return {**told, "data": f"{_checksum(rows)}, {'none' if held is None else _checksum(held)} held out"}


def _matters(callback: Callback) -> bool:
    return callback.changes_weights or callback.has_state


def _told(callback: Callback) -> str:
    """As its constructor was called."""
    names = [name for name in inspect.signature(type(callback)).parameters if hasattr(callback, name)]
    return f"{type(callback).__name__}({', '.join(f'{name}={_text(getattr(callback, name))}' for name in names)})"


def _text(value: Any) -> str:
    try:
        return json.dumps(to_spec(value), sort_keys=True)
    except (FileError, ParameterError, TypeError):  # an object of the user's, which is no data
        return type(value).__qualname__


def _checksum(rows: Batch) -> str:
    value = 0
    for name, field in rows._asdict().items():
        if field is not None:
            bare = field.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            value = zlib.crc32(bare.numpy().data, zlib.crc32(f"{name}{tuple(field.shape)}".encode(), value))
    return f"{value:08x}"
