"""``isthmus score``."""

from __future__ import annotations

import inspect
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
    target: Annotated[
        str | None, typer.Option("--target", metavar="DATA", help="What a seq2_seq of pairs shall have written.")
    ] = None,
    overwrite: Overwrite = False,
    parts: Parts = None,
    as_json: AsJson = False,
) -> None:
    """Score each row; higher is better.

    The ELBO in nats where the model has one, log p(target | row) of pairs, else minus the loss.
    """
    from isthmus.cli.arrays import check_out, read_rows, write_rows
    from isthmus.cli.console import print_json
    from isthmus.cli.loading import load_for
    from isthmus.errors import ParameterError

    if out is not None:
        check_out(out, overwrite)
    estimator = load_for(model, "score_samples", parts)
    if target is not None and "y" not in inspect.signature(estimator.score_samples).parameters:
        raise ParameterError(f"--target: {type(estimator).__name__} scores DATA alone; a seq2_seq scores pairs")
    targets = () if target is None else (read_rows(target, "--target"),)
    scores = estimator.score_samples(read_rows(data), *targets)
    if out is not None:
        write_rows(scores, out, overwrite, "score")
    if as_json:
        print_json({"mean": float(scores.mean()), "n": len(scores)})
    elif out is None:
        sys.stdout.write(f"{scores.mean():.8g}\n")
