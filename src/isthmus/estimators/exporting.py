"""Out of Python: the method by which an estimator leaves as a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from isthmus.estimators.inference import require_fitted

if TYPE_CHECKING:
    from isthmus.export import Exported

__all__ = ["Exporting"]


class Exporting:
    """Adds `export` and `push_to_hub`."""

    def export(
        self,
        path: str | os.PathLike[str],
        X: Any = None,
        *,
        method: str | None = None,
        format: str = "onnx",
        quantize: str | None = None,
        overwrite: bool = False,
    ) -> Exported:
        """Write one method as a file that other programs run: raw rows in, the method's results out.

        Scaler, layout and labels are inside. The number of rows is free, and so are the positions of series and of
        pictures where the network takes any size. The file is run and held to this estimator's results before it
        takes its name: to 1e-4 of the largest value, on the rows, on one alone and on another size.

        Parameters
        ----------
        path : path
            Ends in ``.onnx``, or ``.pt2`` for ``format="torch_export"``.
        X : like the X of `fit`, optional
            Two rows or more, of one size, to trace, check and time with; at most 64 are used, and their type
            (bytes, or else float32) is the file's. None: rows drawn at random in the user's units.
        method : str, optional
            Of an autoencoder "transform" or "reconstruct", of a `Segmenter` "predict" or "predict_proba", of an
            `AnomalyDetector` "score_samples" or "predict", of a `Seq2Seq` of numbers "predict". Of a model of texts
            "start" or "step": what reads the pieces of a source, and what gives log p of the next piece; the loop
            round it is the program's, which finds the tokenizers in the file's metadata. None: the first of them.
        format : {"onnx", "torch_export"}
        quantize : {None, "int8"}
            Weights of matrix products in 8 bits (convolutions stay); what it costs is in ``quantization_error``.
        overwrite : bool
            Whether a file that stands there may be replaced; it stands until the new one is checked.

        Returns
        -------
        Exported
            Where it lies, its free axes, the largest difference, a row's latency in ms, the loss by quantisation.

        Raises
        ------
        UnsupportedError
            Where the estimator's way to a result is no graph, or a package is missing.
        ExportError
            Where the file does not give what the estimator gives; no file is left.
        FileError
            Where the path exists, has another ending or cannot be written.
        """
        from isthmus.export import export  # which registers operators

        require_fitted(self, "export")
        return export(self, path, X, method, format, quantize, overwrite)

    def push_to_hub(
        self,
        repo_id: str,
        X: Any = None,
        y: Any = None,
        *,
        private: bool | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        license: str | None = None,
        message: str = "Upload a model of isthmus",
    ) -> str:
        """Upload what `save` writes to the Hugging Face hub, with a card; `isthmus.from_pretrained` reads it.

        Parameters
        ----------
        repo_id : str
            "name/model"; it is made where there is none.
        X, y : as in `report`, optional
            Rows whose figures the card shows, and from which the report beside it is made. None: a card of the
            model's parameters and its last epoch.
        private : bool, optional
            Of a repository that is made.
        revision : str, optional
            A branch.
        token : str or bool, optional
            None: the one that huggingface_hub remembers.
        license : str, optional
            An identifier of the hub, such as "mit".
        message : str
            Of the commit.

        Returns
        -------
        str
            The address of the commit.

        Raises
        ------
        FileError
            Where the repository cannot be written.
        UnsupportedError
            Where huggingface_hub is missing.
        """
        from isthmus.hub import push_to_hub

        require_fitted(self, "push_to_hub")
        told = {"private": private, "revision": revision, "token": token, "license": license, "message": message}
        return push_to_hub(self, repo_id, X, y, **told)  # type: ignore[arg-type]
