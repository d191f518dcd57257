"""``isthmus sample``."""

from __future__ import annotations

from typing import Annotated

import typer

from isthmus.cli.options import Model, Out, Overwrite, Parts

__all__ = ["sample"]


def sample(
    model: Model,
    out: Out,
    n: Annotated[int, typer.Option("--n", help="How many rows.")] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    overwrite: Overwrite = False,
    parts: Parts = None,
) -> None:
    """Draw new rows from a model that has a prior."""
    from isthmus.cli.arrays import check_out, columns_of, write_rows
    from isthmus.cli.loading import load_for

    check_out(out, overwrite)
    estimator = load_for(model, "sample", parts)
    drawn = estimator.sample(n, random_state=seed)
    write_rows(drawn, out, overwrite, "samples", columns_of(estimator, None, drawn))
