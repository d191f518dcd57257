"""The detector: scikit-learn's outlier contract beyond its checks, its threshold, and its explanation."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

import isthmus
from isthmus import AnomalyDetector, Autoencoder, VariationalAutoencoder
from isthmus.errors import IsthmusError, ParameterError
from isthmus.estimators.anomaly import weighted_quantile

COLUMNS = ["length", "width", "height", "mass", "age"]
QUICK = {"max_epochs": 30, "batch_size": 64, "validation_fraction": 0}


def contaminated(n=400, outliers=40, seed=0):
    """Two hidden causes, five columns; the first rows break their relation in one column each."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2)) @ rng.normal(size=(2, 5)) + 0.2 * rng.normal(size=(n, 5))
    column = rng.integers(5, size=outliers)
    X[np.arange(outliers), column] += rng.choice([-6.0, 6.0], size=outliers) * X.std(0)[column]
    return X, np.arange(n) < outliers, column


@pytest.fixture(scope="module")
def fitted():
    X, odd, column = contaminated()
    frame = pd.DataFrame(X, columns=COLUMNS, index=[f"row{i}" for i in range(len(X))])
    return AnomalyDetector(random_state=0).fit(frame), frame, odd, column


def test_contaminated_training_still_ranks_outliers_first(fitted):
    detector, frame, odd, _ = fitted
    assert roc_auc_score(odd, -detector.score_samples(frame)) > 0.98


def test_explain_names_the_column_that_was_tampered_with(fitted):
    detector, frame, odd, column = fitted
    against = detector.explain(frame[odd])
    assert list(against.columns) == COLUMNS
    assert list(against.index) == list(frame.index[odd])
    named = against.idxmax(axis=1) == np.array(COLUMNS)[column]
    assert named.mean() > 0.9


@pytest.mark.parametrize("estimator", [None, Autoencoder(encoder="mlp", **QUICK), VariationalAutoencoder(**QUICK)])
def test_explanation_sums_to_the_score_against_the_center(estimator):
    X, _, _ = contaminated(150, 10)
    if estimator is not None:
        estimator = estimator.set_params(encoder__activation="tanh") if estimator.encoder == "mlp" else estimator
    detector = AnomalyDetector(estimator, random_state=0).fit(X)
    total = detector.score_samples(np.median(X, axis=0)[None]) - detector.score_samples(X)
    np.testing.assert_allclose(detector.explain(X).sum(1), total, rtol=2e-2, atol=2e-2 * np.abs(total).max())


def test_frames_give_frames_and_arrays_arrays(fitted):
    detector, frame, _, _ = fitted
    values = detector.explain(frame)
    names = pl.DataFrame(frame.to_numpy(), schema=COLUMNS)
    assert isinstance(detector.explain(names), pl.DataFrame)
    np.testing.assert_array_equal(detector.explain(names).to_numpy(), values.to_numpy())
    with pytest.warns(UserWarning, match="feature names"):
        assert isinstance(detector.explain(frame.to_numpy()), np.ndarray)


def test_a_row_does_not_depend_on_its_neighbours(fitted):
    detector, frame, _, _ = fitted
    one_by_one = np.concatenate([detector.score_samples(frame[i : i + 1]) for i in range(0, 400, 40)])
    np.testing.assert_allclose(one_by_one, detector.score_samples(frame)[::40], rtol=1e-9)
    shuffled = frame.sample(frac=1, random_state=0)
    np.testing.assert_allclose(
        detector.explain(shuffled).loc[frame.index].to_numpy(), detector.explain(frame).to_numpy(), rtol=1e-5, atol=1e-5
    )


def test_contamination_is_the_share_of_outliers():
    X, _, _ = contaminated(200, 20)
    detector = AnomalyDetector(Autoencoder(**QUICK), contamination=0.1, random_state=0)
    found = detector.fit_predict(X)
    assert set(found) == {-1, 1}
    assert (found < 0).sum() == 20
    np.testing.assert_array_equal(detector.decision_function(X) < 0, found < 0)
    np.testing.assert_array_equal(detector.decision_function(X), detector.score_samples(X) - detector.offset_)


def test_auto_is_tukeys_fence(fitted):
    detector, frame, odd, _ = fitted
    low, high = np.quantile(detector.score_samples(frame), [0.25, 0.75], method="averaged_inverted_cdf")
    assert detector.offset_ == pytest.approx(low - 1.5 * (high - low))
    found = detector.predict(frame) < 0
    assert found[odd].mean() > 0.25
    assert found[~odd].mean() < 0.02


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.5])
def test_quantile_of_weighted_values(share):
    rng = np.random.default_rng(0)
    values, weight = rng.normal(size=40), rng.integers(0, 4, size=40)
    repeated = np.repeat(values, weight)
    expected = np.quantile(repeated, share, method="averaged_inverted_cdf")
    kept = weight > 0
    assert weighted_quantile(repeated, share) == pytest.approx(expected)
    assert weighted_quantile(values[kept], share, weight[kept].astype(float)) == pytest.approx(expected)


def test_any_estimator_gives_its_own_score():
    X, _, _ = contaminated(150, 10)
    estimator = Autoencoder(**QUICK, random_state=3)
    detector = AnomalyDetector(estimator).fit(X)
    assert not hasattr(estimator, "module_")
    np.testing.assert_array_equal(detector.score_samples(X), estimator.fit(X).score_samples(X))


def test_images():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2, 4, 3))
    X[0, 1, 2, 1] = 30
    against = AnomalyDetector(Autoencoder(**QUICK), random_state=0).fit(X).explain(X)
    assert against.shape == X.shape
    assert np.unravel_index(against[0].argmax(), X.shape[1:]) == (1, 2, 1)


def test_saved_and_loaded(tmp_path, fitted):
    detector, frame, _, _ = fitted
    detector.save(tmp_path / "detector")
    loaded = isthmus.load(tmp_path / "detector")
    np.testing.assert_array_equal(loaded.decision_function(frame), detector.decision_function(frame))
    pd.testing.assert_frame_equal(loaded.explain(frame[:5]), detector.explain(frame[:5]))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("contamination", 0), ("contamination", 0.6), ("contamination", "some"), ("estimator", "mlp"), ("estimator", 3)],
)
def test_bad_arguments(argument, value):
    with pytest.raises(ParameterError, match=f"AnomalyDetector: {argument} must be"):
        AnomalyDetector(**{argument: value}).fit([[0.0], [1.0]])


@pytest.mark.parametrize("method", ["score_samples", "decision_function", "predict", "explain"])
def test_unfitted(method):
    with pytest.raises(IsthmusError, match=f"not fitted yet: call fit.X. before {method}"):
        getattr(AnomalyDetector(), method)([[0.0], [1.0]])
