"""Declared ranges of parameters: one bad value, one named error, before any work is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np

from isthmus.errors import ParameterError

__all__ = [
    "Check",
    "Checked",
    "check_parameters",
    "choice",
    "instance",
    "integer",
    "integers",
    "number",
    "optional",
    "sequence",
]

Check = Callable[[Any], str | None]
"""None where the value is allowed, else what is ("a number in [0, 1)")."""


def number(low: float = -math.inf, high: float = math.inf, *, open_low: bool = False, open_high: bool = False) -> Check:
    """A finite real number between the two; ``open_low`` and ``open_high`` exclude an end."""
    left, right = "(" if open_low or low == -math.inf else "[", ")" if open_high or high == math.inf else "]"
    allowed = f"a number in {left}{low:g}, {high:g}{right}"

    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
            return allowed
        above = value > low or (value == low and not open_low)
        below = value < high or (value == high and not open_high)
        return None if above and below else allowed

    return check


def integer(low: int | None = None) -> Check:
    """A whole number, of at least ``low`` where that is given."""
    allowed = "a whole number" if low is None else f"a whole number of at least {low}"

    def check(value: Any) -> str | None:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return None if whole and (low is None or value >= low) else allowed

    return check


def sequence(one: Check, described: str, least: int = 0) -> Check:
    """A list or tuple of at least ``least`` items, each of which the check allows."""

    def check(value: Any) -> str | None:
        fits = isinstance(value, (list, tuple)) and len(value) >= least and all(one(item) is None for item in value)
        return None if fits else described

    return check


def integers(low: int) -> Check:
    """A sequence, which may be empty, of whole numbers of at least ``low``."""
    return sequence(integer(low), f"a sequence of whole numbers of at least {low}, such as (128, 64)")


def choice(names: Collection[Any]) -> Check:
    """One of the names."""

    def check(value: Any) -> str | None:
        known = isinstance(value, (str, bool)) and value in names
        return None if known else "one of " + ", ".join(repr(name) for name in names)

    return check


def instance(kind: type | tuple[type, ...], described: str) -> Check:
    """An object of that class."""
    return lambda value: None if isinstance(value, kind) else described


def optional(*checks: Check) -> Check:
    """None, or whatever one of the checks allows."""
    return lambda value: None if value is None else either(*checks)(value) and f"None or {either(*checks)(value)}"


def either(*checks: Check) -> Check:
    """Whatever one of the checks allows."""

    def check(value: Any) -> str | None:
        answers = [one(value) for one in checks]
        return None if None in answers else " or ".join(str(answer) for answer in answers)

    return check


def check_parameters(owner: str, values: Mapping[str, Any], allowed: Mapping[str, Check]) -> None:
    """Raise `ParameterError` for the first value that its check does not allow."""
    for name, check in allowed.items():
        if name in values and (what := check(values[name])) is not None:
            raise ParameterError(f"{owner}: {name} must be {what}, got {values[name]!r}")


class Checked:
    """A plain object that knows its constructor's arguments by name, in scikit-learn's manner."""

    allowed: ClassVar[Mapping[str, Check]] = {}

    def check(self) -> None:
        """Raise `ParameterError` where an argument is not allowed."""
        check_parameters(type(self).__name__, vars(self), self.allowed)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments as given."""
        return dict(vars(self))

    def set_params(self, **params: Any) -> Self:
        """Set arguments of the constructor by name."""
        if unknown := sorted(set(params) - set(vars(self))):
            raise ParameterError(f"{type(self).__name__} has no parameter {unknown[0]!r}; it has {sorted(vars(self))}")
        vars(self).update(params)
        return self
