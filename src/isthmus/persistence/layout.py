"""The files of a model's folder, and what may stand in them."""

from __future__ import annotations

import importlib
import re
from typing import Any

__all__ = ["estimators"]

FORMAT = 1
WEIGHTS, HISTORY, LEARNT, SPEC = "model.safetensors", "history.json", "learnt.json", "spec.json"
DEFAULTED = ("_layout", "_longest")
"""Attributes with a value of the class, for models that were saved before there were such."""
LEARNT_NAME = re.compile(
    r"(?!module_$)[A-Za-z]\w*_|_sample_shape|_n_features_out|_sklearn_output_config|" + "|".join(DEFAULTED)
)
"""Attributes that hold what was learnt. The line, ``module_``, is saved by its parts and weights."""
SCHEMA = {"sample_shape": "_sample_shape", "n_features_in": "n_features_in_", "feature_names_in": "feature_names_in_"}
"""The schema of the input in spec.json, and the attributes that hold it."""


def estimators() -> dict[str, type[Any]]:
    """The library's estimators by class name."""
    family = importlib.import_module("isthmus.estimators")
    return {name: getattr(family, name) for name in family.__all__}
