"""``isthmus profile``."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from isthmus.cli.options import AsJson, Data, Estimator, Settings, Target

__all__ = ["profile"]


def profile(
    estimator: Estimator,
    data: Data,
    settings: Settings = None,
    target: Target = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Of each measurement, about.")] = 1.0,
    compile: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Build and time the compiled step, too: a minute or more.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Time the ways to train ESTIMATOR on DATA on this machine, and say which settings to use."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # PyTorch's profiler writes to the terminal
    from isthmus import profile as measured
    from isthmus.cli.console import print_json
    from isthmus.cli.fit import pair_for
    from isthmus.cli.values import estimator_given

    model = estimator_given(estimator, settings)
    found = measured(model, *pair_for(model, data, target), seconds=seconds, compile=compile)
    if as_json:
        told = {"timings": [row._asdict() for row in found.timings], "best": found.best._asdict()}
        print_json({**found._asdict(), **told})
        return
    _show(found)


def _show(found: Any) -> None:
    from isthmus.cli.console import print_table

    rows = [
        [
            repr(row.compile),
            str(row.threads),
            row.precision,
            "kept" if row.keeps_freed_memory else "given back",
            row.note if row.milliseconds is None else f"{row.milliseconds:.3f}",
            f"{row.build_seconds:.1f}",
        ]
        for row in found.timings
    ]
    print_table(["compile", "threads", "precision", "freed memory", "ms a step", "s before"], rows)
    whole = sum(found.parts.values())
    for title, times in (("a step as written", found.parts), ("its operators", found.operators)):
        print_table([title, "ms", "share"], [[name, f"{ms:.3f}", f"{ms / whole:.0%}"] for name, ms in times.items()])
    sys.stdout.write(
        f"{found.gigaflops:.3g} GFLOP a step: {found.share_of_peak:.0%} of the {found.matrix_peak:.0f} GFLOP/s of a "
        f"product of matrices\n{found.advice}\n"
    )
