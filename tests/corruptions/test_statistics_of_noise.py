"""What the corruptions draw, by its statistics; what they leave alone, exactly."""

from __future__ import annotations

import pytest
import torch

from isthmus.corruptions import GaussianNoise, Masking, SaltAndPepper
from isthmus.errors import ParameterError
from isthmus.training.rng import seeded_noise
from isthmus.types import Bypass, Seen, Space
from toys import randn

X = 3 + randn(400, 500)
N = X.numel()


def near(share, p):
    """Within four standard errors of a binomial share."""
    return abs(float(share) - p) < 4 * (p * (1 - p) / N) ** 0.5


def test_gaussian_noise():
    added = GaussianNoise(0.5)(Seen(X), seeded_noise(0)).x - X
    assert abs(float(added.mean())) < 4 * 0.5 / N**0.5
    assert abs(float(added.std()) / 0.5 - 1) < 4 / (2 * N) ** 0.5
    assert near((added.abs() < 0.5).double().mean(), 0.682689)  # P(|ε| < 1)


def test_gaussian_noise_of_a_range_draws_a_strength_a_sample():
    x = torch.zeros(2000, 30, 20, 1, dtype=torch.float64)
    stds = GaussianNoise((0.2, 0.6))(Seen(x), seeded_noise(0)).x.flatten(1).std(1)  # each within 0.03 of its own
    assert 0.17 < float(stds.min()) < 0.22
    assert 0.58 < float(stds.max()) < 0.66
    assert abs(float(stds.mean()) - 0.4) < 4 * 0.4 / (12 * 2000) ** 0.5
    assert abs(float(stds.std()) - 0.4 / 12**0.5) < 0.006
    with pytest.raises(ParameterError, match="low <= high"):
        GaussianNoise((0.6, 0.2)).build(Space((4,)))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_masking(p):
    seen = Masking(p)(Seen(X), seeded_noise(0))
    assert near(seen.hidden.double().mean(), p)
    assert (seen.x[seen.hidden] == 0).all()
    assert torch.equal(seen.x[~seen.hidden], X[~seen.hidden])


@pytest.mark.parametrize("p", [0.1, 0.8])
def test_salt_and_pepper(p):
    seen = SaltAndPepper(p, low=-7, high=9)(Seen(X), seeded_noise(0))
    assert near((seen.x == -7).double().mean(), p / 2)
    assert near((seen.x == 9).double().mean(), p / 2)
    assert torch.equal(seen.hidden, (seen.x == -7) | (seen.x == 9))
    assert torch.equal(seen.x[~seen.hidden], X[~seen.hidden])


@pytest.mark.parametrize("corruption", [GaussianNoise(0), Masking(0), SaltAndPepper(0)], ids=repr)
def test_none_of_it_changes_nothing(corruption):
    assert torch.equal(corruption(Seen(X), seeded_noise(0)).x, X)


@pytest.mark.parametrize("corruption", [GaussianNoise(), Masking(), SaltAndPepper()], ids=repr)
def test_the_rest_of_what_is_seen_goes_along(corruption):
    bypass, before = Bypass(condition=randn(400, 2)), X.clone()
    assert corruption(Seen(X, bypass), seeded_noise(0)).bypass is bypass
    assert torch.equal(X, before)


@pytest.mark.parametrize("corruption", [GaussianNoise(-1), Masking(1.0), SaltAndPepper(1.5)], ids=repr)
def test_arguments_are_checked_when_built(corruption):
    with pytest.raises(ParameterError, match="must be a number in"):
        corruption.build(Space((4,)))
