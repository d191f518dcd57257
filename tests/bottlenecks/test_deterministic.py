"""Dense and Identity."""

import pytest
import torch

from isthmus.bottlenecks import Dense, Identity
from isthmus.errors import ParameterError, ShapeError, UnsupportedError
from isthmus.types import Bypass, Features, Space
from toys import randn


def test_dense_maps_the_last_axis():
    neck = Dense("sigmoid").build(Space((None, 4), skips=(Space((3,)),)), 2).double()
    assert neck.out == Space((None, 2), skips=(Space((3,)),))
    h, bypass = randn(3, 5, 4), Bypass(skips=(randn(3),))
    latent = neck(Features(h, bypass))
    torch.testing.assert_close(latent.pre, h @ neck.linear.weight.T + neck.linear.bias)
    torch.testing.assert_close(latent.z, latent.pre.sigmoid())
    assert latent.bypass is bypass
    assert latent.kl is None


def test_identity_passes_everything_on():
    h, bypass = randn(3, 4), Bypass(condition=randn(3, 1))
    neck = Identity().build(Space((4,)), 4)
    latent = neck(Features(h, bypass))
    assert latent.z is h
    assert latent.bypass is bypass
    with pytest.raises(ParameterError, match="latent_dim must be 'auto' or 4, got 3"):
        Identity().build(Space((4,)), 3)


def test_what_has_no_prior_draws_nothing():
    with pytest.raises(UnsupportedError, match="Dense has no prior to sample from"):
        Dense().build(Space((4,)), 2).sample(3)
    with pytest.raises(ShapeError, match="known width of the last axis"):
        Dense().build(Space((4, None)), 2)
    with pytest.raises(ParameterError, match="activation must be None or one of"):
        Dense("cube").build(Space((4,)), 2)
