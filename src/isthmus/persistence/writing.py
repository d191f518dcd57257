"""A fitted estimator to a folder of data."""

from __future__ import annotations

import importlib
import json
import logging
import os
import platform
from importlib.metadata import version
from numbers import Integral
from pathlib import Path
from typing import Any

import safetensors.torch

from isthmus.errors import FileError
from isthmus.persistence.data import Tensors, encode
from isthmus.persistence.folder import Writer, check_free, digest, resolved, write_folder
from isthmus.persistence.layout import FORMAT, HISTORY, LEARNT, LEARNT_NAME, SCHEMA, SPEC, WEIGHTS
from isthmus.persistence.line import describe_line
from isthmus.spec import to_spec

__all__ = ["check_path", "save"]

logger = logging.getLogger("isthmus")


def save(estimator: Any, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write a fitted estimator; callbacks and a RandomState are left out, which is logged.

    Raises
    ------
    FileError
        Where the path exists (without ``overwrite``) or cannot be written, or an argument is no data.
    """
    tensors: Tensors = {}
    learnt = estimator._learnt()
    history = encode(learnt.pop("history_", None), "history", {}, _refuse)
    schema = {key: learnt.pop(name, None) for key, name in SCHEMA.items()}
    schema = {key: value if value is None or isinstance(value, int) else list(value) for key, value in schema.items()}
    node = _describe(estimator, learnt, "", tensors)
    learnt = node.pop("learnt")

    def spec(target: Path) -> None:
        files = {name: digest(target.with_name(name)) for name in (WEIGHTS, HISTORY, LEARNT)}
        head = {"format_version": FORMAT, **node, "input": schema}
        _write_json(target, {**head, "files": files, "versions": _versions()})

    files: dict[str, Writer] = {
        WEIGHTS: lambda target: _write_tensors(target, tensors),
        HISTORY: lambda target: _write_json(target, {"history": history}),
        LEARNT: lambda target: _write_json(target, learnt),
        SPEC: spec,
    }
    write_folder(resolved(path), files, overwrite)


def check_path(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise `FileError`, before any work, where `save` could not write a model."""
    check_free(resolved(path), (WEIGHTS, HISTORY, LEARNT, SPEC), overwrite)


def _describe(estimator: Any, learnt: dict[str, Any], prefix: str, tensors: Tensors) -> dict[str, Any]:
    """An estimator as a node of JSON; a fitted one within it becomes a node within it."""

    def other(value: Any, where: str) -> Any:
        if hasattr(value, "_learnt"):
            return {"prefix": f"{where}.", **_describe(value, value._learnt(), f"{where}.", tensors)}
        return to_spec(value)

    line = getattr(estimator, "module_", None)
    if unknown := [name for name in learnt if not LEARNT_NAME.fullmatch(name)]:
        raise FileError(f"{type(estimator).__name__}._learnt() must give names that end in '_', got {unknown}")
    return {
        "estimator": type(estimator).__name__,
        "params": _params(estimator),
        "line": None if line is None else describe_line(line, prefix, tensors),
        "learnt": {name: encode(value, f"{prefix}learnt.{name}", tensors, other) for name, value in learnt.items()},
    }


def _params(estimator: Any) -> dict[str, Any]:
    params = dict[str, Any]()
    owner = type(estimator).__name__
    for name, value in estimator.get_params(deep=False).items():
        if name == "callbacks":
            if value:
                told = ", ".join(one if isinstance(one, str) else type(one).__name__ for one in value)
                logger.info("%s: callbacks are not saved: %s", owner, told)
        elif name == "checkpoint_dir":
            params[name] = None  # a path of this machine
        elif name == "random_state" and value is not None and not isinstance(value, Integral):
            logger.info("%s: random_state is saved as None, since a %s is no data", owner, type(value).__name__)
            params[name] = None
        elif hasattr(value, "_learnt"):
            params[name] = {"estimator": type(value).__name__, "params": _params(value)}
        else:
            params[name] = to_spec(value)
    return params


def _refuse(value: Any, where: str) -> Any:
    raise FileError(f"{where}: a {type(value).__name__} cannot be saved as data")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n", encoding="utf-8")


def _write_tensors(path: Path, tensors: Tensors) -> None:
    """Tied weights are written once for each name; loading ties them again by building the parts."""
    path.write_bytes(
        safetensors.torch.save({name: value.cpu().contiguous().clone() for name, value in tensors.items()})
    )


def _versions() -> dict[str, str]:
    libraries = ["torch", "numpy", "scikit-learn", "safetensors"]
    own = importlib.import_module("isthmus").__version__
    return {"isthmus": own, "python": platform.python_version(), **{name: version(name) for name in libraries}}
