"""The search over parameters: scikit-learn's scores, by fewer steps."""

import logging
import re

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from isthmus import Autoencoder, DenoisingAutoencoder, MLPEncoder, SearchCV, VariationalAutoencoder
from isthmus.errors import ParameterError

X = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
MODEL = Autoencoder(encoder=MLPEncoder((8,), "tanh"), batch_size=128, max_epochs=20, compile="replay", random_state=0)


def scores_of(search):
    return {key: value for key, value in search.cv_results_.items() if "score" in key and "time" not in key}


def assert_as_scikit_learn(ours, theirs):
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    for key, values in scores_of(theirs).items():
        np.testing.assert_allclose(ours.cv_results_[key], values, rtol=1e-4, atol=1e-4)
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_index_ == theirs.best_index_
    assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=1e-4)
    assert ours.n_splits_ == theirs.n_splits_


@pytest.mark.parametrize("cv", [3, KFold(4, shuffle=True, random_state=1)], ids=["unequal folds", "equal folds"])
def test_a_grid_has_the_scores_of_scikit_learn(cv, caplog):
    grid = {"latent_dim": [2, 3], "learning_rate": [1e-3, 1e-2]}
    theirs = GridSearchCV(MODEL, grid, cv=cv).fit(X)
    with caplog.at_level(logging.INFO, "isthmus"):
        ours = SearchCV(MODEL, grid, cv=cv).fit(X)
    assert_as_scikit_learn(ours, theirs)
    together = [re.findall(r"\d+", record.message) for record in caplog.records if "together" in record.message]
    half = 2 * ours.n_splits_  # a group an architecture, all folds in it
    assert together == [[str(i) for i in range(half)], [str(i) for i in range(half, 2 * half)]]
    assert "alone" not in caplog.text
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-4)
    assert ours.score(X) == pytest.approx(theirs.score(X), rel=1e-4)
    assert ours.inverse_transform(ours.transform(X)).shape == X.shape
    assert ours.n_features_in_ == 6
    assert ours.refit_time_ > 0


def test_draws_are_those_of_scikit_learn():
    model = VariationalAutoencoder(encoder=MLPEncoder((8,), "tanh"), max_epochs=5, compile="replay", random_state=0)
    distributions = {"beta": loguniform(0.1, 10), "learning_rate": [1e-3, 1e-2]}
    theirs = RandomizedSearchCV(model, distributions, n_iter=4, cv=2, random_state=1, return_train_score=True).fit(X)
    ours = SearchCV(model, distributions, n_iter=4, cv=2, random_state=1, return_train_score=True).fit(X)
    assert_as_scikit_learn(ours, theirs)


def test_several_scores_and_targets_and_groups():
    model = DenoisingAutoencoder(encoder=MLPEncoder((8,), "tanh"), max_epochs=5, compile="replay", random_state=0)
    scoring = {
        "loss": lambda one, X, y: one.score(X),
        "cleaned": lambda one, X, y: -np.mean((one.reconstruct(X) - y) ** 2),
    }
    settings = {"scoring": scoring, "refit": "cleaned", "cv": GroupKFold(3)}
    groups = np.arange(100) % 7
    theirs = GridSearchCV(model, {"latent_dim": [2, 4]}, **settings).fit(X + 0.5, X, groups=groups)
    ours = SearchCV(model, {"latent_dim": [2, 4]}, **settings).fit(X + 0.5, X, groups=groups)
    assert_as_scikit_learn(ours, theirs)
    assert set(ours.scorer_) == {"loss", "cleaned"}


def test_weights_are_cut_with_the_rows():
    weight = np.where(np.arange(100) % 2, 1.0, 0.5)
    search = SearchCV(MODEL, {"latent_dim": [2, 3]}, cv=3, refit=False).fit(X, sample_weight=weight)
    train, test = next(iter(KFold(3).split(X)))
    alone = clone(MODEL).set_params(latent_dim=2).fit(X[train], sample_weight=weight[train])
    assert search.cv_results_["split0_test_score"][0] == pytest.approx(alone.score(X[test]), rel=1e-4)


def test_without_refit_there_is_no_best_estimator():
    search = SearchCV(MODEL, {"latent_dim": [2]}, cv=2, refit=False).fit(X)
    assert not hasattr(search, "best_estimator_")
    assert search.best_params_ == {"latent_dim": 2}
    check_is_fitted(search)


def test_any_other_estimator_is_fitted_as_scikit_learn_does():
    y = (X[:, 0] > 0).astype(int)
    pipeline = make_pipeline(Autoencoder(latent_dim=2, max_epochs=2, random_state=0), LogisticRegression())
    grid = {"logisticregression__C": [0.1, 1.0]}
    assert_as_scikit_learn(SearchCV(pipeline, grid, cv=2).fit(X, y), GridSearchCV(pipeline, grid, cv=2).fit(X, y))


def test_a_candidate_that_fails_counts_as_nan():
    grid = {"learning_rate": [1e-3, 1e9], "optimizer": ["sgd"]}
    with (
        pytest.warns(FitFailedWarning, match=r"2 of 4 fits failed .* the first: the objective is"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        search = SearchCV(MODEL, grid, cv=2).fit(X)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert search.best_params_ == {"learning_rate": 1e-3, "optimizer": "sgd"}
    with pytest.raises(ParameterError, match=r"estimators\[0\]: .* latent_dim must be"):
        SearchCV(MODEL, {"latent_dim": [0, 2]}, cv=2, error_score="raise").fit(X)
    with pytest.raises(ParameterError, match="latent_dim must be"):
        SearchCV(MODEL, {"latent_dim": [0]}, cv=2).fit(X)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"param_grid": "latent_dim"}, "param_grid must be a dict of names with lists of values, .* got 'latent_dim'"),
        ({"param_grid": {"beta": loguniform(1, 2)}}, "n_iter must be a whole number where 'beta' has a distribution"),
        ({"param_grid": {"latent_dim": [2]}, "n_iter": 0}, "n_iter must be None or a whole number of at least 1"),
        ({"param_grid": {"latent_dim": [2]}, "together": 0}, "together must be a whole number of at least 1, got 0"),
        ({"param_grid": {"latent": [2]}}, "Autoencoder has no parameter 'latent'"),
    ],
)
def test_what_is_wrong_is_named(arguments, said):
    with pytest.raises(ParameterError, match=said):
        SearchCV(MODEL, **arguments).fit(X)
