"""The report, as a method."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from isthmus.estimators.inference import require_fitted

__all__ = ["Reporting"]


class Reporting:
    """One page about a fitted estimator; matplotlib is imported when it is asked for."""

    def report(
        self,
        X: Any,
        path: str | os.PathLike[str] = "report.html",
        y: Any = None,
        *,
        overwrite: bool = False,
        title: str | None = None,
        image_shape: Any = "auto",
        command: str | None = None,
    ) -> Path:
        """Write one self-contained HTML file about the model, with X as the rows that it shows.

        It needs no network and no script, and changes nothing in the model. The same model and rows give
        the same file.

        Parameters
        ----------
        X : array, tensor, frame, sparse matrix, list of pictures, series or texts, or path
            Rows as in `fit`; held-out ones tell more. Of very many pictures (2,700 of 28 × 28, say), series or texts
            (2,000) some are shown, evenly spaced.
        path : path
            Of the file.
        y : array, list or path, optional
            Labels that colour the code, ``(n,)``; clean rows in X's shape, where X is damaged; the masks of a
            `Segmenter`; the targets of a `Seq2Seq`, as in its `fit`, or, of one that forecasts, what is known ahead
            (``exogenous``) over X.
        overwrite : bool
            Whether a file that stands there may be replaced.
        title : str, optional
        image_shape : "auto", None or (H, W)
            Whether rows are pictures. "auto" takes arrays of 3 to 5 axes for pictures, and a table whose
            number of columns is a square (at least 16) and whose neighbouring columns are alike.
        command : str, optional
            Shown as the command that made the page.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        FileError
            Where the path exists (without ``overwrite``) or cannot be written.
        DataError
            Where X or y do not fit the model.
        """
        require_fitted(self, "report")
        from isthmus.report import write_report

        return write_report(
            self, X, path, y, overwrite=overwrite, title=title, image_shape=image_shape, command=command
        )
