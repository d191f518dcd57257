"""A search over parameters whose candidates and folds are trained together."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import ParameterGrid, ParameterSampler, check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import _safe_indexing, indexable

from isthmus import adapters
from isthmus.checks import check_parameters, integer, optional
from isthmus.errors import ParameterError
from isthmus.estimators.many import Job, Outcome, fit_jobs

__all__ = ["SearchCV"]


class SearchCV(BaseSearchCV):  # type: ignore[misc]
    """`GridSearchCV`, or `RandomizedSearchCV` with ``n_iter``, by `fit_many`: candidates and folds in common steps.

    All candidates of one architecture are trained together with all their folds, several architectures in groups. The
    scores are those of scikit-learn's classes with the same splits, but for rounding. Each candidate without a
    ``random_state`` has first weights of its own: give the estimator a number to compare its parameters alone.

    Parameters
    ----------
    estimator : estimator
        Of isthmus; any other (a Pipeline, say) is fitted once a candidate and fold, as scikit-learn does.
    param_grid : dict or list of dicts
        Names of parameters with lists of values; with ``n_iter`` also with distributions of scipy.
    n_iter : int or None
        How many candidates are drawn; None takes the whole grid.
    scoring : str, callable, list, dict or None
        None is the estimator's ``score``: of an autoencoder minus the loss, or the ELBO.
    refit : bool, str or callable
        Whether the best is fitted on all rows at the end; the name of the score that decides where there are several.
    cv : int, splitter, iterable or None
        As in scikit-learn: None is 5 folds.
    error_score : "raise" or float
        What a fit that fails scores.
    return_train_score : bool
    together : int
        Models in one step at most.
    random_state : int, RandomState or None
        Of the draws of ``n_iter``.

    Attributes
    ----------
    cv_results_ : dict of arrays
        With scikit-learn's keys. A fit's time is an equal share of its group's.
    best_params_, best_score_, best_index_, best_estimator_, n_splits_, scorer_, refit_time_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from isthmus import Autoencoder, SearchCV
    >>> X = load_digits().data[:200]
    >>> model = Autoencoder(encoder="mlp", max_epochs=5, random_state=0)
    >>> search = SearchCV(model, {"latent_dim": [2, 8], "learning_rate": [1e-3, 1e-2]}, cv=3).fit(X)
    >>> search.best_params_, search.transform(X).shape
    ({'latent_dim': 8, 'learning_rate': 0.01}, (200, 8))
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        n_iter: int | None = None,
        scoring: Any = None,
        refit: Any = True,
        cv: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        together: int = 16,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            estimator,
            scoring=scoring,
            refit=refit,
            cv=cv,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.param_grid = param_grid
        self.n_iter = n_iter
        self.together = together
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, groups: Any = None, sample_weight: Any = None) -> Self:
        """Train all candidates on all folds, and the best on all rows.

        Parameters
        ----------
        X, y, sample_weight
            As in the estimator's ``fit``; a part of each goes to each fold.
        groups : array of shape (n,), optional
            For a splitter that keeps groups together.

        Returns
        -------
        self
        """
        scorer, metric = self._get_scorers()
        candidates = list(self._candidates())
        X, y = getattr(self.estimator, "_read_pair", adapters.read_pair)(X, y)
        X, y, sample_weight, groups = indexable(X, y, sample_weight, groups)
        splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(splitter.split(X, y, groups))
        models = [self._candidate(params) for params in candidates for _ in splits]
        data = [Job(None, *(_rows(one, train) for one in (X, y, sample_weight))) for train, _ in splits]
        jobs = [data[number % len(splits)]._replace(estimator=model) for number, model in enumerate(models)]
        outcomes = fit_jobs(jobs, self.together, raising=self.error_score == "raise")
        _tell_failures(outcomes)
        tests = [(_rows(X, test), _rows(y, test)) for _, test in splits]
        scored = [
            self._scored(scorer, job, outcome, *tests[number % len(splits)])
            for number, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True))
        ]
        self.multimetric_ = isinstance(scored[0]["test_scores"], dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(scored[0]["test_scores"])
            metric = self.refit
        self.n_splits_, self.scorer_ = len(splits), getattr(scorer, "_scorers", scorer)
        self.cv_results_ = self._format_results(candidates, len(splits), scored)
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, metric, self.cv_results_)
            self.best_params_ = candidates[self.best_index_]
            if not callable(self.refit):
                self.best_score_ = self.cv_results_[f"mean_test_{metric}"][self.best_index_]
        if self.refit:
            started = time.perf_counter()
            self.best_estimator_ = self._candidate(self.best_params_)
            Job(self.best_estimator_, X, y, sample_weight).fit_alone()
            self.refit_time_ = time.perf_counter() - started
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        return self

    def _candidates(self) -> Any:
        check_parameters(type(self).__name__, vars(self), {"n_iter": optional(integer(1)), "together": integer(1)})
        grids = [self.param_grid] if isinstance(self.param_grid, Mapping) else self.param_grid
        check_parameters(type(self).__name__, {"param_grid": grids}, {"param_grid": _are_grids})
        if self.n_iter is not None:
            return ParameterSampler(self.param_grid, self.n_iter, random_state=self.random_state)
        for grid in grids:
            for name, values in grid.items():
                if hasattr(values, "rvs"):
                    raise ParameterError(f"n_iter must be a whole number where {name!r} has a distribution, got None")
        return ParameterGrid(self.param_grid)

    def _candidate(self, params: Mapping[str, Any]) -> Any:
        return clone(self.estimator).set_params(**clone(params, safe=False))

    def _scored(self, scorer: Any, job: Job, outcome: Outcome, X: Any, y: Any) -> dict[str, Any]:
        """The figures of one fit, as scikit-learn gathers them."""
        started = time.perf_counter()
        found = {"fit_time": outcome.seconds, "test_scores": self._score(scorer, job, outcome, X, y)}
        found["score_time"] = time.perf_counter() - started
        if self.return_train_score:
            found["train_scores"] = self._score(scorer, job, outcome, job.X, job.y)
        return found

    def _score(self, scorer: Any, job: Job, outcome: Outcome, X: Any, y: Any) -> Any:
        names = getattr(scorer, "_scorers", None)
        failed = self.error_score if names is None else dict.fromkeys(names, self.error_score)
        if outcome.error is not None:
            return failed
        try:
            return scorer(job.estimator, X) if y is None else scorer(job.estimator, X, y)
        except Exception as error:
            if self.error_score == "raise":
                raise
            warnings.warn(f"scoring failed and counts as {self.error_score}: {error}", FitFailedWarning, stacklevel=4)
            return failed


def _rows(data: Any, index: Any) -> Any:
    return None if data is None else _safe_indexing(data, index)


def _are_grids(value: Any) -> str | None:
    """Of scikit-learn's checks the one that comes too late: what the whole is."""
    fits = isinstance(value, Sequence) and len(value) > 0 and all(isinstance(grid, Mapping) for grid in value)
    return None if fits else "a dict of names with lists of values, or a list of such"


def _tell_failures(outcomes: Sequence[Outcome]) -> None:
    """A warning where some fits failed; the first error where all did."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if errors and len(errors) == len(outcomes):
        raise errors[0]
    if errors:
        told = f"{len(errors)} of {len(outcomes)} fits failed and count as error_score; the first: {errors[0]}"
        warnings.warn(told, FitFailedWarning, stacklevel=3)
