"""scikit-learn's own checks, on every estimator: none failed, none expected to fail."""

import warnings

import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator

import isthmus.estimators


@pytest.mark.parametrize("name", isthmus.estimators.__all__)
def test_check_estimator(name):
    estimator = getattr(isthmus.estimators, name)()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = check_estimator(estimator, on_fail=None)
    failed = [f"{row['check_name']}: {row['exception']!r}" for row in results if row["status"] in ("failed", "xfail")]
    assert not failed, "\n".join(failed)
    assert sum(row["status"] == "passed" for row in results) > 40
