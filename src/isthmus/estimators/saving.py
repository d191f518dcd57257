"""Saving, and the two hooks by which an estimator says what it learnt."""

from __future__ import annotations

import os
from typing import Any

from isthmus import persistence
from isthmus.errors import FileError
from isthmus.estimators.inference import require_fitted
from isthmus.persistence.layout import LEARNT_NAME
from isthmus.text import TextTokenizer

__all__ = ["Saving"]

TOKENIZER = "tokenizer_"


class Saving:
    """What was learnt is, by default, every attribute whose name ends in ``_``: data, arrays, parts, fitted
    estimators. An estimator that holds it otherwise overrides both hooks."""

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the fitted estimator as a folder that `isthmus.load` reads.

        Parameters
        ----------
        path : path
            Of the folder, which is there completely or not at all.
        overwrite : bool
            Whether a model that stands there may be replaced; it stands until the new one is complete.

        Raises
        ------
        FileError
            Where the path exists (without ``overwrite``) or cannot be written, or an argument is no data.
        """
        require_fitted(self, "save")
        persistence.save(self, path, overwrite)

    def _learnt(self) -> dict[str, Any]:
        """Everything learnt but the line, by attribute."""
        learnt = {name: value for name, value in vars(self).items() if LEARNT_NAME.fullmatch(name)}
        for name, value in learnt.items():
            if name.endswith(TOKENIZER):
                if not isinstance(value, TextTokenizer):
                    raise FileError(f"tokenizer: a {type(value).__name__} of your own cannot be saved as data")
                learnt[name] = value.to_json()
        return learnt

    def _restore(self, learnt: dict[str, Any]) -> None:
        """Take back what `_learnt` gave; the line is in place already."""
        for name, value in learnt.items():
            setattr(self, name, TextTokenizer.from_json(value) if name.endswith(TOKENIZER) else value)
