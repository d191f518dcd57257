"""A detector on one long series: windows in, a score a time step out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import isthmus
from isthmus import AnomalyDetector, Autoencoder, ConvEncoder, MLPEncoder, RNNEncoder
from isthmus.errors import IsthmusError
from isthmus.estimators.long_series import by_step, starts_of
from isthmus.estimators.windows import cut

SMALL = {"max_epochs": 3, "latent_dim": 3, "validation_fraction": 0, "random_state": 0}


def pulse(n=600, odd=400, columns=1):
    """A sine with ten ragged steps."""
    wave = np.sin(np.arange(n) * 0.3)[:, None] * np.ones(columns)
    wave[odd : odd + 10] += np.random.default_rng(0).normal(size=(10, columns))
    return wave[:, 0] if columns == 1 else wave


def test_windows_cover_every_step_once_a_stride():
    starts = starts_of(11, 4, 3)
    rows = cut(np.arange(11.0)[:, None], starts, 4)
    assert starts.tolist() == [0, 3, 6, 7]  # the last one ends with the series
    assert rows[..., 0].tolist() == [[s, s + 1, s + 2, s + 3] for s in starts]


def test_a_step_has_the_mean_of_the_windows_that_cover_it():
    starts = starts_of(6, 3)
    rows = cut(np.arange(6.0)[:, None], starts, 3)
    scores = np.array([1.0, 2.0, 4.0, 8.0])
    np.testing.assert_allclose(by_step(scores, starts, 3, 6), [1, 1.5, 7 / 3, 14 / 3, 6, 8])
    np.testing.assert_allclose(by_step(rows, starts, 3, 6)[:, 0], np.arange(6.0))  # windows put together again


def test_a_center_where_it_means_something():
    """Of series the medians of the channels over all steps, so that a longer one than in training is explained."""
    series = [np.arange(n)[:, None] * [1.0, -2.0] for n in (3, 5, 4) * 10]
    detector = AnomalyDetector(Autoencoder(encoder=RNNEncoder(8), **SMALL)).fit(series)
    np.testing.assert_array_equal(detector.center_, np.median(np.concatenate(series), axis=0))
    against = detector.explain([*series[:2], np.ones((9, 2))])
    assert [one.shape for one in against] == [(3, 2), (5, 2), (9, 2)]
    center = np.repeat(detector.center_[None], 9, 0)
    gap = np.diff(detector.score_samples([np.ones((9, 2)), center]))
    np.testing.assert_allclose(against[2].sum(), gap[0], rtol=0.05)
    detector.set_params(estimator__tokenizer="word").fit(["a b", "b a"] * 10)
    assert not hasattr(detector, "center_")  # texts have none


def test_finds_the_ragged_steps():
    series = pulse()
    detector = AnomalyDetector(window=20, random_state=0).fit(series)
    scores = detector.score_samples(series)
    assert scores.shape == (600,)
    assert 395 <= scores.argmin() <= 415
    assert 395 <= detector.explain(series).argmax() <= 415
    assert detector.predict(series)[400:410].max() == -1


@pytest.mark.parametrize(
    "encoder",
    ["mlp", ConvEncoder((4, 8), dims=1), RNNEncoder(8), MLPEncoder((8,)), ConvEncoder((4,), dims=1, stride=1)],
)
@pytest.mark.parametrize("columns", [1, 2])
def test_every_encoder_reads_windows(encoder, columns, tmp_path):
    series = pulse(120, 60, columns)
    detector = AnomalyDetector(Autoencoder(encoder=encoder, **SMALL), window=10, stride=2).fit(series)
    assert detector.score_samples(series).shape == (120,)
    assert detector.explain(series).shape == series.shape
    assert detector.score_samples(series[:10]).shape == (10,)
    detector.save(tmp_path / "model")
    np.testing.assert_array_equal(
        isthmus.load(tmp_path / "model").score_samples(series), detector.score_samples(series)
    )


def test_what_speaks_against_a_step_is_in_its_own_column():
    series = np.stack([np.sin(np.arange(300) * 0.3), np.cos(np.arange(300) * 0.2)], 1)
    detector = AnomalyDetector(Autoencoder(encoder=ConvEncoder((8,), dims=1), **SMALL), window=8).fit(series)
    series[150, 1] += 9
    against = detector.explain(series)
    assert np.unravel_index(against.argmax(), against.shape) == (150, 1)


def test_a_frame_keeps_its_names_and_its_index():
    index = pd.date_range("2024-01-01", periods=100, freq="h")
    frame = pd.DataFrame(pulse(100, 50, 2), columns=["a", "b"], index=index)
    found = AnomalyDetector(window=8, random_state=0).fit(frame).explain(frame)
    assert list(found.columns) == ["a", "b"]
    assert found.index.equals(index)


def framed(names):
    return pd.DataFrame(pulse(100, 50, 2), columns=list(names))


REFUSED = {
    "too short": (lambda: AnomalyDetector(window=50).fit(np.ones(40)), "at least window=50 time steps, got 40"),
    "window of 1": (lambda: AnomalyDetector(window=1).fit(np.ones(40)), "window must be"),
    "stride of 0": (lambda: AnomalyDetector(window=4, stride=0).fit(np.ones(40)), "stride must be"),
    "weights": (lambda: AnomalyDetector(window=4).fit(np.ones(40), sample_weight=np.ones(40)), "sample_weight must be"),
    "cube": (lambda: AnomalyDetector(window=4).fit(np.ones((40, 2, 2))), "one series of numbers"),
    "words": (lambda: AnomalyDetector(window=4).fit(np.array(["a"] * 40)), "X must hold numbers"),
    "several": (lambda: AnomalyDetector(window=4).fit([[1.0, 2.0], [3.0]]), "X must be one array of numbers"),
    "nothing": (lambda: AnomalyDetector(window=4).fit(np.ones(0)), r"X must be one series of numbers.*\(0,\)"),
    "none": (lambda: AnomalyDetector(window=4).fit(None), "one series"),
    "NaN": (lambda: AnomalyDetector(window=4).fit(np.r_[np.ones(40), np.nan]), "X must be finite, got NaN"),
    "columns": (
        lambda: AnomalyDetector(window=8, random_state=0).fit(pulse(100, 50)).score_samples(pulse(100, 50, 2)),
        "X must have 1 columns",
    ),
    "columns in another order": (
        lambda: AnomalyDetector(window=8, random_state=0).fit(framed("ab")).score_samples(framed("ba")),
        r"X must have the columns \['a', 'b'\], got \['b', 'a'\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    attempt, message = REFUSED[case]
    with pytest.raises(IsthmusError, match=message):
        attempt()
