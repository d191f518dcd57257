"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "Data", "Model", "Out", "Overwrite", "Parts"]

DATA_HELP = "The rows: a path ending in .npy, .npz, .csv or .parquet; file.npz:name picks an array."

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a saved model.", show_default=False)]
Data = Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP, show_default=False)]
Out = Annotated[
    Path,
    typer.Option("--out", metavar="FILE", help="Where to: .npy, .npz, .csv or .parquet.", show_default=False),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands at --out.")]
Parts = Annotated[
    list[str] | None,
    typer.Option("--parts", metavar="MODULE:CLASS", help="A part of your own that MODEL uses, as often as needed."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
