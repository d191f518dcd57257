"""Where compiled steps are kept on disk: a folder for each, named by all that the code depends on."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

import isthmus
from isthmus.training.environment import environment

__all__ = ["code_folder", "kept_in"]

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
KEPT = 30 * 24 * 3600
"""Seconds that compiled code stays on disk after it was last read."""


def code_folder(graph: fx.Graph, inputs: Sequence[Tensor], settings: Mapping[str, Any]) -> Path:
    """Of this graph on inputs like these: ``ISTHMUS_CACHE_DIR``, else ``~/.cache/isthmus``, and a SHA-256.

    The digest is of the graph, the inputs' shapes, strides and types, the compiler's settings (threads among them),
    the versions of isthmus, torch and Python, and the processor's kind.
    """
    shapes = [(tuple(tensor.shape), tensor.stride(), str(tensor.dtype), str(tensor.device)) for tensor in inputs]
    versions = isthmus.__version__, torch.__version__, platform.python_version()
    processor = platform.machine(), torch.backends.cpu.get_cpu_capability(), platform.processor()
    told = "\n".join(map(str, (graph, shapes, sorted(settings.items()), versions, processor)))
    return _root() / "steps" / hashlib.sha256(told.encode()).hexdigest()[:32]


def _root() -> Path:
    own, shared = os.environ.get("ISTHMUS_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else Path(shared or Path.home() / ".cache") / "isthmus"


@contextmanager
def kept_in(folder: str) -> Iterator[None]:
    """PyTorch's compiler reads and writes there. Code beside it that nobody has used for `KEPT` is removed."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.utime(folder)
    _forget_old(Path(folder).parent)
    with environment(VARIABLE, folder):
        yield


def _forget_old(root: Path) -> None:
    for folder in root.iterdir():
        with suppress(FileNotFoundError):  # another run was faster
            if re.fullmatch("[0-9a-f]{32}", folder.name) and time.time() - folder.stat().st_mtime > KEPT:
                shutil.rmtree(folder, ignore_errors=True)
