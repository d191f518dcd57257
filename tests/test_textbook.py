"""Linear models against what linear algebra says: PCA's subspace, probabilistic PCA's likelihood."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from isthmus import Autoencoder, GaussianNLL, MLPEncoder, VariationalAutoencoder
from isthmus.penalties import L2Weights
from toys import randn

N, D, K = 400, 6, 2


def linear_gaussian_data():
    """Two directions of variance 9 and 4 in six columns, noise of deviation ½, a mean that is not 0."""
    directions = torch.linalg.qr(randn(D, K)).Q
    z = randn(N, K, seed=1) * torch.tensor([3.0, 2.0], dtype=torch.float64)
    return (z @ directions.T + 0.5 * randn(N, D, seed=2) + 1.5).numpy()


X = linear_gaussian_data()


class ProbabilisticPCA:
    """x ~ N(μ, W Wᵀ + σ² I) at its maximum of likelihood (Tipping & Bishop 1999, equations 7 and 8)."""

    def __init__(self, x):
        self.mean = x.mean(0)
        values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
        self.variance = values[:-K].mean()
        self.loadings = vectors[:, -K:] * np.sqrt(values[-K:] - self.variance)  # W; WᵀW is diagonal

    def log_likelihood(self, x):
        covariance = self.loadings @ self.loadings.T + self.variance * np.eye(D)
        return multivariate_normal(self.mean, covariance).logpdf(x)


def linear(cls, **settings):
    """An estimator without a hidden layer, in double precision, the data as they are."""
    exact = {"encoder": MLPEncoder(hidden_dims=()), "scale": None, "precision": "64-true", "validation_fraction": 0.0}
    return cls(latent_dim=K, random_state=0, **exact, **settings)


def angles(model):
    """Degrees between the decoder's columns and PCA's subspace."""
    decoder = model.module_.decoder.end.weight.detach().numpy()
    return np.degrees(subspace_angles(decoder, PCA(K).fit(X).components_.T))


@pytest.mark.parametrize("penalties", [[], [L2Weights(1e-3)]], ids=["plain", "tikhonov"])
def test_a_linear_autoencoder_spans_the_subspace_of_pca(penalties):
    model = linear(Autoencoder, optimizer="lbfgs", max_epochs=6, penalties=penalties).fit(X)
    assert angles(model).max() < 1
    if not penalties:
        pca = PCA(K).fit(X)
        best = np.square(pca.inverse_transform(pca.transform(X)) - X).sum(1).mean()
        assert np.square(model.reconstruct(X) - X).sum(1).mean() == pytest.approx(best, rel=1e-4)


@pytest.mark.slow
def test_a_linear_autoencoder_spans_the_subspace_of_pca_by_adam_too():
    model = linear(Autoencoder, learning_rate=0.01, schedule="cosine", max_epochs=300).fit(X)
    assert angles(model).max() < 1


# ---------------------------------------------------------------------- the variational autoencoder


def variance_of(loss):
    """σ² = f + exp(s) of one learnt number s."""
    return loss.min_variance + loss.log_variance.exp().item()


def set_by_hand(model, ppca, spread=1.0):
    """Decoder at the maximum of likelihood; encoder at its exact posterior, wider by ``spread``.

    p(z|x) = N(M⁻¹ Wᵀ (x − μ), σ² M⁻¹) with M = WᵀW + σ² I, which is diagonal here.
    """
    module = model.module_
    scale = np.diag(ppca.loadings.T @ ppca.loadings) + ppca.variance  # M's diagonal
    towards = ppca.loadings.T / scale[:, None]
    weight, bias = np.zeros((2 * K, D)), np.zeros(2 * K)
    weight[:K], bias[:K] = towards, -towards @ ppca.mean
    bias[K:] = np.log(ppca.variance / scale) + 2 * np.log(spread)
    with torch.no_grad():
        for parameter, value in (
            (module.bottleneck.linear.weight, weight),
            (module.bottleneck.linear.bias, bias),
            (module.decoder.end.weight, ppca.loadings),
            (module.decoder.end.bias, ppca.mean),
            (module.loss.log_variance, np.log([ppca.variance - module.loss.min_variance])),
        ):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


@pytest.fixture(params=[None, "standard"], ids=["as they are", "standardised"])
def vae(request):
    """A linear VAE and the closed form of its likelihood, in the data's own units."""
    model = linear(VariationalAutoencoder, loss=GaussianNLL("learned"), max_epochs=1)
    model.set_params(scale=request.param).fit(X)
    scaled, _ = model.module_.scale(torch.from_numpy(X))
    ppca = ProbabilisticPCA(scaled.numpy())
    stretch = np.log(X.std(0)).sum() if request.param else 0.0
    return model, ppca, ppca.log_likelihood(scaled.numpy()) - stretch


def test_log_likelihood_is_the_closed_form(vae):
    model, ppca, exact = vae
    set_by_hand(model, ppca)
    # with the exact posterior every importance weight is p(x), so one draw is enough
    np.testing.assert_allclose(model.log_likelihood(X, 1), exact, rtol=0, atol=1e-6)
    # the bound is tight, and a quadratic in the noise, whose draws have the right mean and variance
    np.testing.assert_allclose(model.elbo(X, 2), exact, rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.score_samples(X), exact, rtol=0, atol=1e-6)


def test_log_likelihood_by_importance_sampling_is_within_a_hundredth_of_a_nat(vae):
    model, ppca, exact = vae
    set_by_hand(model, ppca, spread=1.3)
    estimate = model.log_likelihood(X, 2000)
    assert abs(estimate.mean() - exact.mean()) < 0.01
    assert np.abs(estimate - exact).max() < 0.1
    assert model.elbo(X, 4000).mean() < exact.mean() - 0.1  # the bound is loose here, and stays a bound


@pytest.mark.slow
def test_a_linear_vae_reaches_the_likelihood_of_probabilistic_pca():
    """Its ELBO too, since the best rotation makes the exact posterior diagonal (Lucas et al. 2019)."""
    settings = {"learning_rate": 0.02, "schedule": "cosine", "max_epochs": 1500, "batch_size": N}
    model = linear(VariationalAutoencoder, loss=GaussianNLL("learned"), **settings).fit(X)
    ppca = ProbabilisticPCA(X)
    exact = ppca.log_likelihood(X).mean()
    assert exact - 0.02 < model.log_likelihood(X, 500).mean() < exact + 0.005
    assert abs(model.elbo(X, 4000).mean() - exact) < 0.06
    assert variance_of(model.module_.loss) == pytest.approx(ppca.variance, rel=0.05)
