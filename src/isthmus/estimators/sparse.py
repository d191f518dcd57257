"""The sparse autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus.bottlenecks import Dense
from isthmus.checks import Check, choice, either, number
from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.part import Bottleneck, Penalty
from isthmus.penalties import KLSparsity, L1Activity
from isthmus.types import Space

__all__ = ["SparseAutoencoder"]


@dataclass(eq=False, repr=False)
class SparseAutoencoder(EncoderDecoderEstimator):
    """A code, often wider than the input, of which few units are active at a time.

    ``sparsity="kl"``: J_sparse = J + β Σⱼ KL(ρ ‖ ρ̂ⱼ) with sigmoid units and ρ̂ⱼ the batch's mean
    activation (Ng, CS294A, 2011). ``sparsity="l1"``: J + λ Σⱼ |zⱼ| with ReLU units.

    Parameters
    ----------
    sparsity : {"kl", "l1"}
    sparsity_weight : float or "auto"
        β or λ. J sums over features, so it grows with their number. "auto" is β = 3, as in the notes,
        or λ = 0.1, which leaves 40 to 60 % of the activations above zero on digits and cardio.
    rho : float
        ρ, the mean activation asked for; for "kl".
    latent_dim : int or "auto"
        "auto" is as wide as the input, at most 256; 256 for series and texts.
    bottleneck : str or Bottleneck
        "auto" is ``Dense("sigmoid")`` for "kl" and ``Dense("relu")`` for "l1".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from isthmus import SparseAutoencoder
    >>> X = load_digits().data
    >>> model = SparseAutoencoder(latent_dim=25, rho=0.1, max_epochs=2, random_state=0).fit(X)
    >>> model.mean_activations(X).shape
    (25,)
    """

    bottleneck: Any = "auto"
    sparsity: str = "kl"
    sparsity_weight: float | str = "auto"
    rho: float = 0.05

    allowed: ClassVar[dict[str, Check]] = {
        **EncoderDecoderEstimator.allowed,
        "sparsity": choice(["kl", "l1"]),
        "sparsity_weight": either(number(0), choice(["auto"])),
        "rho": number(0, 1, open_low=True, open_high=True),
    }

    def _bottleneck_for(self) -> Bottleneck:
        if self.bottleneck != "auto":
            return super()._bottleneck_for()
        return Dense("sigmoid" if self.sparsity == "kl" else "relu")

    def _penalties(self) -> list[Penalty]:
        weight = {"kl": 3.0, "l1": 0.1}[self.sparsity] if self.sparsity_weight == "auto" else self.sparsity_weight
        return [KLSparsity(weight, self.rho) if self.sparsity == "kl" else L1Activity(weight)]  # type: ignore[arg-type]

    def _latent_dim(self, space: Space, bottleneck: Bottleneck) -> int | None:
        if self.latent_dim != "auto":
            return int(self.latent_dim)
        return 256 if self._layout != "rows" else min(256, space.size or 1)

    def mean_activations(self, X: Any) -> np.ndarray:
        """ρ̂ⱼ, the mean activation of each unit over all rows of X, ``(latent_dim,)``."""
        return self.transform(X).reshape(-1, self._n_features_out).mean(0)
