"""The vanilla autoencoder, on real digits."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from isthmus import Autoencoder


def test_beats_pca_on_digits():
    X = load_digits().data
    model = Autoencoder(latent_dim=8, max_epochs=40, random_state=0).fit(X)
    pca = PCA(8).fit(X)
    error = np.square(model.reconstruct(X) - X).mean()
    assert error < np.square(pca.inverse_transform(pca.transform(X)) - X).mean()


def test_same_seed_same_weights():
    X = load_digits().data[:200]
    first, second = (Autoencoder(latent_dim=4, max_epochs=3, random_state=7).fit(X).transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_order_of_rows_does_not_matter():
    X = load_digits().data[:200]
    shuffled = np.random.default_rng(0).permutation(X)
    first, second = (Autoencoder(latent_dim=4, max_epochs=3, random_state=7).fit(data) for data in (X, shuffled))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
