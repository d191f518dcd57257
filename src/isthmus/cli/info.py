"""``isthmus info``."""

from __future__ import annotations

import math
from typing import Any

from isthmus.cli.options import AsJson, Model

__all__ = ["info"]


def info(model: Model, as_json: AsJson = False) -> None:
    """Show what a saved model is.

    It is read from the files alone, so it works where the parts are your own, too.
    """
    from isthmus.cli.console import print_json, print_table
    from isthmus.persistence import describe

    described = describe(model)
    facts = _facts(described)
    if as_json:
        print_json(facts)
        return
    print_table(["", ""], [[name.replace("_", " "), _show(value)] for name, value in facts.items()], title=str(model))


def _facts(described: Any) -> dict[str, Any]:
    spec, history = described.spec, described.history or []
    parts = {place: part for place, part in ((spec["line"] or {}).get("parts") or {}).items() if part is not None}
    return {
        "estimator": spec["estimator"],
        "sample_shape": spec["input"]["sample_shape"],
        "columns": spec["input"]["feature_names_in"],
        "latent_dim": (spec["line"] or {}).get("latent_dim"),
        "parts": parts,
        "parameters": spec["params"],
        "saved_numbers": sum(math.prod(shape) for shape in described.shapes.values()),
        "epochs": len(history),
        "last_epoch": history[-1] if history else {},
        "format_version": spec["format_version"],
        "versions": spec["versions"],
    }


def _show(value: Any) -> str:
    """A saved value as it would be written in Python."""
    if isinstance(value, dict) and set(value) == {"part", "kind", "params"}:
        return f"{value['part']}({', '.join(f'{name}={_show(one)}' for name, one in value['params'].items())})"
    if isinstance(value, dict) and set(value) == {"estimator", "params"}:
        return _show({"part": value["estimator"], "kind": "estimator", "params": value["params"]})
    if isinstance(value, dict) and set(value) == {"tuple"}:
        return _show(tuple(value["tuple"]))
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_show(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        inner = ", ".join(_show(one) for one in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
