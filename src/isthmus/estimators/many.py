"""Many estimators at once: those whose steps are alike are trained by one step."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from isthmus.checks import check_parameters, integer
from isthmus.errors import IsthmusError, ParameterError
from isthmus.estimators.atomic import all_or_nothing
from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.estimators.grouping import Begun, error_of, groups, train_group
from isthmus.estimators.streaming import as_stream
from isthmus.stream import Stream

__all__ = ["Job", "Outcome", "fit_jobs", "fit_many"]

logger = logging.getLogger("isthmus")


def fit_many(
    estimators: Iterable[Any],
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    validation_data: Any = None,
    together: int = 16,
) -> list[Any]:
    """Fit several estimators on X; those whose training steps are alike are trained by one step.

    Each ends as its own ``fit`` would have left it, but for rounding and the seconds of its history: it has its own
    first weights, split, order of rows, noise, schedule, early stopping and best weights. For small networks that is
    several times as fast as one after the other, most of all with ``compile=True``: see docs/engine.md.

    Alike are steps of the same operations on the same shapes. What may differ are ``random_state``,
    ``learning_rate``, ``schedule``, ``max_epochs``, ``patience``, ``validation_fraction``, penalties' weights,
    ``weight_decay``, ``clip_norm`` and a part's numbers (the strength of a corruption, ρ, a variance, a dropout); the
    number of rows may where a batch still has the same size, or all rows. Estimators that differ in more, in a width
    or an optimiser, are trained in groups. What has to be trained alone, is: by L-BFGS, on a GPU, on a `Stream`, of
    sequences or patches, with ``checkpoint_dir``, ``verbose``, ``compile=False`` or a callback other than
    `EarlyStopping`, `WeightSchedule`, `WeightAverage` and `CSVLogger`, and whatever is no autoencoder. The log
    ("isthmus", INFO) tells the groups and the reasons.

    Parameters
    ----------
    estimators : sequence of estimators
        Each fitted in place.
    X, y, sample_weight, validation_data
        As in an estimator's ``fit``, the same for all.
    together : int
        Models in one step at most. As one ends, the next takes its place.

    Returns
    -------
    list of the estimators

    Raises
    ------
    ParameterError, DataError
        Before any training. After an error all are what they were before.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from isthmus import Autoencoder, fit_many
    >>> X = load_digits().data
    >>> models = [Autoencoder(latent_dim=8, max_epochs=2, random_state=seed) for seed in range(3)]
    >>> [model.transform(X).shape for model in fit_many(models, X)]
    [(1797, 8), (1797, 8), (1797, 8)]
    """
    if hasattr(estimators, "fit") or not isinstance(estimators, Iterable):
        raise ParameterError(f"estimators must be a list of estimators, got {estimators!r}")
    estimators = list(estimators)
    check_parameters("fit_many", {"together": together}, {"together": integer(1)})
    for number, estimator in enumerate(estimators):
        if not hasattr(estimator, "fit") or isinstance(estimator, type):
            raise ParameterError(f"estimators[{number}] must be an estimator, got {estimator!r}")
    if len({id(estimator) for estimator in estimators}) < len(estimators):
        raise ParameterError("estimators must be different objects, got one twice: sklearn.base.clone copies it")
    jobs = [Job(estimator, X, y, sample_weight, validation_data) for estimator in estimators]
    with ExitStack() as stack:
        for estimator in estimators:
            stack.enter_context(all_or_nothing(estimator))
        fit_jobs(jobs, together, raising=True)
    return estimators


class Job(NamedTuple):
    """An estimator and what it is to be fitted on."""

    estimator: Any
    X: Any
    y: Any = None
    sample_weight: Any = None
    validation_data: Any = None

    def fit_alone(self) -> None:
        """The estimator's own ``fit``."""
        extra = {"sample_weight": self.sample_weight, "validation_data": self.validation_data}
        self.estimator.fit(self.X, self.y, **{name: value for name, value in extra.items() if value is not None})


class Outcome(NamedTuple):
    """How a job ended: its error, if any, and its seconds, an equal share of its group's."""

    error: Exception | None
    seconds: float


def fit_jobs(jobs: Sequence[Job], together: int, raising: bool = False) -> list[Outcome]:
    """Fit all jobs; see `fit_many`. ``raising``: the first error is raised, those before training ahead of it."""
    outcomes: dict[int, Outcome] = {}
    begun, apart = list[Begun](), list[int]()

    def note(numbers: Sequence[int], started: float, errors: Sequence[Exception | None]) -> None:
        seconds = (time.perf_counter() - started) / len(numbers)
        for number, error in zip(numbers, errors, strict=True):
            before = outcomes[number].seconds if number in outcomes else 0.0
            outcomes[number] = Outcome(error, before + seconds)
            if raising and error is not None:
                raise _named(error, number)

    for number, job in enumerate(jobs):
        started = time.perf_counter()
        if reason := _against_beginning(job):
            logger.info("estimators[%d] is fitted alone, %s", number, reason)
            apart.append(number)
            continue
        note([number], started, [error_of(partial(_begin, begun, number, job))])
    for group in groups(begun):
        started = time.perf_counter()
        note([one.number for one in group], started, train_group(group, together))
    for number in apart:
        started = time.perf_counter()
        note([number], started, [error_of(jobs[number].fit_alone)])
    return [outcomes[number] for number in range(len(jobs))]


def _against_beginning(job: Job) -> str:
    """Why a job is left to its estimator's ``fit``, "" where it is not."""
    estimator = job.estimator
    if getattr(type(estimator), "fit", None) is not EncoderDecoderEstimator.fit:
        return f"since {type(estimator).__name__} has a fit of its own"
    if isinstance(as_stream(estimator, job.X, job.y, job.sample_weight), Stream):
        return "since X is a Stream"
    return "since it has a checkpoint_dir" if estimator.checkpoint_dir is not None else ""


def _named(error: Exception, number: int) -> Exception:
    """The error with the number of its estimator, where it is one of ours."""
    return type(error)(f"estimators[{number}]: {error}") if isinstance(error, IsthmusError) else error


def _begin(begun: list[Begun], number: int, job: Job) -> None:
    begun.append(Begun(number, *job))
