"""``isthmus score``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.options import AsJson, Data, Model, Overwrite, Parts

__all__ = ["score"]

MaybeOut = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Where each row's score goes; without it the mean is printed."),
]


def score(
    model: Model,
    data: Data,
    out: MaybeOut = None,
    overwrite: Overwrite = False,
    parts: Parts = None,
    as_json: AsJson = False,
) -> None:
    """Score each row; higher is better.

    The ELBO in nats where the model has one, else minus the loss.
    """
    from isthmus.cli.arrays import check_out, read_rows, write_rows
    from isthmus.cli.console import print_json
    from isthmus.cli.loading import load_for

    if out is not None:
        check_out(out, overwrite)
    scores = load_for(model, "score_samples", parts).score_samples(read_rows(data))
    if out is not None:
        write_rows(scores, out, overwrite, "score")
    if as_json:
        print_json({"mean": float(scores.mean()), "n": len(scores)})
    elif out is None:
        sys.stdout.write(f"{scores.mean():.8g}\n")
