"""Saving and loading: a model is a folder of data, without pickle, import paths or code.

``model.safetensors`` holds every tensor, ``history.json`` and ``learnt.json`` what was learnt besides,
``spec.json`` the class, its parameters, the line of parts, the input's schema and the SHA-256 of the others.
"""

from isthmus.persistence.folder import replace_file, resolved
from isthmus.persistence.layout import estimators
from isthmus.persistence.reading import Description, describe, load
from isthmus.persistence.writing import check_path, save

__all__ = ["Description", "check_path", "describe", "estimators", "load", "replace_file", "resolved", "save"]
