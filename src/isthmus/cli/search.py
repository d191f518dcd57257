"""``isthmus search``."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.options import AsJson, Data, Estimator, Overwrite, Settings, Target

__all__ = ["parse_grid", "search"]

GRID_HELP = (
    "A parameter and its values, as often as needed: latent_dim=4,8,16, 'encoder__hidden_dims=[64],[64,32]'. "
    "All combinations are candidates."
)


def search(
    estimator: Estimator,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="MODEL", help="The best one's folder.", show_default=False)],
    grid: Annotated[list[str], typer.Option("--grid", metavar="NAME=V1,V2", help=GRID_HELP, show_default=False)],
    settings: Settings = None,
    target: Target = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Each row is held out in one of so many folds.")] = 5,
    draws: Annotated[
        int | None, typer.Option("--draws", min=1, help="Candidates drawn at random, in place of all.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed gives the same models.")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Train ESTIMATOR with several values of its parameters, and save the best as the folder MODEL.

    Each candidate is scored on rows that it did not see, in turn; the best is trained again on all of DATA. Candidates
    of one architecture are trained together.
    """
    from isthmus.cli.arrays import check_standing
    from isthmus.cli.fit import pair_for
    from isthmus.cli.values import estimator_given, settle
    from isthmus.errors import DataError, ParameterError
    from isthmus.estimators.search import SearchCV
    from isthmus.persistence import check_path

    check_standing(out, overwrite, "a model")
    check_path(out, overwrite)
    model = estimator_given(estimator, settings, seed)
    candidates = parse_grid(grid)
    first = {name: values[0] for name, values in candidates.items()}
    settle(estimator_given(estimator, settings, seed), first, "--grid")
    if not hasattr(model, "score"):
        raise ParameterError(f"ESTIMATOR must have a score to be chosen by, and {type(model).__name__} has none")
    pair = pair_for(model, data, target)
    found = SearchCV(model, candidates, n_iter=draws, cv=folds, random_state=seed).fit(*pair)
    if math.isnan(found.best_score_):
        raise DataError("--grid: no candidate could be scored on all folds, so none is the best and none is saved")
    found.best_estimator_.save(out, overwrite=overwrite)
    _tell(found, out, as_json)


def parse_grid(grid: list[str]) -> dict[str, list[Any]]:
    """``["latent_dim=2,4", "encoder=mlp"]`` as names and lists of values."""
    from isthmus.cli.values import parse_value
    from isthmus.errors import ParameterError

    parsed = dict[str, list[Any]]()
    for given in grid:
        name, equals, text = given.partition("=")
        values = [value.strip() for value in _split(text)]
        if name.strip() in parsed:
            raise ParameterError(f"--grid must name a parameter once, with all its values, got {given!r} after another")
        if not equals or not name.strip().isidentifier() or "" in values:
            raise ParameterError(f"--grid must be name=v1,v2, such as --grid latent_dim=4,8, got {given!r}")
        parsed[name.strip()] = [parse_value(value) for value in values]
    return parsed


def _split(text: str) -> Iterator[str]:
    """At the commas that stand in no bracket and no quotation."""
    depth, quote, start = 0, "", 0
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif sign == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def _tell(found: Any, out: Path, as_json: bool) -> None:
    from isthmus.cli.console import print_json, print_table

    results = found.cv_results_
    order = results["rank_test_score"].argsort(kind="stable")
    columns = [results[key][order] for key in ("rank_test_score", "mean_test_score", "std_test_score", "mean_fit_time")]
    params = [results["params"][number] for number in order]
    if as_json:
        names = ("rank", "mean_score", "std_score", "seconds_a_fit")
        told = [
            {**dict(zip(names, map(float, row), strict=True)), "params": {name: _plain(one[name]) for name in one}}
            for *row, one in zip(*columns, params, strict=True)
        ]
        print_json({"model": str(out), "candidates": told})
        return
    lines = [
        [str(rank), *map(str, one.values()), f"{mean:.6g}", f"{std:.3g}", f"{seconds:.3g}"]
        for rank, mean, std, seconds, one in zip(*columns, params, strict=True)
    ]
    print_table(["rank", *params[0], "mean score", "deviation", "seconds a fit"], lines, title="candidates, best first")
    sys.stdout.write(f"{out}: {type(found.best_estimator_).__name__}, score {found.best_score_:.6g}\n")


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)
