"""Parts by name, and back: the registry that strings, saved models and the command line share.

A name resolves here only, never as an import path, so that a file cannot make code run.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping, Sequence
from inspect import cleandoc
from typing import Any, NamedTuple

from torch import nn

from isthmus.errors import FileError, ParameterError
from isthmus.objective import OBJECTIVES, Objective
from isthmus.optimizers import OPTIMIZERS, Optimizer
from isthmus.part import Part
from isthmus.schedules import SCHEDULES, Schedule

__all__ = ["FAMILIES", "Entry", "catalogue", "clone", "first_sentence", "from_spec", "registry", "resolve", "to_spec"]

FAMILIES = {
    "scaler": "isthmus.scalers",
    "augmentation": "isthmus.augmentations",
    "corruption": "isthmus.corruptions",
    "encoder": "isthmus.encoders",
    "bottleneck": "isthmus.bottlenecks",
    "decoder": "isthmus.decoders",
    "loss": "isthmus.losses",
    "penalty": "isthmus.penalties",
}


def registry(kind: str) -> dict[str, type[Any]]:
    """Every part of a kind by its name: what its folder's ``__init__`` lists, and no more."""
    if kind == "optimizer":
        return dict(OPTIMIZERS)
    if kind == "schedule":
        return dict(SCHEDULES)
    if kind == "objective":
        return dict(OBJECTIVES)
    family = importlib.import_module(FAMILIES[kind])
    classes = [getattr(family, name) for name in family.__all__]
    return {cls.part_name(): cls for cls in classes}


class Entry(NamedTuple):
    """One line of the list of all parts. ``formula`` is empty where the sentence says it all."""

    kind: str
    name: str
    cls: type[Any]
    formula: str
    summary: str


def catalogue() -> list[Entry]:
    """Every part of every kind, in the order of the line, then optimisers and schedules."""
    return [
        Entry(kind, name, cls, getattr(cls, "formula", ""), first_sentence(cls))
        for kind in [*FAMILIES, "optimizer", "schedule"]
        for name, cls in registry(kind).items()
    ]


def first_sentence(documented: Any) -> str:
    """The first sentence of a docstring, on one line. "et al." does not end one."""
    paragraph = " ".join(cleandoc(documented.__doc__ or "").split("\n\n")[0].split())
    return re.split(r"(?<!\bal\.)(?<=[.]) +(?=[A-Z])", paragraph)[0]


def resolve(kind: str, given: Any, argument: str | None = None) -> Any:
    """A fresh, unbuilt part for a name or an object; None stays None.

    Raises
    ------
    ParameterError
        For an unknown name, or an object of another kind.
    """
    argument = argument or kind
    if given is None:
        return None
    known = registry(kind)
    if isinstance(given, str):
        if given not in known:
            raise ParameterError(f"{argument} must be one of {sorted(known)} or an object of that kind, got {given!r}")
        part = known[given]()
    else:
        base = {"optimizer": Optimizer, "schedule": Schedule}.get(kind, Part)
        if not isinstance(given, base) or getattr(given, "kind", kind) != kind:
            raise ParameterError(
                f"{argument} must be one of {sorted(known)} or an object of that kind, got {type(given).__name__}"
            )
        part = clone(given)
    part.check()
    return part


def clone(part: Any) -> Any:
    """A fresh part with the same arguments; the given one stays as it is, unbuilt and reusable."""
    arguments = {name: _clone_value(value) for name, value in part.get_params(deep=False).items()}
    return type(part)(**arguments)


def _clone_value(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and any(isinstance(item, Part) for item in value):
        return type(value)(_clone_value(item) for item in value)
    return clone(value) if isinstance(value, (Part, Optimizer, Schedule)) else value


def to_spec(value: Any) -> Any:
    """A constructor's argument as JSON: numbers, strings, lists, dicts; a part as ``{"part": …}``."""
    if isinstance(value, (Part, Optimizer, Schedule, Objective)):
        kind = getattr(value, "kind", "optimizer" if isinstance(value, Optimizer) else "schedule")
        params = {name: to_spec(inner) for name, inner in value.get_params(deep=False).items()}
        return {"part": type(value).__name__, "kind": kind, "params": params}
    if isinstance(value, tuple):
        return {"tuple": [to_spec(inner) for inner in value]}
    if isinstance(value, list):
        return [to_spec(inner) for inner in value]
    if isinstance(value, Mapping):
        return {"dict": {str(name): to_spec(inner) for name, inner in value.items()}}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, nn.Module):
        raise FileError(
            f"a {type(value).__name__} is a network, not data, and cannot be saved: let a part of your own make it, "
            f"and give that part to load(path, parts=[...])"
        )
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return to_spec(value.item())
    raise FileError(f"an argument of type {type(value).__name__} cannot be saved as data: {value!r}")


def from_spec(value: Any, parts: Sequence[type] = ()) -> Any:
    """What `to_spec` wrote; parts resolve in the registry, or among ``parts`` by class name."""
    if isinstance(value, list):
        return [from_spec(inner, parts) for inner in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"dict"} and isinstance(value["dict"], dict):
        return {name: from_spec(inner, parts) for name, inner in value["dict"].items()}
    if set(value) == {"tuple"} and isinstance(value["tuple"], list):
        return tuple(from_spec(inner, parts) for inner in value["tuple"])
    if set(value) != {"part", "kind", "params"} or not isinstance(value["params"], dict):
        raise FileError(f"spec.json: not a part: {sorted(value)}")
    cls = _class_of(value["kind"], value["part"], parts)
    params = {name: from_spec(inner, parts) for name, inner in value["params"].items()}
    try:
        return cls(**params)
    except TypeError as error:
        raise FileError(f"spec.json: {value['part']} cannot take {sorted(params)}: {error}") from error


def _class_of(kind: str, name: str, parts: Sequence[type]) -> type[Any]:
    if not isinstance(kind, str) or kind not in {*FAMILIES, "optimizer", "schedule", "objective"}:
        raise FileError(f"spec.json: unknown kind of part {kind!r}")
    own = {cls.__name__: cls for cls in registry(kind).values()}
    theirs = {cls.__name__: cls for cls in parts}
    if shadows := sorted(name for name, cls in theirs.items() if own.get(name, cls) is not cls):
        raise ParameterError(f"parts: {shadows} would shadow a part of isthmus; rename it")
    found = (own | theirs).get(name) if isinstance(name, str) else None
    if found is None:
        raise FileError(
            f"spec.json names the {kind} {name!r}, which is no part of isthmus; give it: load(path, parts=[{name}]), "
            f"or --parts module:{name} on the command line"
        )
    base = {"optimizer": Optimizer, "schedule": Schedule, "objective": Objective}.get(kind, Part)
    if not issubclass(found, base) or getattr(found, "kind", kind) != kind:
        raise FileError(f"spec.json: {name} is no {kind}")
    return found
