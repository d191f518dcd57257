"""The vanilla autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.estimators.base import EncoderDecoderEstimator

__all__ = ["Autoencoder"]


@dataclass(eq=False, repr=False)
class Autoencoder(EncoderDecoderEstimator):
    """Learns a code from which the input can be rebuilt (Hinton & Salakhutdinov 2006).

    J(θ) = mean over rows of Σᵢ (x̂ᵢ − xᵢ)², x̂ = decoder(code), code = encoder(x), in scaled units. With
    ``encoder=MLPEncoder(hidden_dims=())`` it is linear and spans the subspace of PCA.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from isthmus import Autoencoder
    >>> X = load_digits().data
    >>> codes = Autoencoder(latent_dim=8, max_epochs=2, random_state=0).fit(X).transform(X)
    >>> codes.shape
    (1797, 8)
    """
