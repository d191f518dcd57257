"""What pairs of texts and pairs of series share: sources of like length go through the encoder together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.training.buckets import Buckets
from isthmus.types import Batch, Latent

__all__ = ["Pairs", "in_chunks"]

AT_ONCE = 2**14
"""Source positions of a chunk in prediction, padding counted."""


class Pairs(EncoderDecoderEstimator):
    """Sources to targets, neither of which has the length of the other."""

    @torch.no_grad()
    def _over_sources(
        self, x: Tensor, mask: Tensor | None, function: Callable[[Latent, Tensor], list[Any]]
    ) -> list[Any]:
        """The function on the latents of the sources and their places, in the order given."""
        model, results = self.module_.eval(), [None] * len(x)
        rows = Buckets(Batch(x, x_mask=mask), len(x), 0)
        for index in in_chunks(rows):
            batch = rows.take(index).map(lambda field: field.to(model.device))
            latent = model.encode(batch, noise=torch.zeros_like)[2]
            for place, result in zip(index.tolist(), function(latent, index), strict=True):
                results[place] = result
        return results

    def _codes(self, x: Tensor, mask: Tensor | None) -> Any:
        """``(n, D)`` of a pooled encoder, else a list of one ``(T, D)`` a source."""
        codes = self._over_sources(x, mask, lambda latent, _: list(latent.z.float().cpu().numpy()))
        if codes[0].ndim == 1:
            return np.stack(codes)
        lengths = [x.shape[1]] * len(x) if mask is None else mask.sum(1).tolist()
        return [code[:length] for code, length in zip(codes, lengths, strict=True)]


def in_chunks(rows: Buckets) -> tuple[Tensor, ...]:
    """The places of all rows, those of like length together."""
    return rows.lengths.sum(1).argsort(stable=True).split(max(1, AT_ONCE // rows.rows.x.shape[1]))
