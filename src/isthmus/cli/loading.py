"""A model for a command that needs one of its methods."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["load_for"]


def load_for(path: Path, method: str, parts: Sequence[str] | None = None) -> Any:
    """The saved estimator, if it has the method; its parts may be the user's own, as ``module:Class``."""
    from isthmus.errors import UnsupportedError
    from isthmus.persistence import load

    estimator = load(path, [_class_named(name) for name in parts or ()])
    if not hasattr(estimator, method):
        raise UnsupportedError(f"{method}: MODEL {path} holds {type(estimator).__name__}, which has no {method}")
    return estimator


def _class_named(name: str) -> Any:
    """What the user typed, imported from Python's path or the current folder; no file can ask for it."""
    from isthmus.errors import ParameterError

    module, colon, cls = name.partition(":")
    if not (module and colon and cls):
        raise ParameterError(f"--parts must be module:Class, such as --parts mine:MyEncoder, got {name!r}")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return getattr(importlib.import_module(module), cls)
    except (ImportError, AttributeError) as error:
        raise ParameterError(f"--parts {name}: {error}") from error
