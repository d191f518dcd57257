"""The Gaussian posterior against torch.distributions and against sampling."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from isthmus.bottlenecks import Gaussian
from isthmus.errors import ShapeError
from isthmus.training.rng import seeded_noise
from isthmus.types import Bypass, Features, Space
from toys import randn


@pytest.fixture
def neck():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Gaussian().build(Space((4,)), 3).double()


def distributions(neck, features):
    mean, log_variance = neck.posterior(features)
    return Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros_like(mean), 1.0)


def test_the_closed_form_is_that_of_torch(neck):
    features = Features(randn(6, 4))
    q, p = distributions(neck, features)
    torch.testing.assert_close(neck(features).kl, kl_divergence(q, p), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(neck(features).kl, kl_divergence(p, q))  # its direction matters


def test_the_closed_form_is_the_mean_of_samples(neck):
    features = Features(randn(1, 4).expand(200_000, 4))
    latent = neck(features, seeded_noise(0))
    error = latent.log_ratio.std() / 200_000**0.5
    assert (latent.log_ratio.mean() - latent.kl[0].sum()).abs() < 4 * error


def test_the_log_ratio_is_that_of_the_densities(neck):
    features = Features(randn(6, 4))
    latent, (q, p) = neck(features, seeded_noise(0)), distributions(neck, features)
    ratio = (q.log_prob(latent.z) - p.log_prob(latent.z)).sum(1)
    torch.testing.assert_close(latent.log_ratio, ratio, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(neck.log_prior(latent.z), p.log_prob(latent.z).sum(1), rtol=1e-12, atol=1e-12)


def test_reparameterised(neck):
    features, epsilon = Features(randn(6, 4)), randn(6, 3, seed=1)
    q, _ = distributions(neck, features)
    latent = neck(features, lambda _: epsilon)
    torch.testing.assert_close(latent.z, q.mean + q.stddev * epsilon)
    assert torch.equal(neck(features, torch.zeros_like).z, q.mean)


def test_a_sequence_of_codes_on_a_free_axis():
    neck = Gaussian().build(Space((None, 4))).double()
    assert neck.out == Space((None, 4))
    mask = torch.tensor([[True, True], [True, False]])
    latent = neck(Features(randn(2, 2, 4), Bypass(mask=mask)))
    assert latent.kl.shape == (2, 2, 4)
    assert (latent.kl[1, 1] == 0).all()


def test_draws_from_the_prior(neck):
    z = neck.sample(50_000, seeded_noise(0)).z
    assert z.shape == (50_000, 3)
    assert z.mean().abs() < 0.02
    assert (z.std() - 1).abs() < 0.02
    with pytest.raises(ShapeError, match="samples codes of a fixed size without skips"):
        Gaussian().build(Space((None, 4)), 3).sample(2)


def test_half_precision_keeps_the_statistics_wide(neck):
    with torch.autocast("cpu", torch.bfloat16):
        latent = neck.float()(Features(randn(6, 4, dtype=torch.float32)))
    assert latent.z.dtype == latent.kl.dtype == latent.log_ratio.dtype == torch.float32
