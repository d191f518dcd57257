"""Whether a file gives what the model gives, how fast, and what eight bits cost."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from isthmus.errors import ExportError, UnsupportedError
from isthmus.export.plans import Inputs, Plan

__all__ = ["AGREES", "Run", "checked", "quantized", "relative_error", "timed"]

AGREES = 1e-4
"""Of the largest value (at least 1), how far the file's results may be from the model's."""
TIES = 1e-3
"""Share of labels that may fall to the other side of a tie."""
TIMED, AT_MOST = 30, 2.0
"""Runs of one row, and seconds for them."""

Run = Callable[[Inputs], "tuple[np.ndarray, ...]"]


def checked(run: Run, plan: Plan) -> float:
    """The largest difference between the file's results and the model's, over the rows and the other sizes.

    Raises
    ------
    ExportError
        Where it is more than rounding.
    """
    found = 0.0
    for given in (plan.inputs, *plan.others):
        for name, got, wanted in zip(plan.outputs, run(given), _answer(plan, given), strict=True):
            found = max(found, _difference(name, got, wanted))
    return found


def _answer(plan: Plan, given: Inputs) -> tuple[np.ndarray, ...]:
    """The model's own, without its warning that arrays have no names of columns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return plan.exact(given)


def _difference(name: str, got: np.ndarray, wanted: np.ndarray) -> float:
    if got.shape != wanted.shape:
        raise ExportError(f"export: the file's {name} has the shape {got.shape} where the model's has {wanted.shape}")
    if wanted.dtype.kind in "iub":
        share = float(np.mean(got != wanted)) if wanted.size else 0.0
        if share > TIES:
            raise ExportError(f"export: {share:.2g} of the file's {name} are other than the model's; not written")
        return share
    finite = np.isfinite(wanted)
    scale = max(1.0, float(np.abs(wanted[finite]).max(initial=0.0)))
    gap = float(np.abs(got[finite].astype(float) - wanted[finite]).max(initial=0.0)) / scale
    if not gap <= AGREES or not (np.isfinite(got) == finite).all():
        raise ExportError(f"export: the file's {name} is off by {gap:.2g} of the largest value; not written")
    return gap


def relative_error(run: Run, plan: Plan) -> float:
    """‖file − model‖ / ‖model‖ of the first output; of labels the share that differ."""
    got, wanted = run(plan.inputs)[0], _answer(plan, plan.inputs)[0]
    if wanted.dtype.kind in "iub":
        return float(np.mean(got != wanted))
    finite = np.isfinite(wanted)
    got, wanted = got[finite].astype(float), wanted[finite].astype(float)
    return float(np.linalg.norm(got - wanted)) / max(float(np.linalg.norm(wanted)), 1e-30)


def timed(run: Run, plan: Plan) -> float:
    """Milliseconds of one row alone, the median."""
    row = {name: value[:1] for name, value in plan.inputs.items()}
    taken: list[float] = []
    while len(taken) < TIMED and sum(taken) < 1e3 * AT_MOST:
        started = time.perf_counter()
        run(row)
        taken.append(1e3 * (time.perf_counter() - started))
    return statistics.median(taken)


def quantized(path: Path) -> None:
    """The weights of matrix products as whole numbers of 8 bits, in place.

    Raises
    ------
    UnsupportedError
        Where the graph has no such products.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    exact = path.with_name(f"{path.name}.exact")
    path.rename(exact)
    try:
        quantize_dynamic(exact, path, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    finally:
        exact.unlink(missing_ok=True)
    if not any(node.op_type == "MatMulInteger" for node in onnx.load(path).graph.node):
        raise UnsupportedError("export: quantize='int8' is for the weights of matrix products, and this graph has none")
