"""What a report is about: a trained model and rows for it, with all that several sections ask for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from isthmus import adapters
from isthmus.errors import DataError, UnsupportedError
from isthmus.report.layout import image_shape_of, tiles
from isthmus.report.rows import at_most, every, padded, read_numbers, read_rows, real, taken
from isthmus.report.targets import Targets, read_targets
from isthmus.report.texts import Texts
from isthmus.types import Batch

__all__ = ["Subject"]


class Subject:
    """The model is known by what it can do: sections ask ``hasattr``, `rebuilds`, `decodes`, never for a class.

    ``layout`` says what rows are: "rows" of a table or pictures, "series", "texts", or "windows" of series that are
    forecast. Of very many pictures, series or texts some are taken, evenly spaced; ``total`` is how many were given.

    Parameters
    ----------
    estimator : object
        Fitted, with ``module_``, ``objective_``, ``history_``, ``transform``, ``reconstruct``; or with ``members_``,
        a list of such objects (a detector around them), of which the middle one is shown.
    X : array, tensor, frame, sparse matrix, list of pictures, series or texts, or path
        Rows to show, as the estimator takes them.
    y : array, list or path, optional
        Labels, one a row; clean rows in X's shape, where X is damaged; masks, where the model labels positions;
        the targets, where it writes texts for texts or series for series; what is known ahead, where it forecasts.
    image_shape : "auto", None or (H, W)
        Whether rows are pictures.
    """

    def __init__(self, estimator: Any, X: Any, y: Any = None, image_shape: Any = "auto") -> None:
        self.estimator = estimator
        self.members = [estimator] if hasattr(estimator, "module_") else list(estimator.members_)
        self.line = self.members[len(self.members) // 2]
        self.module = self.line.module_
        self.dims: int | None = getattr(self.module.encoder, "dims", None)
        self.positions = len(self.module.space.shape) - 1
        X, y = getattr(self.line, "_read_pair", adapters.read_pair)(X, y)
        layout: str = getattr(self.line, "_layout", "rows")
        if self.line is not estimator and getattr(estimator, "window", None) is not None:
            raise UnsupportedError(
                "report has no page for a detector of windows; explain shows what speaks against a step"
            )
        if " to " in layout:
            raise UnsupportedError(f"report has no page for a model from {layout}; predict shows the model")
        self.layout = "texts" if self.writes else layout
        self.given = X
        rows = self.line._read_known(self.given, "X")[0] if self.forecasts else self.given
        plain = self.layout == "rows"
        rows = read_numbers(rows, self.dims) if plain else read_rows(rows, self.dims, layout=self.layout)
        self.total = len(rows)
        if self.total == 0:
            raise DataError("X must hold at least one row to show, got none")
        self.index = every(self.total, at_most(rows))
        self.rows: Any = taken(rows, self.index)
        self.ragged = isinstance(self.rows, list)
        self.shown = self.like(self.rows, self.line)
        self.names = [str(name) for name in getattr(self.given, "columns", ()) if self.layout == "rows"]
        if self.pairs and y is None:
            raise DataError("y must be the target series, one a source: report(sources, path, targets)")
        self.known = y if self.forecasts else None
        targets = Targets() if y is None or self.forecasts else read_targets(self, y)
        self.clean, self.labels, self.masks, self.references, *_ = targets
        self.targets: Any = targets.series
        self.image_shape = image_shape_of(self.rows, image_shape, self.positions) if plain else None
        self.command: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def like(self, rows: Any, owner: Any) -> Any:
        """Rows as the owner was fitted: a frame with X's names where it knows names, else the array."""
        if not hasattr(self.given, "columns") or not hasattr(owner, "feature_names_in_") or self.layout != "rows":
            return rows
        pandas = hasattr(self.given, "iloc")
        return type(self.given)(rows, **{"columns" if pandas else "schema": list(self.given.columns)})

    # ------------------------------------------------------------------ what the model can do

    @property
    def rebuilds(self) -> bool:
        """Whether what it gives can be held against `truth`: X again, or the targets of series."""
        return bool(self.module.scales_target) or self.pairs

    @property
    def pairs(self) -> bool:
        """Whether it writes a series for a series."""
        return hasattr(self.line, "target_scaler_") and not self.forecasts

    @property
    def forecasts(self) -> bool:
        """Whether it writes what comes next in a series."""
        return getattr(self.line, "_layout", "rows") == "windows"

    @property
    def labels_positions(self) -> bool:
        """Whether it gives a label for every position of a picture."""
        return hasattr(self.line, "predict_proba")

    @property
    def writes(self) -> bool:
        """Whether it writes a text for a text."""
        return hasattr(self.line, "target_tokenizer_")

    @property
    def attends(self) -> bool:
        """Whether it can show where in the source it looked for each piece."""
        decoder = self.module.decoder
        return self.writes and hasattr(decoder, "attention_weights") and getattr(decoder, "attention", None) is not None

    @property
    def learnt_pairs(self) -> bool:
        """Whether it undoes damage that the user's own pairs showed it, and none of its own making."""
        return hasattr(self.line, "corrupt") and self.module.corruption is None

    @property
    def tabular(self) -> bool:
        """Whether rows are columns of a table, and no positions of a signal."""
        return not self.ragged and self.rows.ndim == 2 and self.positions == 0

    @property
    def has_code(self) -> bool:
        """Whether everything goes through the code, of one size (no skips go round it)."""
        if self.forecasts:
            return False
        one_size = not self.ragged if self.layout == "rows" else None not in self.module.bottleneck.out.shape
        return one_size and not self.module.encoder.out.skips

    @property
    def decodes(self) -> bool:
        """Whether a code alone can be decoded."""
        return self.has_code and self.rebuilds and not self.pairs

    # ------------------------------------------------------------------ what sections read

    @cached_property
    def truth(self) -> Any:
        """What a reconstruction is held against: the targets or the clean rows where they are given, else X."""
        rows = self.targets if self.pairs else self.rows if self.clean is None else self.clean
        return real(list(rows) if self.ragged else rows)

    @cached_property
    def reconstruction(self) -> Any:
        """The model's, in the user's units; of pairs what it writes, as long as the target."""
        if self.pairs:
            return real(list(self.line.predict(self.rows, lengths=self.lengths)))
        rows = self.line.reconstruct(self.shown)
        return real(list(rows) if self.ragged else rows)

    @cached_property
    def texts(self) -> Texts:
        """Texts beside those that the model writes for them; only of layout "texts"."""
        return Texts(self)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Steps of each series (the target's, of a pair), pieces of each text, ``(n,)``."""
        if self.forecasts:
            return np.array([len(row.values) for row in self.rows])
        rows = self.texts.sources if self.layout == "texts" else self.targets if self.pairs else self.rows
        return np.array([len(row) for row in rows])

    @property
    def unit(self) -> str:
        """Of what is rebuilt or written."""
        return "units of y" if self.pairs else "units of X"

    @cached_property
    def errors(self) -> np.ndarray:
        """Σᵢ (x̂ᵢ − xᵢ)² of each row, ``(n,)``, in the user's units squared."""
        if self.ragged:
            pairs = zip(self.reconstruction, self.truth, strict=True)
            return np.array([np.square(rebuilt - truth).sum() for rebuilt, truth in pairs])
        return np.square(self.reconstruction - self.truth).reshape(len(self), -1).sum(1)

    @cached_property
    def rms(self) -> np.ndarray:
        """Root mean square error of each row's numbers, ``(n,)``, in the user's units."""
        return np.sqrt(self.errors / [row.size for row in self.truth])

    @cached_property
    def codes(self) -> np.ndarray:
        """The code of each row, ``(n, D)`` or ``(n, *positions, D)``."""
        return np.asarray(self.line.transform(self.shown))

    @cached_property
    def flat_codes(self) -> np.ndarray:
        """Codes as vectors, ``(n, D)``; those of several positions one after another."""
        return self.codes.reshape(len(self), -1).astype(np.float64)

    @cached_property
    def units(self) -> np.ndarray:
        """Each unit's activation, ``(n, D)``; over several positions their mean."""
        return self.codes.reshape(len(self), -1, self.codes.shape[-1]).mean(1).astype(np.float64)

    @cached_property
    def spread(self) -> np.ndarray:
        """The deviation of each column, ``(*shape,)``, and of each channel of series, ``(D,)``; 1 where constant."""
        rows = self.steps if self.layout == "series" else self.rows.astype(np.float64)
        deviation = rows.std(0)
        return np.where(deviation > 0, deviation, 1.0)

    @property
    def steps(self) -> np.ndarray:
        """Every step of every series, ``(ΣT, D)``."""
        return np.concatenate([row.reshape(len(row), -1) for row in self.truth])

    @property
    def penalties(self) -> dict[str, Any]:
        """The penalties of the objective that was fitted, by name."""
        objective = self.line.objective_
        return dict(zip(objective.names, objective.penalties, strict=True))

    def penalty(self, name: str) -> Any:
        """The penalty of that name, or None."""
        return self.penalties.get(name)

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights the model has, from 1: the best of ``monitor``; the last where that has no figure."""
        history, monitor = self.line.history_, self.line.get_params(deep=False).get("monitor", "val_objective")
        if not history or monitor not in history[-1]:
            return len(history)  # none were held out, or `partial_fit` went on from there
        figures = np.array([row[monitor] for row in history])
        return 1 + int((-figures if monitor.endswith("bleu") else figures).argmin())

    @property
    def columns(self) -> list[str]:
        """Names of a table's columns; their numbers where they have none, those of a pixel in brackets."""
        shape = self.rows.shape[1:]
        return self.names or [str(place if len(place) > 1 else place[0]) for place in np.ndindex(shape)]

    def decode(self, codes: np.ndarray, lengths: Any = None) -> Any:
        """Codes ``(n, D)`` or ``(n, *positions, D)`` to rows in the user's units; series and texts as lists."""
        codes = codes.astype(np.float32)
        if self.layout == "rows":
            return np.asarray(self.line.inverse_transform(codes), dtype=np.float64)
        decoded = list(self.line.inverse_transform(codes, lengths))
        return decoded if self.layout == "texts" else real(decoded)

    def pictures(self, rows: Any) -> np.ndarray:
        """Rows as pictures; only where ``image_shape`` is not None."""
        assert self.image_shape is not None
        return tiles(rows, self.image_shape, self.positions)

    def batch(self, index: np.ndarray) -> Batch:
        """These rows as the module reads them (channels last, the user's units), on its device."""
        if self.layout == "series":
            x, mask = padded(taken(self.rows, index))
            return Batch(adapters.to_tensor(x), x_mask=torch.from_numpy(mask)).map(
                lambda field: field.to(self.module.device)
            )
        rows = np.stack([self.rows[place] for place in index])
        return Batch(adapters.channels_last(adapters.to_tensor(rows), self.dims).to(self.module.device))

    def by_error(self, n: int) -> np.ndarray:
        """n rows from the best rebuilt to the worst, evenly spaced in rank."""
        errors = self.texts.rates if self.layout == "texts" else self.rms if self.layout == "series" else self.errors
        return np.argsort(errors, kind="stable")[every(len(self), n)]
