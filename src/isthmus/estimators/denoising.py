"""The denoising autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from isthmus import adapters
from isthmus.errors import DataError
from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.training.rng import seeded_noise
from isthmus.types import Batch, Seen

__all__ = ["DenoisingAutoencoder"]


@dataclass(eq=False, repr=False)
class DenoisingAutoencoder(EncoderDecoderEstimator):
    """Rebuilds the whole input from a damaged one (Vincent et al. 2010).

    J = mean over rows of loss(decoder(encoder(x̃)), x), x̃ drawn anew each time by the corruption. With
    ``fit(noisy, clean)`` the pairs are the user's own, and the corruption is left out.

    Parameters
    ----------
    corruption : str or Corruption
        Strengths are in scaled units.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import DenoisingAutoencoder
    >>> clean = np.random.default_rng(0).normal(size=(200, 2)) @ np.ones((2, 8))
    >>> noisy = clean + np.random.default_rng(1).normal(size=clean.shape)
    >>> DenoisingAutoencoder(max_epochs=2, random_state=0).fit(noisy, clean).reconstruct(noisy).shape
    (200, 8)
    """

    corruption: Any = "gaussian_noise"

    takes_target: ClassVar[bool] = True

    def _rows(self, X: Any, y: Any, *, reset: bool) -> Batch:
        """Rows of X, with clean targets where y has X's shape; labels (one axis) are ignored."""
        x = self._read(X, reset=reset)
        clean = adapters.read(y, "y")
        shape = () if clean is None else np.asarray(clean).shape
        if len(shape) < 2:
            return Batch(x)
        if shape != (len(x), *self._sample_shape):
            wanted = (len(x), *self._sample_shape)
            raise DataError(f"y (the clean rows) must have X's shape {wanted}, got {shape}")
        return Batch(x, self._read(clean, name="y"))

    def _build(self, rows: Batch) -> Batch:
        scaled = super()._build(rows)
        if rows.y is not None:
            self.module_.corruption = None
        return scaled

    def corrupt(self, X: Any, random_state: int = 0) -> np.ndarray:
        """X as the encoder sees it in training: damaged, in the user's units and layout."""
        model = self._fitted("corrupt")
        x = self._read(X)
        if model.corruption is None:
            return self._frame(self._user_units(x))
        with torch.no_grad():
            seen = model.corruption(Seen(model.scale(x.to(model.device))[0]), seeded_noise(random_state))
            damaged = seen.x if model.scaler is None else model.scaler.inverse(seen.x)
        return self._frame(self._user_units(damaged.cpu().float()))
