"""What must never happen in silence: half a fit, a score that is no number, a likelihood of what it excludes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from isthmus import AnomalyDetector, Autoencoder, ConvEncoder, Segmenter, UNetEncoder, VariationalAutoencoder
from isthmus.errors import DataError, IsthmusError, UnsupportedError

DIGITS = load_digits()
INK, PICTURES = (DIGITS.data[:120] > 8).astype(float), DIGITS.images[:40]


def test_a_fit_that_fails_changes_nothing():
    frame = pd.DataFrame(DIGITS.data[:60, 10:13], columns=[*"abc"])
    model = Autoencoder(max_epochs=1, random_state=0).fit(frame)
    before, codes = dict(vars(model)), model.transform(frame)
    with pytest.raises(DataError, match="sample_weight"):
        model.fit(frame[[*"cab"]], sample_weight=[1])
    assert vars(model) == before
    np.testing.assert_array_equal(model.transform(frame), codes)

    fresh = Autoencoder(max_epochs=1)
    with pytest.raises(DataError, match="sample_weight"):
        fresh.fit(frame, sample_weight=[1])
    assert vars(fresh) == vars(Autoencoder(max_epochs=1))


def test_labels_of_a_fit_that_fails_are_not_kept():
    model = Segmenter(encoder=UNetEncoder((4, 8)), max_epochs=1, random_state=0)
    model.fit(PICTURES, np.where(PICTURES > 8, 255, 0))
    with pytest.raises(IsthmusError):
        model.fit(PICTURES, np.where(PICTURES > 8, 2, 1), validation_data=(PICTURES[:5], PICTURES[:5]))
    assert model.classes_.tolist() == [0, 255]


def test_a_detector_keeps_its_members_too():
    detector = AnomalyDetector(Autoencoder(max_epochs=1), random_state=0).fit(DIGITS.data[:80])
    before = dict(vars(detector))
    with pytest.raises(DataError):
        detector.fit(DIGITS.data[:80, :5], sample_weight=[1])
    assert vars(detector) == before


def test_no_number_is_an_outlier():
    detector = AnomalyDetector(Autoencoder(max_epochs=2), random_state=0).fit(DIGITS.data[:100])
    with np.errstate(all="ignore"):
        assert (detector.predict(DIGITS.data[:20] * 1e39) == -1).all()


def test_a_likelihood_refuses_what_it_excludes():
    model = VariationalAutoencoder(max_epochs=2, random_state=0).fit(INK)
    for score in (model.score, model.elbo, model.log_likelihood):
        assert np.isfinite(score(INK)).all()
        with pytest.raises(DataError, match=r"needs targets in \[0, 1\], got values from 0 to 16"):
            score(DIGITS.data[:120])


@pytest.mark.parametrize("seed", range(6))
def test_rows_beyond_the_ends_of_training_are_no_error(seed):
    X = np.random.default_rng(1).normal(size=(300, 5))
    model = VariationalAutoencoder(scale="min_max", loss="binary_cross_entropy", random_state=seed, max_epochs=1).fit(X)
    assert np.isfinite(model.score(2 * X))


def test_units_do_not_matter():
    generator = np.random.default_rng(0)
    normal = generator.normal(size=(400, 2))
    some = np.where(np.abs(normal[:, :1]) > 0.9, np.abs(normal), 0)  # two thirds are zeros
    for unit in (1.0, 1e-4, 1e-25, 1e25):
        X = np.c_[some * unit, normal * unit]
        found = Autoencoder(latent_dim=4, max_epochs=60, random_state=0).fit(X).reconstruct(X)
        left = ((found - X) ** 2).sum(0) / ((X - X.mean(0)) ** 2).sum(0)
        assert (left < 0.1).all(), (unit, left)


def test_a_detector_of_signals():
    estimator = VariationalAutoencoder(encoder=ConvEncoder((4,), dims=1), max_epochs=1)
    signals = DIGITS.data[:60].reshape(60, 2, 32)
    for X in (signals, signals[:, 0]):
        assert AnomalyDetector(estimator, random_state=0).fit(X).score_samples(X).shape == (60,)


def test_a_segmenter_scores_with_masks_alone():
    masks = (PICTURES > 8).astype(int)
    model = Segmenter(encoder=UNetEncoder((4, 8)), max_epochs=2, learning_rate=1e-2, random_state=0).fit(
        PICTURES, masks
    )
    with pytest.raises(UnsupportedError, match="score_samples"):
        model.score_samples(PICTURES)
    whole = model.score(PICTURES, masks)
    assert model.score(PICTURES, masks.astype(float)) == whole == model.score(PICTURES, masks[:, np.newaxis])
    with pytest.raises(DataError, match="labels of training"):
        model.score(PICTURES, masks * 255)
