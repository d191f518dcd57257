"""``isthmus export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.options import AsJson, Model, Parts

__all__ = ["export"]

METHOD_HELP = (
    "transform, reconstruct, predict, predict_proba or score_samples; start or step of a model of texts. "
    "Left out: the first that the model has."
)


def export(
    model: Model,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file: .onnx, or .pt2 for torch_export.", show_default=False)
    ],
    format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="onnx or torch_export.")] = "onnx",
    method: Annotated[str | None, typer.Option("--method", metavar="NAME", help=METHOD_HELP)] = None,
    quantize: Annotated[
        str | None, typer.Option("--quantize", metavar="int8", help="Weights of matrix products in 8 bits.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="Rows to check and time with; else drawn at random.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what stands at PATH.")] = False,
    parts: Parts = None,
    as_json: AsJson = False,
) -> None:
    """Write one method of a model as a file that other programs run.

    It is checked against the model before it takes its name. Needs pip install 'isthmus[export]' for onnx.
    """
    from isthmus.cli.arrays import read_rows
    from isthmus.cli.console import print_json
    from isthmus.cli.loading import load_for

    estimator = load_for(model, "export", parts)
    rows = None if data is None else read_rows(data, "--data")
    done = estimator.export(path, rows, method=method, format=format, quantize=quantize, overwrite=overwrite)
    if as_json:
        print_json({**done._asdict(), "path": str(done.path)})
        return
    free = "; ".join(f"{name}: {', '.join(map(str, axes))}" for name, axes in done.free_axes.items())
    lines = [
        f"{done.path}: {done.method} in {done.bytes} bytes",
        f"free axes  {free}",
        f"checked    off by {done.largest_difference:.1e} of the largest value at most",
        f"one row    {done.milliseconds_a_row:.3g} ms",
    ]
    if done.quantization_error is not None:
        lines.append(f"8 bits     {done.quantization_error:.2%} of the result's norm is lost")
    sys.stdout.write("\n".join(lines) + "\n")
