"""``isthmus report``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.options import DATA_HELP, Data, Model, Overwrite, Parts

__all__ = ["report"]


def report(
    model: Model,
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to, such as report.html.", show_default=False)
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="DATA",
            help=f"A label for each row, to colour by; the clean rows; masks; or a seq2_seq's targets. {DATA_HELP}",
        ),
    ] = None,
    overwrite: Overwrite = False,
    parts: Parts = None,
) -> None:
    """Write a page on what the model learnt."""
    from isthmus.cli.arrays import check_standing
    from isthmus.cli.loading import load_for

    check_standing(out, overwrite)
    words = ["isthmus", "report", str(model), data, "--out", str(out), *(["--labels", labels] if labels else [])]
    words += [word for name in parts or () for word in ("--parts", name)]
    load_for(model, "report", parts).report(data, out, labels, overwrite=overwrite, command=shlex.join(words))
