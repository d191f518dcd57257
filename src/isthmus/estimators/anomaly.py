"""Outlier detection with scikit-learn's contract: a row is odd where the model gives it little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, OutlierMixin, clone
from torch import Tensor

from isthmus import adapters
from isthmus.checks import Check, check_parameters, choice, either, instance, integer, number, optional
from isthmus.decoders import MLPDecoder
from isthmus.encoders import ConvEncoder, MLPEncoder
from isthmus.errors import DataError, ParameterError, UnsupportedError
from isthmus.estimators.atomic import all_or_nothing
from isthmus.estimators.autoencoder import Autoencoder
from isthmus.estimators.base import MAX_REPEATS, EncoderDecoderEstimator
from isthmus.estimators.exporting import Exporting
from isthmus.estimators.inference import require_fitted
from isthmus.estimators.inputs import Inputs, allowed_rows, check_weights
from isthmus.estimators.long_series import by_step, long_series, starts_of
from isthmus.estimators.reporting import Reporting
from isthmus.estimators.saving import Saving
from isthmus.estimators.sequences import layout_of
from isthmus.estimators.variational import VariationalAutoencoder
from isthmus.estimators.windows import cut
from isthmus.losses import GaussianNLL
from isthmus.nn.statistics import observed
from isthmus.schedules import Cosine
from isthmus.types import Batch

__all__ = ["AnomalyDetector"]

STEPS, BATCH = 1000, 256
NODES, SHARES = np.polynomial.legendre.leggauss(16)


@dataclass(eq=False, repr=False)
class AnomalyDetector(Saving, Exporting, Reporting, OutlierMixin, Inputs, BaseEstimator):  # type: ignore[misc]
    """Finds the rows to which a model of the others gives the least likelihood.

    It is trained on all rows, outliers among them, without labels. By default it is a variational
    autoencoder with a code as wide as a row, so that its neck is the price of the code alone, and a row's
    score is the ELBO with the code at its mean, log p(x|μ(x)) − KL(q(z|x) ‖ p(z)), in nats of the scaled
    row. Three things keep outliers from bending it: columns pass through `RobustScaler`; the worst fifth
    of each batch is left out (`trim`); and a column's noise has at least the variance 1 in those units, so
    that no column that hardly varies among most rows decides alone. docs/anomalies.md shows how this was
    chosen, and on what.

    Parameters
    ----------
    estimator : estimator of isthmus or None
        Its ``score_samples`` is the score: `Autoencoder()`, ``VariationalAutoencoder(trim=0.2)``, …
        None is the default above; with ``window`` a convolutional `Autoencoder` of 16 numbers.
    contamination : "auto" or float
        The share of outliers among the training rows, in (0, 0.5]: so many get −1. "auto" needs no
        guess: Tukey's fence, the lower quartile of the training scores less 1.5 times their interquartile
        range, below which lie 0.35 % of normally distributed scores.
    window : int or None
        Rows are the windows, of so many time steps, of one long series ``(T,)`` or ``(T, D)``, and every time step
        gets a score: the mean over the windows that cover it.
    stride : int
        Steps from one window to the next.
    random_state : int, RandomState or None

    Attributes
    ----------
    members_ : list of fitted estimators
        One; the score is the mean of theirs.
    offset_ : float
        The score below which a row is an outlier.
    center_ : array
        The medians of the training columns, a row from which `explain` sets out; of series, of their channels over
        all steps. Texts have none.
    columns_ : list of str or None
        With ``window``, of the frame that was read.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import AnomalyDetector
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> X[0, 2] = 9
    >>> detector = AnomalyDetector(contamination=0.005, random_state=0).fit(X)
    >>> int(detector.predict(X).argmin()), int(detector.explain(X)[0].argmax())
    (0, 2)
    """

    estimator: Any = None
    contamination: float | str = "auto"
    window: int | None = None
    stride: int = 1
    random_state: Any = None

    allowed: ClassVar[dict[str, Check]] = {
        "estimator": optional(instance(EncoderDecoderEstimator, "an estimator of isthmus, such as Autoencoder()")),
        "contamination": either(choice(["auto"]), number(0, 0.5, open_low=True)),
        "window": optional(integer(2)),
        "stride": integer(1),
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "offset_")

    def set_params(self, **params: Any) -> Self:
        """Set parameters; those of the estimator by ``estimator__latent_dim``, once there is one."""
        if self.estimator is None and "estimator" not in params:
            for key in params:
                if key.startswith("estimator__"):
                    raise ParameterError(f"{key}: estimator=None has no parameters; set estimator to an object first")
        super().set_params(**params)
        return self

    # ------------------------------------------------------------------ fitting

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, resume: bool = False) -> Self:
        """Train on X.

        Parameters
        ----------
        X : array, tensor, frame, sparse matrix or path
            ``(n, d)``, ``(n, H, W)`` or ``(n, C, *spatial)``; a list of series or texts, for an estimator that
            reads them; with ``window`` one series, ``(T,)`` or ``(T, D)``.
        y : ignored
        sample_weight : array of shape (n,), optional
            Whole numbers repeat a row (0 leaves it out); others weigh its loss. Not with ``window``.
        resume : bool
            Go on from the estimator's ``checkpoint_dir``: see its `fit`.

        Raises
        ------
        ParameterError, DataError
            Before any training. After an error the detector is what it was before.
        """
        with all_or_nothing(self):
            return self._fit(X, sample_weight, resume)

    def _fit(self, X: Any, sample_weight: Any, resume: bool) -> Self:
        check_parameters(type(self).__name__, vars(self), self.allowed)
        if self.window is not None and sample_weight is not None:
            raise ParameterError("sample_weight must be None where window is given: windows share their time steps")
        given, whole = self._windowed(X, reset=True)
        rows = check_weights(self._read(given, reset=True), sample_weight, MAX_REPEATS)
        weight = None if rows.weight is None else rows.weight.numpy()
        if self._layout == "texts":
            self.__dict__.pop("center_", None)  # of an earlier fit
            if sample_weight is not None:
                raise ParameterError("sample_weight must be None for texts; give a text as often as it weighs")
            if self.estimator is None:
                raise ParameterError("estimator must be given for texts, such as VariationalAutoencoder()")
        else:
            given = self._user_units(rows.x, rows.x_mask)
            known = observed(rows.x, rows.x_mask)[0] if self._layout == "series" else rows.x
            self.center_ = np.median(known.numpy(), axis=0)
        self.members_ = [self._fresh(rows.x).fit(given, sample_weight=weight, resume=resume)]
        scores = whole(self._scores(rows))
        if self.contamination == "auto":
            low, high = (weighted_quantile(scores, share, weight) for share in (0.25, 0.75))
            self.offset_ = low - 1.5 * (high - low)
        else:
            self.offset_ = weighted_quantile(scores, float(self.contamination), weight)
        return self

    def _tokenizer_given(self) -> Any:
        return "word" if self.estimator is None else self.estimator.tokenizer

    def _encoder_given(self) -> Any:
        if self.estimator is None and self.window is not None:
            return window_estimator(1, self.window).encoder
        return getattr(self.estimator, "encoder", None)

    def _fresh(self, x: Tensor) -> EncoderDecoderEstimator:
        """The estimator to be fitted, with this detector's ``random_state`` if that is set."""
        if self.estimator is not None:
            fresh = clone(self.estimator)
        elif self.window is not None:
            fresh = window_estimator(len(x), self.window)
        else:
            fresh = default_estimator(len(x), x[0].numel())
        if self.random_state is not None:
            fresh.set_params(random_state=self.random_state)
        return fresh

    # ------------------------------------------------------------------ scores

    def score_samples(self, X: Any) -> np.ndarray:
        """Per row, higher is more normal, ``(n,)``; by default in nats. With ``window`` per time step, ``(T,)``.

        A row's score does not depend on the rows beside it. Of one so far off that it has none, or
        that the estimator's likelihood excludes, it is −∞.
        """
        self._fitted("score_samples")
        given, whole = self._windowed(X)
        return whole(self._scores(self._read(given)))  # type: ignore[no-any-return]

    def decision_function(self, X: Any) -> np.ndarray:
        """``score_samples(X) − offset_``: below 0 for an outlier."""
        self._fitted("decision_function")
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """1 for a normal row, −1 for an outlier, ``(n,)``; with ``window`` of each time step, ``(T,)``."""
        self._fitted("predict")
        return np.where(self.decision_function(X) >= 0, 1, -1)  # no number is an outlier

    def explain(self, X: Any) -> Any:
        """How much each value of a row speaks against it: X's shape, and a frame for a frame.

        The highest of a row is what speaks most against it. A row's numbers sum to
        ``score_samples(center) − score_samples(row)``, where the center is the row of the training
        medians: they are integrated gradients of the score along the straight line, in scaled units,
        from there to the row (Sundararajan, Taly & Yan 2017), by Gauss's rule with 16 nodes. The sum is
        exact but for that rule: to a millionth for smooth activations, about a hundredth for ReLU. With
        ``window``, the mean over the windows that cover a time step.
        """
        self._fitted("explain")
        if self._layout == "texts":
            raise UnsupportedError("explain needs numbers, whose scores have derivatives; this detector reads texts")
        data = adapters.read(X)
        given, whole = self._windowed(data)
        rows = self._read(given)
        against = torch.stack([self._against(member, rows) for member in self.members_]).mean(0)
        return _like(data, whole(self._user_units(against, rows.x_mask)))

    def _windowed(self, X: Any, reset: bool = False) -> tuple[Any, Callable[[Any], Any]]:
        """X as rows, and what brings figures of rows back to X: with ``window`` the rows are windows of a series."""
        if self.window is None:
            return X, lambda figures: figures
        given, width = adapters.read(X), self.window
        array = long_series(given, width)
        starts = starts_of(len(array), width, self.stride)
        rows = cut(array, starts, width)
        n_columns = array.shape[1]
        columns = [str(column) for column in given.columns] if hasattr(given, "columns") else None
        if reset:
            self.columns_ = columns
        else:
            known = self.center_.shape[-1] if self._layout == "series" else self.center_.size // width
            if n_columns != known:
                raise DataError(f"X must have {known} columns, as in training, got {n_columns}")
            if None not in (columns, wanted := getattr(self, "columns_", None)) and columns != wanted:
                raise DataError(f"X must have the columns {wanted}, got {columns}")
        dims, flat = self._dims(), np.ndim(given) == 1
        sequences = layout_of(rows, self._encoder_given()) == "series"

        def whole(figures: Any) -> np.ndarray:
            values = np.asarray(figures)
            if values.ndim > 1:  # one a number of each window
                channels = values.reshape(len(values), n_columns, width).swapaxes(1, 2) if dims == 1 else values
                values = channels.reshape(len(values), width, n_columns)
            steps = by_step(values, starts, width, len(array))
            return steps[:, 0] if flat and steps.ndim > 1 else steps

        if sequences:
            return rows, whole
        return (rows.swapaxes(1, 2) if dims == 1 else rows.reshape(len(rows), -1)), whole

    @torch.no_grad()
    def _against(self, member: EncoderDecoderEstimator, given: Batch) -> Tensor:
        """(y(center) − y(x)) · ∫₀¹ ∂score/∂y dt on the line between the two, in scaled units y, x's shape."""
        scaler = member.module_.scaler
        assert scaler is not None

        def of(rows: Batch) -> Tensor:
            center = torch.from_numpy(self.center_).to(rows.x.device)
            start, end = (scaler(value.double())[0] for value in (center.expand_as(rows.x), rows.x))
            slope = torch.zeros_like(end)
            for node, share in zip((NODES + 1) / 2, SHARES / 2, strict=True):
                y = torch.lerp(start, end, float(node)).requires_grad_()
                with torch.enable_grad():
                    score = self._score_rows(member, Batch(scaler.inverse(y), x_mask=rows.x_mask)).sum()
                    slope += float(share) * torch.autograd.grad(score, y)[0]
            return (start - end) * slope

        return member._mapped(of, given)

    def _score_rows(self, member: EncoderDecoderEstimator, rows: Batch) -> Tensor:
        plain = self.estimator is None and self.window is None
        return at_mean(member, rows) if plain else member._score_rows(rows)

    def _scores(self, rows: Batch) -> np.ndarray:
        return np.mean([self._scores_of(one, rows) for one in self.members_], axis=0)

    def _scores_of(self, member: EncoderDecoderEstimator, given: Batch) -> np.ndarray:
        """One member's scores; −∞ for what its loss excludes, and for what has no score."""

        scores = member._over_rows(given, partial(self._score_rows, member))
        possible = np.isfinite(scores)
        if member.module_.loss.bounds is not None:
            possible &= member._over_rows(given, partial(self._allowed, member)) > 0
        return np.where(possible, scores, -np.inf)

    def _allowed(self, member: EncoderDecoderEstimator, rows: Batch) -> Tensor:
        return allowed_rows(member.module_, member.module_.scale(rows.x)[0])

    def _fitted(self, method: str) -> None:
        require_fitted(self, method)


def default_estimator(n_rows: int, width: int) -> VariationalAutoencoder:
    """What ``estimator=None`` stands for: about `STEPS` steps, however many rows there are.

    Encoder and decoder have one hidden layer of 64 tanh each.
    """
    return VariationalAutoencoder(
        latent_dim=width,
        encoder=MLPEncoder((64,), "tanh"),
        decoder=MLPDecoder((64,), "tanh"),
        loss=GaussianNLL("per_feature", min_variance=1.0),
        scale="robust",
        trim=0.2,
        learning_rate=5e-3,
        schedule=Cosine(warmup=0.3),
        clip_norm=10.0,
        batch_size=BATCH,
        max_epochs=max(1, round(STEPS / -(-n_rows // BATCH))),
        validation_fraction=0,
    )


def window_estimator(n_windows: int, width: int) -> Autoencoder:
    """What ``estimator=None`` stands for with ``window``: a convolutional autoencoder of 16 numbers.

    On the one labelled series at hand (docs/signals.md) its highest score lies within two steps of the label for
    windows of 32, 64 and 128 steps; the variational one of rows missed it each time.
    """
    levels = max(1, min(4, width.bit_length() - 4))
    return Autoencoder(
        latent_dim=min(16, max(2, width // 4)),
        encoder=ConvEncoder([16 * 2**level for level in range(levels)], dims=1),
        max_epochs=max(1, round(STEPS / -(-n_windows // 128))),
        validation_fraction=0,
    )


def at_mean(estimator: EncoderDecoderEstimator, rows: Batch) -> Tensor:
    """log p(x|μ(x)) − KL(q(z|x) ‖ p(z)) as a density of the scaled row, ``(B,)``, nats."""
    return estimator._elbo_rows(rows, 1, torch.zeros_like)


def weighted_quantile(values: np.ndarray, share: float, weight: np.ndarray | None = None) -> float:
    """The number with ``share`` of the weight below it, half way between two values where that is exact.

    (The averaged inverse of the distribution function: a row of weight two is the row given twice.)
    """
    order = np.argsort(values, kind="stable")
    below = np.cumsum(np.ones(len(values)) if weight is None else weight[order])
    goal, slack = share * below[-1], 1e-9 * below[-1]
    first, last = np.searchsorted(below, goal - slack), np.searchsorted(below, goal + slack)
    return float((values[order[first]] + values[order[min(last, len(values) - 1)]]) / 2)


def _like(data: Any, array: np.ndarray) -> Any:
    """The array as a frame with the names of ``data``, if that is one."""
    if not hasattr(data, "columns") or array.ndim != 2:
        return array
    if type(data).__module__.startswith("polars"):
        return type(data)(array, schema=list(data.columns))
    return type(data)(array, columns=data.columns, index=data.index)
