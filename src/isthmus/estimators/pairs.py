"""What all pairs of sequences share, whatever either side is: texts or series."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import adapters
from isthmus.errors import DataError
from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.estimators.sequences import FILES, is_text
from isthmus.training.buckets import Buckets
from isthmus.types import Batch, Latent

__all__ = ["Pairs", "in_chunks", "steps_of"]

LAYOUTS = {
    (True, True): "rows",
    (False, False): "series",
    (True, False): "texts to series",
    (False, True): "series to texts",
}
"""By whether sources are texts, and targets."""
LEARNT: tuple[str, ...] = (
    "source_tokenizer_",
    "target_tokenizer_",
    "target_scaler_",
    "target_shape_",
    "same_length_",
    "max_length_",
)
LEARNT += ("window_", "horizon_", "window_scale_", "still_", "columns_", "frequency_", "interval_scores_")
LEARNT += ("interval_recent_", "exogenous_columns_", "exogenous_scaler_")
"""Of one kind of pairs or another: what an earlier fit learnt of another kind is forgotten."""
AT_ONCE = 2**14
"""Source positions of a chunk in prediction, padding counted."""


class Pairs(EncoderDecoderEstimator):
    """Sources to targets, neither of which has the length of the other."""

    _text_sources: Callable[..., tuple[Tensor, Tensor | None]]
    _text_targets: Callable[..., tuple[Tensor, Tensor | None]]
    _series_sources: Callable[..., tuple[Tensor, Tensor | None]]
    _series_targets: Callable[..., tuple[Tensor, Tensor | None]]

    same_length_: bool

    @property
    def _reads_texts(self) -> bool:
        return self._layout in ("rows", "texts to series")

    @property
    def _writes_texts(self) -> bool:
        return self._layout in ("rows", "series to texts")

    def _forget(self) -> None:
        """Let go of what an earlier fit learnt, before the data say what there is to learn."""
        for name in LEARNT:
            self.__dict__.pop(name, None)

    def _pair_rows(self, X: Any, y: Any, reset: bool) -> Batch:
        """Texts as classes ``(n, T)``, series as numbers ``(n, T, D)``, padded at the end, with masks."""
        given, wanted = read_side(X, "X"), None if y is None else read_side(y, "y")
        kinds = (is_text(given), is_text(wanted)) if reset else (self._reads_texts, self._writes_texts)
        if wanted is None:
            kind = "texts" if kinds[0 if reset else 1] else "series"
            raise DataError(f"y must be the target {kind}, one a source, as in fit(sources, targets)")
        if reset:
            self._forget()
            self._layout = LAYOUTS[kinds]
        x, x_mask = self._sources(given, reset)
        target, y_mask = (self._text_targets if kinds[1] else self._series_targets)(wanted, reset)
        if len(target) != len(x):
            kind = "text" if kinds[1] else "series"
            raise DataError(f"y must have a {kind} for each of the {len(x)} of X, got {len(target)}")
        if reset and not kinds[1]:
            alike = torch.equal(steps_of(x, x_mask), steps_of(target, y_mask))
            self.same_length_ = alike and not kinds[0]
        return Batch(x, target, x_mask, y_mask)

    def _sources(self, X: Any, reset: bool = False, name: str = "X") -> tuple[Tensor, Tensor | None]:
        """Sources alone, like those of training."""
        return (self._text_sources if self._reads_texts else self._series_sources)(read_side(X, name), reset, name)

    @torch.no_grad()
    def _over_sources(
        self,
        x: Tensor,
        mask: Tensor | None,
        function: Callable[[Latent, Tensor], list[Any]],
        scaled: bool = False,
    ) -> list[Any]:
        """The function on the latents of the sources and their places, in the order given."""
        model, results = self.module_.eval(), [None] * len(x)
        rows = Buckets(Batch(x, x_mask=mask), len(x), 0)
        for index in in_chunks(rows):
            batch = rows.take(index).map(lambda field: field.to(model.device))
            latent = model.encode(batch, noise=torch.zeros_like, scaled=scaled)[2]
            for place, result in zip(index.tolist(), function(latent, index), strict=True):
                results[place] = result
        return results

    def _codes(self, x: Tensor, mask: Tensor | None) -> Any:
        """``(n, D)`` of a pooled encoder, else a list of one ``(T, D)`` a source."""
        codes = self._over_sources(x, mask, lambda latent, _: list(latent.z.float().cpu().numpy()))
        self._refuse_output((len(codes), *codes[0].shape))
        if codes[0].ndim == 1:
            return np.stack(codes)
        lengths = [x.shape[1]] * len(x) if mask is None else mask.sum(1).tolist()
        return [code[:length] for code, length in zip(codes, lengths, strict=True)]


def in_chunks(rows: Buckets) -> tuple[Tensor, ...]:
    """The places of all rows, those of like length together."""
    return rows.lengths.sum(1).argsort(stable=True).split(max(1, AT_ONCE // rows.rows.x.shape[1]))


def steps_of(values: Tensor, mask: Tensor | None) -> Tensor:
    """The length of each sequence, ``(n,)``."""
    return torch.full((len(values),), values.shape[1]) if mask is None else mask.sum(1)


def read_side(data: Any, name: str) -> Any:
    """Sources or targets, read if they are a path; `DataError` where they are one text, which is no path."""
    if isinstance(data, str) and not os.path.exists(data) and not any(ending in data.lower() for ending in FILES):
        raise DataError(f"{name} must be a list of texts, or a path, got one text, {data!r:.60}")
    given = adapters.read(data, name)
    for column in getattr(given, "columns", ()):
        if is_text(given[column]):
            raise DataError(
                f"{name} must be a list of texts or one column of them, got a table: {name}[{column!r}] or, of a file, "
                f"'file.csv:{column}'"
            )
    return given
