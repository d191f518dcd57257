"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "Data", "Estimator", "Model", "Out", "Overwrite", "Parts", "Settings", "Target"]

DATA_HELP = (
    "The rows: a path ending in .npy, .npz, .csv, .parquet or .txt; file.npz:array and file.csv:column pick one."
)

ESTIMATOR_HELP = "The class's name, lower case with underscores: variational_autoencoder. `isthmus list` shows all."
TARGET_HELP = "The targets: a denoising_autoencoder's clean rows, a segmenter's masks, what a seq2_seq shall write."
SET_HELP = (
    "A parameter, as often as needed: beta=4, encoder=mlp, encoder__hidden_dims=[64,32], "
    "'penalties=[L2Weights(0.001)]'."
)

Estimator = Annotated[str, typer.Argument(metavar="ESTIMATOR", help=ESTIMATOR_HELP, show_default=False)]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help=SET_HELP, show_default=False)]
Target = Annotated[str | None, typer.Option("--target", metavar="DATA", help=TARGET_HELP)]
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
