"""Randomness that leaves the process's own untouched."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from isthmus import VariationalAutoencoder
from isthmus.training.rng import isolated_rng, seeded_noise, shared_noise
from toys import randn


def states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


def test_the_process_notices_nothing():
    before = states()
    with isolated_rng(1):
        torch.randn(3)
    assert states() == before
    try:
        with isolated_rng(1):
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert states() == before


def test_fit_sample_and_scores_leave_the_generators_alone():
    before = states()
    model = VariationalAutoencoder(latent_dim=2, max_epochs=2).fit(randn(60, 4).numpy())
    model.sample(3)
    model.log_likelihood(randn(4, 4).numpy(), 2)
    assert states() == before


def test_the_same_seed_the_same_numbers():
    with isolated_rng(5):
        first = torch.randn(4)
    with isolated_rng(5):
        assert torch.equal(torch.randn(4), first)


def test_seeded_noise_repeats_its_sequence():
    one, two, like = seeded_noise(0), seeded_noise(0), torch.empty(3, 2)
    for _ in range(3):
        assert torch.equal(one(like), two(like))
    assert not torch.equal(one(like), seeded_noise(0)(like))


def test_shared_noise_is_the_same_for_every_row():
    draws = shared_noise(0, 2)(torch.empty(6, 3))  # three rows of two samples
    assert torch.equal(draws[:2], draws[2:4])
    assert torch.equal(draws[:2], draws[4:])
    assert not torch.equal(draws[0], draws[1])


@pytest.mark.parametrize("n_samples", [1, 2, 16])
def test_shared_noise_has_the_moments_of_the_normal_distribution(n_samples):
    draws = shared_noise(0, n_samples)(torch.empty(n_samples, 5, 3, dtype=torch.float64))
    torch.testing.assert_close(draws.square().mean(0), torch.ones(5, 3, dtype=torch.float64))
    if n_samples > 1:
        torch.testing.assert_close(draws.mean(0), torch.zeros(5, 3, dtype=torch.float64))
