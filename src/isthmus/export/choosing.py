"""Which methods of which estimators leave as a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import DataError, ParameterError, UnsupportedError
from isthmus.export.graphs import METHODS, Graph, free_axes
from isthmus.export.plans import Inputs, Plan, drawn_rows, outer, shorter, traced, twin
from isthmus.export.sequences import forecast_plan, series_plan
from isthmus.export.stepwise import text_plan

__all__ = ["methods_of", "plan_of"]

TEXTS = ("start", "step")


def methods_of(estimator: Any) -> tuple[str, ...]:
    """The methods of a fitted estimator that can be exported, the default first.

    Raises
    ------
    UnsupportedError
        Where there are none.
    """
    owner = estimator.members_[0] if hasattr(estimator, "members_") else estimator
    layout = owner._layout
    if " to " in layout:
        raise UnsupportedError(
            f"export: a Seq2Seq of texts or of series can be exported, and this one goes from {layout}"
        )
    if hasattr(estimator, "members_"):
        if layout == "texts":
            raise UnsupportedError("export: a detector of texts scores pieces that a tokenizer cuts, and is no graph")
        return tuple(METHODS["detector"])
    if owner.module_.space.classes is not None:
        return TEXTS
    if hasattr(owner, "target_scaler_"):
        return ("predict",)
    return tuple(METHODS["segmenter" if hasattr(estimator, "predict_proba") else "autoencoder"])


def plan_of(estimator: Any, method: str | None, X: Any, one_node: bool) -> Plan:
    """The graph of a method by name, with rows to try it on.

    Raises
    ------
    ParameterError
        Where the estimator has no such method to export.
    """
    known = methods_of(estimator)
    method = known[0] if method is None else method
    if method not in known:
        name = type(estimator).__name__
        raise ParameterError(f"export: method must be one of {list(known)} for this {name}, got {method!r}")
    own = twin(estimator, one_node)
    if method in TEXTS:
        plan = text_plan(own, twin(estimator, False).module_, X, method)
    elif method == "predict" and hasattr(own, "target_scaler_"):
        windows = own._layout == "windows"
        plan = forecast_plan(estimator, own, X) if windows else series_plan(estimator, own, X)
    else:
        plan = _plan_of_rows(estimator, own, method, X)
    return plan._replace(notes={"estimator": type(estimator).__name__, "method": method, **plan.notes})


def _plan_of_rows(estimator: Any, own: Any, method: str, X: Any) -> Plan:
    owner = own.members_[0] if hasattr(own, "members_") else own
    kind = "detector" if owner is not own else "segmenter" if hasattr(own, "predict_proba") else "autoencoder"
    x = outer(_rows(owner, X))
    graph = Graph(owner, METHODS[kind][method](own, x.dim()))
    free = free_axes(owner, method, x.shape)

    def exact(given: Inputs) -> tuple[np.ndarray, ...]:
        return (np.asarray(getattr(estimator, method)(given["x"].numpy())),)

    others = ({"x": x[:1]}, {"x": shorter(x, free)})
    return Plan(graph, {"x": x}, {"x": tuple(free)}, (method,), exact, others, spread={"x": traced(x, free)})


def _rows(owner: Any, X: Any) -> np.ndarray:
    """Rows as the user gives them."""
    if X is None:
        return drawn_rows(owner)
    rows = owner._read(X)
    if rows.x_mask is not None:
        raise DataError("X must hold rows of one size to export with, got several")
    return np.asarray(owner._user_units(rows.x))
