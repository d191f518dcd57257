"""``--set name=value``: values as JSON or Python data, parts as ``Name(argument=value)``, else text."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["estimator_named", "parse_settings", "parse_value", "settle", "snake_case"]


def snake_case(name: str) -> str:
    """``"variational_autoencoder"`` for ``"VariationalAutoencoder"``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def estimator_named(name: str) -> Any:
    """The estimator's class by its name, lower case, with underscores or without (or as it is written in Python)."""
    from isthmus.errors import ParameterError
    from isthmus.persistence import estimators

    known = {snake_case(cls): kind for cls, kind in estimators().items()}
    joined = {known_name.replace("_", ""): kind for known_name, kind in known.items()}
    asked = snake_case(name).replace("_", "")
    if asked not in joined:
        raise ParameterError(f"ESTIMATOR must be one of {', '.join(sorted(known))}, got {name!r}")
    return joined[asked]


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """``["beta=4", "encoder=mlp"]`` as names and values."""
    from isthmus.errors import ParameterError

    parsed = dict[str, Any]()
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise ParameterError(f"--set must be name=value, such as --set latent_dim=8, got {setting!r}")
        parsed[name] = parse_value(text.strip())
    return parsed


def estimator_given(name: str, settings: Iterable[str] | None, seed: int | None = None) -> Any:
    """The estimator of that name with its settings, which outdo the seed."""
    given = {} if seed is None else {"random_state": seed}
    return settle(estimator_named(name)(), given | parse_settings(settings or []))


def settle(estimator: Any, settings: dict[str, Any], option: str = "--set") -> Any:
    """The estimator with the settings; an unknown name is answered by those there are."""
    from isthmus.errors import ParameterError

    known = sorted(estimator.get_params(deep=False))
    for name in settings:
        if name.partition("__")[0] not in known:
            raise ParameterError(
                f"{option}: {type(estimator).__name__} has no parameter {name!r}; it has {', '.join(known)}"
            )
    return estimator.set_params(**settings)


def parse_value(text: str) -> Any:
    """JSON, else a Python literal in which a part may stand as ``L2Weights(0.001)``, else the text itself."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    try:
        return _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, _NoDataError):
        return text


class _NoDataError(Exception):
    """The text is an expression, not data."""


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return name
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List(elts=entries):
            return [_value(entry) for entry in entries]
        case ast.Tuple(elts=entries):
            return tuple(_value(entry) for entry in entries)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            return _object(name, [_value(one) for one in args], {one.arg or "": _value(one.value) for one in keywords})
    raise _NoDataError


def _object(name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A part, optimiser, schedule, callback or estimator of the library; nothing else can be called."""
    from isthmus.errors import ParameterError
    from isthmus.persistence import estimators
    from isthmus.spec import catalogue
    from isthmus.training import callbacks, trackers

    known = {entry.cls.__name__: entry.cls for entry in catalogue()} | estimators()
    known |= {
        name: getattr(home, name)
        for home in (callbacks, trackers)
        for name in home.__all__
        if not name.isupper() and name[0].isupper()
    }
    if name not in known:
        raise ParameterError(f"--set: no part {name!r}; there are {', '.join(sorted(known))}")
    try:
        return known[name](*args, **kwargs)
    except TypeError as error:
        raise ParameterError(f"--set: {name}: {error}") from error
