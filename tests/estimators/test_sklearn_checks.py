"""scikit-learn's own checks, on every estimator: none failed, none expected to fail.

The default suite runs them with few epochs, to save time; `slow` runs the estimators as they are.
"""

import warnings

import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator

import isthmus.estimators
from isthmus import AnomalyDetector, Autoencoder

EVERY = [
    getattr(isthmus.estimators, name) for name in isthmus.estimators.__all__ if name not in ("Segmenter", "Seq2Seq")
]
"""Those that read tables, which all the checks are made of; the files of the other two hold theirs."""


def quick(cls):
    return AnomalyDetector(Autoencoder(max_epochs=3)) if cls is AnomalyDetector else cls(max_epochs=3)


def assert_all_pass(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = check_estimator(estimator, on_fail=None)
    failed = [f"{row['check_name']}: {row['exception']!r}" for row in results if row["status"] in ("failed", "xfail")]
    assert not failed, "\n".join(failed)
    assert sum(row["status"] == "passed" for row in results) > 40


@pytest.mark.parametrize("cls", EVERY)
def test_quick(cls):
    assert_all_pass(quick(cls))


@pytest.mark.slow
@pytest.mark.parametrize("cls", EVERY)
def test_as_it_is(cls):
    assert_all_pass(cls())
