"""A model for a command that needs one of its methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load_for"]


def load_for(path: Path, method: str) -> Any:
    """The saved estimator, if it has the method."""
    from isthmus.errors import UnsupportedError
    from isthmus.persistence import load

    estimator = load(path)
    if not hasattr(estimator, method):
        raise UnsupportedError(f"{method}: MODEL {path} holds {type(estimator).__name__}, which has no {method}")
    return estimator
