"""Graphs to ONNX and torch.export files, checked before they take their name."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from isthmus.checks import check_parameters, choice, instance, optional
from isthmus.errors import ExportError, FileError, IsthmusError, UnsupportedError
from isthmus.export.checking import Run, checked, quantized, relative_error, timed
from isthmus.export.choosing import plan_of
from isthmus.export.plans import TRACED, Plan
from isthmus.export.quiet import quiet
from isthmus.export.recurrent import translations
from isthmus.persistence import replace_file, resolved

__all__ = ["Exported", "export"]

ENDINGS = {"onnx": ".onnx", "torch_export": ".pt2"}
NEEDS: dict[str, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": ()}
IN_SMALLER_STEPS: dict[Any, Callable[..., Tensor]] = {
    torch.ops.aten.asinh.default: lambda x: x.sign() * (x.abs() + (x * x + 1).sqrt()).log(),
    torch.ops.aten.sinh.default: lambda x: (x.exp() - (-x).exp()) / 2,
}
"""Functions that onnxruntime lacks at 64 bits."""


class Exported(NamedTuple):
    """What was written."""

    path: Path
    method: str
    format: str
    free_axes: dict[str, tuple[int, ...]]
    """Of each input, those that may have any length: the rows', and positions where the network allows."""
    outputs: tuple[str, ...]
    largest_difference: float
    """Between the file's results and the model's, as a share of the largest value; of labels, the share that differ."""
    milliseconds_a_row: float
    """Median, of one row alone."""
    quantization_error: float | None
    """‖quantised − exact‖ / ‖exact‖ over the rows, of labels the share that differ; None without ``quantize``."""
    bytes: int


def export(
    estimator: Any,
    path: str | os.PathLike[str],
    X: Any,
    method: str | None,
    format: str,
    quantize: str | None,
    overwrite: bool,
) -> Exported:
    """Write one method of a fitted estimator as a file; see `Exporting.export`."""
    allowed = {
        "format": choice(list(ENDINGS)),
        "quantize": optional(choice(["int8"])),
        "overwrite": instance(bool, "True or False"),
    }
    check_parameters("export", {"format": format, "quantize": quantize, "overwrite": overwrite}, allowed)
    if quantize is not None and format != "onnx":
        raise UnsupportedError("export: quantize needs format='onnx'")
    _require(format)
    found = _free(resolved(path), format, overwrite)
    plan = plan_of(estimator, method, X, one_node=format == "onnx")
    facts: dict[str, Any] = {"quantization_error": None}

    def write(target: Path) -> None:
        with _told(format):
            run = _written(plan, target, format)
            facts["largest_difference"] = checked(run, plan)
            if quantize is not None:
                with quiet():
                    quantized(target)
                run = _session(target)
                facts["quantization_error"] = relative_error(run, plan)
            facts["milliseconds_a_row"] = timed(run, plan)
        facts["bytes"] = target.stat().st_size

    replace_file(found, write, overwrite)
    return Exported(found, plan.notes["method"], format, plan.free, plan.outputs, **facts)


def _require(format: str) -> None:
    missing = [name for name in NEEDS[format] if importlib.util.find_spec(name) is None]
    if missing:
        raise UnsupportedError(f"export to {format} needs {', '.join(missing)}: pip install 'isthmus[export]'")


def _free(path: Path, format: str, overwrite: bool) -> Path:
    if path.suffix != ENDINGS[format]:
        raise FileError(f"path must end in {ENDINGS[format]} for format={format!r}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise FileError(f"path must lie in a folder that exists, got {str(path)!r}")
    if path.is_dir():
        raise FileError(f"path must be a file, got the folder {str(path)!r}")
    if path.exists() and not overwrite:
        raise FileError(f"{path} exists; choose another path or overwrite it")
    return path


# ---------------------------------------------------------------------- files


def _written(plan: Plan, path: Path, format: str) -> Run:
    """The file, and a way to run it."""
    with quiet(), torch.no_grad():
        if format == "torch_export":
            return _program(plan, path)
        program = _traced(plan).run_decompositions(IN_SMALLER_STEPS)
        made = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=list(plan.inputs),
            output_names=list(plan.outputs),
            custom_translation_table=translations(),
        )
        assert made is not None
        made.model.metadata_props.update(plan.notes)
        made.save(path, external_data=False)
    return _session(path)


@contextlib.contextmanager
def _told(format: str) -> Iterator[None]:
    """Whatever an exporter or what runs its file raises is an `ExportError`."""
    try:
        yield
    except (IsthmusError, OSError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ExportError(f"export to {format} failed: {type(error).__name__}: {reason[:500]}") from error


def _traced(plan: Plan) -> torch.export.ExportedProgram:
    inputs = plan.spread or {name: value[:TRACED].clone() for name, value in plan.inputs.items()}
    free = {name: dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for name, axes in plan.free.items()}
    given, shapes = _arguments(inputs), _arguments(free)
    plan.graph(*given)  # so that constants are made outside of the trace
    return torch.export.export(plan.graph, given, dynamic_shapes=shapes)


def _arguments(named: dict[str, Any]) -> tuple[Any, ...]:
    """As the graph takes them: the tensors of a state are one argument, a list."""
    values = list(named.values())
    return (values[0], values[1:]) if next(iter(named)) == "previous" else tuple(values)


def _program(plan: Plan, path: Path) -> Run:
    with _any_length():
        program = _traced(plan)
    torch.export.save(program, path)
    module = torch.export.load(path).module()

    def run(given: dict[str, Tensor]) -> Any:
        with torch.no_grad():
            found = module(*_arguments(given))
        return tuple(one.numpy() for one in (found if isinstance(found, tuple) else (found,)))

    return run


@contextlib.contextmanager
def _any_length() -> Iterator[None]:
    """Recurrent layers as loops, where this version of torch has them; else a sequence's length is fixed."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError):
            ways = importlib.import_module("torch.export._patches")
            for name in ("register_gru_while_loop_decomposition", "register_lstm_while_loop_decomposition"):
                if hasattr(ways, name):
                    stack.enter_context(getattr(ways, name)())
        yield


def _session(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    kept = {one.name for one in session.get_inputs()}
    return lambda given: tuple(
        session.run(None, {name: value.numpy() for name, value in given.items() if name in kept})
    )
