"""A folder of data to a fitted estimator, every byte of it distrusted."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from isthmus.errors import FileError, IsthmusError, ParameterError
from isthmus.objective import Objective
from isthmus.optimizers import Optimizer
from isthmus.part import Part
from isthmus.persistence.data import Tensors, decode
from isthmus.persistence.folder import digest, read_json, resolved, standing
from isthmus.persistence.layout import (
    DEFAULTED,
    FORMAT,
    HISTORY,
    LEARNT,
    LEARNT_NAME,
    SCHEMA,
    SPEC,
    WEIGHTS,
    estimators,
)
from isthmus.persistence.line import rebuild_line
from isthmus.schedules import Schedule
from isthmus.spec import FAMILIES, from_spec, registry

__all__ = ["Description", "describe", "load"]

logger = logging.getLogger("isthmus")

BAD_CONTENT = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError),
    *(IsthmusError, SafetensorError),
)
"""What reading, decoding or building from a damaged file may raise."""


LONGEST = 1000
"""Of a message, in characters."""


class Description(NamedTuple):
    """What a folder says of itself, read and verified without building anything."""

    spec: dict[str, Any]
    history: list[dict[str, float]] | None
    learnt: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def describe(path: str | os.PathLike[str]) -> Description:
    """Read and verify a model's folder without building it.

    Raises
    ------
    FileError
        Where a file is missing, truncated, changed, or of another format.
    """
    return _described(_folder(path))


def _folder(path: str | os.PathLike[str]) -> Path:
    """The model's folder, or the one that an interrupted overwrite set aside."""
    given = resolved(path)
    folder = standing(given)
    if not folder.is_dir():
        raise FileError(f"{path} is no folder of a model" if folder.exists() else f"no such model: {path}")
    if folder != given:
        logger.warning("an overwrite of %s was cut off; the model before it is read from %s", path, folder)
    return folder


def _described(folder: Path) -> Description:
    with _naming(folder):
        spec = _read_spec(folder)
        history = decode(read_json(folder / HISTORY)["history"], {}, _unknown)
        return Description(spec, history, read_json(folder / LEARNT), _shapes(folder / WEIGHTS))


def load(path: str | os.PathLike[str], parts: Sequence[type] = ()) -> Any:
    """A fitted estimator, as it was saved: it transforms, scores and samples bit for bit the same.

    Nothing in a folder can make code run: names resolve among the library's parts and ``parts``. The
    optimiser's memory is not part of a model, so ``partial_fit`` goes on with a fresh one.

    Parameters
    ----------
    path : path
        What ``save`` wrote.
    parts : sequence of classes
        Your own parts (and estimators) that the model uses, found by class name; none may have the name
        of one of the library's.

    Raises
    ------
    FileError
        Where the folder is incomplete, was changed, or names an unknown part.
    ParameterError
        Where ``parts`` holds no classes, or one that would shadow the library's.
    """
    parts = _check_parts(parts)
    folder = _folder(path)
    described = _described(folder)
    spec = described.spec
    with _naming(folder):
        tensors = safetensors.torch.load_file(folder / WEIGHTS)
        estimator, learnt = _rebuild({**spec, "learnt": described.learnt}, "", tensors, parts)
        history = {} if described.history is None else {"history_": described.history}
        estimator._restore({**learnt, **_schema(spec["input"]), **history})
        if tensors:
            raise FileError(f"{WEIGHTS} holds tensors that belong nowhere: {sorted(tensors)}")
    return estimator


def _schema(data: Any) -> dict[str, Any]:
    """The attributes that the input's schema stands for."""
    readers: dict[str, Callable[[Any], Any]] = {
        "sample_shape": tuple,
        "n_features_in": int,
        "feature_names_in": partial(np.array, dtype=object),
    }
    return {SCHEMA[key]: read(data[key]) for key, read in readers.items() if data[key] is not None}


def _rebuild(node: Any, prefix: str, tensors: Tensors, parts: Sequence[type]) -> tuple[Any, dict[str, Any]]:
    """The estimator with its line, and what else it had learnt."""
    estimator = _unfitted(node, parts)
    if node["line"] is not None:
        model = rebuild_line(node["line"], prefix, tensors, parts)
        device = getattr(estimator, "_device", torch.device("cpu"))
        if device.type == "cuda" and not torch.cuda.is_available():
            logger.warning("this model was saved with device=%r; torch finds no GPU, so it is on the CPU", str(device))
            device = torch.device("cpu")
        estimator.module_ = model.to(device)
    learnt = {}
    for name, value in node["learnt"].items():
        if not LEARNT_NAME.fullmatch(name) or (hasattr(type(estimator), name) and name not in DEFAULTED):
            raise FileError(f"{LEARNT}: {name!r} is no learnt attribute")
        learnt[name] = decode(value, tensors, _inner(tensors, parts))
    return estimator, learnt


def _inner(tensors: Tensors, parts: Sequence[type]) -> Callable[[dict[str, Any]], Any]:
    """What builds the parts and fitted estimators among learnt data."""

    def other(value: dict[str, Any]) -> Any:
        if "estimator" not in value:
            return from_spec(value, parts)
        estimator, learnt = _rebuild(value, value["prefix"], tensors, parts)
        estimator._restore(learnt)
        return estimator

    return other


def _unfitted(node: Any, parts: Sequence[type]) -> Any:
    """The estimator with its parameters; one among them is built likewise."""
    name = node["estimator"]
    known = {cls.__name__: cls for cls in parts if hasattr(cls, "_learnt")} | estimators()
    if not isinstance(name, str) or name not in known:
        raise FileError(
            f"{SPEC} names the estimator {name!r}; isthmus has {sorted(estimators())}; give yours in parts="
        )
    params = {}
    for key, value in node["params"].items():
        nested = isinstance(value, dict) and set(value) == {"estimator", "params"}
        params[key] = _unfitted(value, parts) if nested else from_spec(value, parts)
    return known[name](**params)


def _read_spec(folder: Path) -> dict[str, Any]:
    spec = read_json(folder / SPEC)
    if spec.get("format_version") != FORMAT:
        raise FileError(f"{SPEC}: format_version must be {FORMAT}, got {spec.get('format_version')!r}")
    wanted = {"format_version", "estimator", "params", "line", "input", "files", "versions"}
    if missing := sorted(wanted - set(spec)):
        raise FileError(f"{SPEC} lacks {', '.join(missing)}")
    for name in (WEIGHTS, HISTORY, LEARNT):
        if not (folder / name).is_file():
            raise FileError(f"{name} is missing")
        if digest(folder / name) != spec["files"][name]:
            raise FileError(f"{name} was changed or cut short: its SHA-256 is not the one in {SPEC}")
    return spec


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with safetensors.safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _check_parts(parts: Sequence[type]) -> list[type]:
    kinds = (*FAMILIES, "optimizer", "schedule", "objective")
    own = {cls.__name__: cls for kind in kinds for cls in registry(kind).values()}
    own |= estimators()
    for part in parts:
        if not isinstance(part, type) or not (
            issubclass(part, (Part, Optimizer, Schedule, Objective)) or hasattr(part, "_learnt")
        ):
            raise ParameterError(f"parts must hold classes of parts or estimators, got {part!r}")
        if own.get(part.__name__, part) is not part:
            raise ParameterError(f"parts: {part.__name__} would shadow a part of isthmus; rename it")
    return list(parts)


def _unknown(value: dict[str, Any]) -> Any:
    raise FileError(f"unknown data: {sorted(value)}")


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Whatever goes wrong with a file's contents is a `FileError` that names the folder."""
    try:
        yield
    except FileError as error:
        told = _one_line(error)
        raise FileError(told if str(folder) in told else f"{folder}: {told}") from error
    except KeyError as error:
        raise FileError(f"{folder}: {SPEC} or what it describes lacks {_one_line(error)}") from error
    except BAD_CONTENT as error:
        raise FileError(f"{folder}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    """Its message, without what a file may have put into it beyond reading."""
    told = " ".join(str(error).split())
    return told if len(told) <= LONGEST else f"{told[:LONGEST]} …"
