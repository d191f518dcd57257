"""``isthmus list``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from isthmus.cli.options import AsJson

__all__ = ["listing"]


def listing(
    grid: Annotated[
        bool, typer.Option("--grid", help="Which encoders and bottlenecks build, and for which data.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List every part with its formula."""
    if grid:
        _list_grid(as_json)
    else:
        _list_parts(as_json)


def _list_parts(as_json: bool) -> None:
    from isthmus.cli.console import print_json, print_table

    entries = [*_estimators(), *_parts()]
    if as_json:
        print_json(entries)
        return
    for kind in dict.fromkeys(entry["kind"] for entry in entries):
        rows = [(one["name"], one["class"], one["formula"] or one["summary"]) for one in entries if one["kind"] == kind]
        print_table(["name", "class", "formula"], rows, title=kind)


def _estimators() -> list[dict[str, str]]:
    from isthmus.cli.values import snake_case
    from isthmus.persistence import estimators
    from isthmus.spec import first_sentence

    return [_entry("estimator", snake_case(name), name, "", first_sentence(cls)) for name, cls in estimators().items()]


def _parts() -> list[dict[str, str]]:
    from isthmus.spec import catalogue

    return [_entry(one.kind, one.name, one.cls.__name__, one.formula, one.summary) for one in catalogue()]


def _entry(kind: str, name: str, cls: str, formula: str, summary: str) -> dict[str, str]:
    return {"kind": kind, "name": name, "class": cls, "formula": formula, "summary": summary}


def _list_grid(as_json: bool) -> None:
    from isthmus.cli.console import print_json, print_table
    from isthmus.cli.grid import build_grid

    cells: dict[str, dict[str, dict[str, Any]]] = build_grid()
    if as_json:
        print_json(cells)
        return
    bottlenecks = list(next(iter(cells.values())))
    rows = [
        [
            encoder,
            *(", ".join(data for data, error in row[name].items() if error is None) or "none" for name in bottlenecks),
        ]
        for encoder, row in cells.items()
    ]
    print_table(["encoder", *bottlenecks], rows, title="builds for (rows: encoder with its mirrored decoder)")
