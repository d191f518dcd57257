"""Sequence to sequence: texts to texts, series to series, and what comes next in a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from isthmus import spec
from isthmus.checks import Check, check_parameters, choice, either, instance, integer, optional, sequence
from isthmus.encoders import MLPEncoder, RNNEncoder, TransformerEncoder
from isthmus.errors import DataError, ParameterError, UnsupportedError
from isthmus.estimators.atomic import all_or_nothing
from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.estimators.decoded import DECODED
from isthmus.estimators.forecasting import Forecasting
from isthmus.estimators.text_pairs import TextPairs
from isthmus.losses import CrossEntropy, GaussianNLL, SquaredError
from isthmus.part import Encoder, Loss, Scaler
from isthmus.text import TOKENIZERS, Tokenizer
from isthmus.training.buckets import Buckets
from isthmus.training.resident import Resident
from isthmus.types import Batch, Space

__all__ = ["Seq2Seq"]

DEFAULTS = {"beam_size": 1, "n_best": 1, "length_penalty": 1.0, "temperature": None, "top_k": None, "top_p": 1.0}
"""Of `Seq2Seq.predict`, for texts alone."""


@dataclass(eq=False, repr=False)
class Seq2Seq(TextPairs, Forecasting):
    """Learns to write a sequence, given another: texts or series to texts or series, or the future of a series.

    Texts: translation, transcription, pronunciation. The encoder gives one vector a piece of the source, the
    decoder attends to them and writes the target piece by piece (Bahdanau et al. 2015; Vaswani et al. 2017). With
    ``encoder=RNNEncoder(pool="last")`` it reads one vector for all of the source (Sutskever et al. 2014). An
    empty source is read as one unknown piece. What was not seen in training is one unknown piece, too, and is
    never written.

    Series: a target is real numbers, written step by step or, by a decoder with ``autoregressive=False``, all at
    once. A sequence of numbers has no end that could be learnt, so `predict` is told its length.

    Either side may be either: texts of series (of a recording, say), or series of texts.

    Forecasts: with ``window`` and ``horizon`` the pairs are cut out of series, and `predict` gives what comes next.

    Parameters
    ----------
    encoder : str or Encoder
        "auto" and "rnn" are ``RNNEncoder(256, pool=None, dropout=0.2)`` where a side is texts, with attention, and
        ``RNNEncoder(64, pool=None, dropout=0.2)`` of series to series. Of windows, which any encoder reads, "auto" is
        ``MLPEncoder((256, 128), activation="silu")`` and "rnn" ``RNNEncoder(64)``. "transformer" is
        ``TransformerEncoder()``.
    tokenizer : {"bpe", "word", "char"} or Tokenizer
        Of both sides, or a pair of them, the source's and the target's: see `isthmus.text.TextTokenizer`.
    vocabulary_size : int, optional
        At most so many pieces a side; None: 8,000 byte pairs, all words and characters.
    lower : bool
        Texts in small letters.
    loss : "auto", str or Loss
        "auto" is ``CrossEntropy(label_smoothing=0.1, per="position")`` of texts, nats a piece, its end counted; of
        numbers it is ``SquaredError()``. "gaussian_nll" is ``GaussianNLL("predicted")``: a variance for every step.
    scale : {"auto", None, "standard", "min_max", "robust"} or Scaler
        Of numbers; sources and targets have one each, learnt from the training rows.
    batch_tokens : int, optional
        Positions of a batch, in place of ``batch_size`` sentences.
    max_length : int, optional
        Pieces or steps that are written at most; None: as many as the longest target of training has.
    validation_metrics : sequence of {"error_rate", "text_error", "bleu"}
        Of what is written greedily for held-out texts, at most 1,000, after every epoch: edits a piece, share of
        texts with any error, sacreBLEU. They stand in the history as ``val_error_rate``, …, and ``monitor`` may
        be one of them.
    window, horizon : int, optional
        Steps that are read, and steps that are forecast. Given both, `fit` takes series alone.
    stride : int
        Steps from one training window to the next.
    window_scale : {"auto", None, "mean", "last"}
        Each window and its future in units of its own: less the window's mean or its last value, divided by its
        deviation (as Kim et al. 2022). "auto" is None where the loss has bounds, else "last": the least error of
        the three on electricity demand and on sunspots (``benchmarks/series.py``).

    Attributes
    ----------
    source_tokenizer_, target_tokenizer_ : Tokenizer
    max_length_ : int
    target_scaler_ : Scaler
        Of numbers.

    Examples
    --------
    >>> from isthmus import Seq2Seq
    >>> words = ["ab", "ba", "abb", "bab"] * 20
    >>> turned = [word[::-1] for word in words]
    >>> model = Seq2Seq(encoder="rnn", tokenizer="char", max_epochs=2, random_state=0).fit(words, turned)
    >>> len(model.predict(["ab", "bba"]))
    2
    >>> import numpy as np
    >>> series = np.sin(np.arange(300) / 4)
    >>> Seq2Seq(window=50, horizon=12, max_epochs=2, random_state=0).fit(series).predict(series).shape
    (12,)
    """

    encoder: Any = "auto"
    bottleneck: Any = "identity"
    loss: Any = "auto"
    tokenizer: Any = "bpe"
    vocabulary_size: int | None = None
    lower: bool = False
    learning_rate: float = 1e-3
    clip_norm: float | None = 1.0
    batch_size: int = 64
    batch_tokens: int | None = None
    max_epochs: int = 30
    patience: int | None = 5
    max_length: int | None = None
    validation_metrics: Sequence[str] = ()
    window: int | None = None
    horizon: int | None = None
    stride: int = 1
    window_scale: str | None = "auto"

    allowed: ClassVar[dict[str, Check]] = EncoderDecoderEstimator.allowed | {
        "loss": either(choice(["auto"]), EncoderDecoderEstimator.allowed["loss"]),
        "tokenizer": either(choice(TOKENIZERS), instance((Tokenizer, tuple, list), "a tokenizer, or a pair of them")),
        "vocabulary_size": optional(integer(2)),
        "lower": instance(bool, "True or False"),
        "batch_tokens": optional(integer(1)),
        "max_length": optional(integer(1)),
        "validation_metrics": sequence(choice(DECODED), f"a list of {', '.join(DECODED)}"),
        "window": optional(integer(1)),
        "horizon": optional(integer(1)),
        "stride": integer(1),
        "window_scale": optional(choice(["auto", "mean", "last"])),
    }
    takes_target: ClassVar[bool] = True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = tags.input_tags.three_d_array = tags.input_tags.sparse = False
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags

    # ------------------------------------------------------------------ data

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        exogenous: Any = None,
        sample_weight: Any = None,
        validation_data: Any = None,
        resume: bool = False,
    ) -> Self:
        """Train on pairs of sequences, or, with ``window`` and ``horizon``, to forecast series.

        Parameters
        ----------
        X : list of str, of series, or array
            Sources: texts, or series ``(T, D)`` or ``(T,)``, or all of them as ``(n, T, D)``. To forecast: one
            series ``(T,)`` or ``(T, D)``, an array, a series or a frame of pandas or polars; or several, as a list.
            One shorter than a window and a horizon has nothing to learn from, and is passed over.
        y : as X, optional
            Targets, one a source, of the same kind or the other: texts for texts or for series, series for series or
            for texts. To forecast they are cut out of X.
        exogenous : like X, optional
            To forecast: columns ``(T, E)`` that are known ahead of time, over the past and the horizon.
        sample_weight : array of shape (n,), optional
            Of pairs.
        validation_data : pair (X, y), optional
            Held-out pairs; to forecast, series, or a pair of series and exogenous. Without it the last
            ``validation_fraction`` of each series is held out, at least ``horizon`` steps (series too short for that,
            and all where there are fewer than 50 windows, are for training alone), and of pairs a random share.
        resume : bool
            Go on from the newest checkpoint in ``checkpoint_dir``, as in the autoencoders.

        Returns
        -------
        self
        """
        if self.window is None and self.horizon is None:
            _refuse("exogenous", exogenous, None, "a model with window and horizon")
            return super().fit(X, y, sample_weight=sample_weight, validation_data=validation_data, resume=resume)
        if y is not None:
            raise DataError("y must be left out, since window and horizon cut the targets out of X")
        _refuse("sample_weight", sample_weight, None, "pairs of sequences")
        return self._fit_windows(X, exogenous, validation_data, resume)

    def partial_fit(self, X: Any, y: Any = None, *, exogenous: Any = None, sample_weight: Any = None) -> Self:
        """One epoch over X; vocabularies, scalers and shapes are those of the first call.

        After an error the estimator is what it was before.

        Parameters
        ----------
        X, y, exogenous, sample_weight
            As in `fit`.
        """
        first = not self.__sklearn_is_fitted__()
        if (self.window is None and self.horizon is None) if first else self._layout != "windows":
            _refuse("exogenous", exogenous, None, "a model with window and horizon")
            return super().partial_fit(X, y, sample_weight=sample_weight)
        if y is not None:
            raise DataError("y must be left out, since window and horizon cut the targets out of X")
        _refuse("sample_weight", sample_weight, None, "pairs of sequences")
        with all_or_nothing(self):
            self._check()
            return self._partial_fit(self._window_rows(X, exogenous, first), None, None)

    def _check(self) -> None:
        super()._check()
        self._check_windows()

    def _rows(self, X: Any, y: Any, *, reset: bool) -> Batch:
        if isinstance(X, Batch):  # windows, which `fit` has cut
            return X
        rows = self._pair_rows(X, y, reset)
        if reset and self.validation_metrics and not self._writes_texts:
            raise ParameterError(f"validation_metrics is for targets of texts, got {list(self.validation_metrics)}")
        return rows

    def _validation_rows(self, given: Any, with_target: bool) -> Batch:
        return given if isinstance(given, Batch) else super()._validation_rows(given, with_target)

    def _split(self, rows: Batch, seed: int) -> tuple[Batch, Batch | None]:
        return (rows, None) if self._layout == "windows" else super()._split(rows, seed)

    # ------------------------------------------------------------------ parts

    def _encoder_for(self, space: Space) -> Encoder:
        pool = "last" if self._layout == "windows" else None
        if self.encoder == "auto" and self._layout == "windows":
            return MLPEncoder((256, 128), activation="silu")
        if self.encoder in ("rnn", "auto"):
            width = 256 if self._reads_texts or self._writes_texts else 64
            return RNNEncoder(width, pool=pool, dropout=0.2 if pool is None else 0.0)
        if self.encoder == "transformer":
            return TransformerEncoder()
        encoder: Encoder = spec.resolve("encoder", self.encoder)
        if self._layout == "windows" and encoder.any_size and not encoder.sequences and self.window_ != self.horizon_:
            name = encoder.part_name()
            raise ParameterError(f"encoder must have no skips where window and horizon differ, got {name!r}")
        if not encoder.sequences and self._layout != "windows":
            raise ParameterError(f"encoder must read sequences, 'rnn' or 'transformer', got {encoder.part_name()!r}")
        return encoder

    def _loss_for(self, rows: Batch) -> Loss:
        if self.loss == "auto":
            return CrossEntropy(label_smoothing=0.1, per="position") if self._writes_texts else SquaredError()
        if self.loss == "gaussian_nll":
            return GaussianNLL("predicted")
        return super()._loss_for(rows)

    def _scaler_for(self, rows: Batch, loss: Loss) -> Scaler | None:
        return None if self._reads_texts else super()._scaler_for(rows, loss)

    def _space(self, rows: Batch) -> Space:
        if self._reads_texts:
            return Space((None,), classes=self.source_tokenizer_.vocabulary_size)
        told = 0 if rows.condition is None else rows.condition.shape[-1]
        return Space(tuple(rows.x.shape[1:]), condition=told)

    def _goal(self, rows: Batch, space: Space) -> Space:
        if self._writes_texts:
            return Space((None,), classes=self.target_tokenizer_.vocabulary_size)
        assert rows.y is not None
        return Space((self.horizon_ if self._layout == "windows" else None, rows.y.shape[-1]))

    def _targets_like_x(self, rows: Batch) -> bool:
        return False

    def _source(self, rows: Batch, seed: int) -> Resident:
        alike = self._layout == "windows"
        return (
            Resident(rows, self.batch_size, seed) if alike else Buckets(rows, self.batch_size, seed, self.batch_tokens)
        )

    def _held_source(self, held: Batch) -> Resident:
        return Resident(held, len(held.x), 0) if self._layout == "windows" else Buckets(held, len(held.x), 0)

    # ------------------------------------------------------------------ writing

    def predict(
        self,
        X: Any,
        beam_size: int = 1,
        n_best: int = 1,
        *,
        length_penalty: float = 1.0,
        max_length: int | None = None,
        lengths: Any = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float = 1.0,
        random_state: Any = 0,
        exogenous: Any = None,
    ) -> Any:
        """The target of each source; of a model with a horizon, the next steps of each series.

        Parameters
        ----------
        X : list of str, of series, or array
            Sources; or the history of one series or of several, at least ``window`` steps each.
        beam_size : int
            Of texts: 1 writes the likeliest piece at each step; more searches among so many sequences.
        n_best : int
            Of texts: more than 1 gives a list of so many a source, best first; at most ``beam_size``.
        length_penalty : float
            As in `isthmus.nn.decoding.beam_search`, from 0 to 10.
        max_length : int, optional
            Pieces of a text at most, or steps of a series; None: ``max_length_``.
        lengths : int or array of shape (n,), optional
            Steps of each series that is written. None: ``max_length``, or the source's where all sources and
            targets of training were of one length.
        temperature, top_k, top_p
            Of texts: with a temperature pieces are drawn, see `isthmus.nn.decoding.drawn`.
        random_state : int, RandomState or None
            Of the draws.
        exogenous : like X, optional
            The columns of `fit` over the history and the ``horizon`` steps after it, ``(T + horizon, E)``.

        Returns
        -------
        list of str, or of lists of str
            Of texts.
        array (n, T, D), or list of arrays (T, D)
            Of series; without D where targets were so given.
        array (horizon, D), series or frame
            A forecast, as the history was given: an index goes on by its frequency. Of several series a list, or
            one array where they were arrays.
        """
        self._fitted("predict")
        writing: dict[str, Any] = {"beam_size": beam_size, "n_best": n_best, "length_penalty": length_penalty}
        writing |= {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        if self._writes_texts:
            _refuse("lengths", lengths, None, "series")
            _refuse("exogenous", exogenous, None, "a model with window and horizon")
            return self._write_texts(self._sources(X), max_length, random_state, **writing)
        for name, value in writing.items():
            _refuse(name, value, DEFAULTS[name], "texts")
        if self._layout == "windows":
            _refuse("lengths", lengths, None, "pairs of series")
            _refuse("max_length", max_length, None, "pairs of sequences")
            return self._forecast(X, exogenous)
        _refuse("exogenous", exogenous, None, "a model with window and horizon")
        check_parameters("predict", {"max_length": max_length}, {"max_length": optional(integer(1))})
        return self._write_series(self._sources(X), lengths, max_length)

    # ------------------------------------------------------------------ scores and codes

    def score_samples(self, X: Any, y: Any = None, *, exogenous: Any = None) -> np.ndarray:
        """log p(target | source) of each pair in nats, ``(n,)``; minus the loss where it is no likelihood.

        Of texts the end is counted, and labels are not smoothed. Of numbers it is a density of the data as given.
        Of a model with a horizon X is a series, or several, and there is one number a window.
        """
        self._fitted("score_samples")
        if self._layout == "windows":
            if y is not None:
                raise DataError("y must be left out, since window and horizon cut the targets out of X")
            return self._window_scores(X, exogenous)
        _refuse("exogenous", exogenous, None, "a model with window and horizon")
        rows = self._pair_rows(X, y, reset=False)
        return self._text_scores(rows) if self._writes_texts else self._pair_scores(rows)

    def score(self, X: Any, y: Any = None, *, exogenous: Any = None) -> float:
        """The mean of `score_samples`."""
        return float(np.mean(self.score_samples(X, y, exogenous=exogenous)))

    def transform(self, X: Any, *, exogenous: Any = None) -> Any:
        """The code: ``(n, D)`` of a pooled encoder, else a list of one ``(T, D)`` a source.

        Of a model with a horizon, that of each series' last window.
        """
        self._fitted("transform")
        if self._layout == "windows":
            return self._window_codes(X, exogenous)
        _refuse("exogenous", exogenous, None, "a model with window and horizon")
        return self._codes(*self._sources(X))

    def attention(self, source: str, target: str | None = None) -> tuple[np.ndarray, list[str], list[str]]:
        """Where the decoder looked while it wrote: weights ``(pieces of the target, pieces of the source)``, and both.

        Parameters
        ----------
        source : str
        target : str, optional
            None: what the model writes.
        """
        self._fitted("attention")
        if self._layout != "rows":
            raise UnsupportedError("attention shows pieces of texts for texts, and this model was fitted to series")
        for name, text in (("source", source), ("target", target)):
            if not isinstance(text, str) and (name == "source" or text is not None):
                raise DataError(f"{name} must be one text, got {type(text).__name__}")
        self._decoder_that_attends()
        return self._attention(source, self.predict([source])[0] if target is None else target)

    def reconstruct(self, X: Any) -> Any:
        """Refused: a target is no reconstruction of its source."""
        raise UnsupportedError("reconstruct needs an autoencoder; Seq2Seq writes targets with predict(sources)")

    def inverse_transform(self, Z: Any, lengths: Any = None) -> Any:
        """Refused, as `reconstruct`."""
        raise UnsupportedError("inverse_transform needs an autoencoder; Seq2Seq writes targets with predict(sources)")

    def sample(self, n: int = 1, *, mean: bool = False, lengths: Any = None, random_state: Any = None) -> Any:
        """Refused, as `reconstruct`: a target has a source."""
        raise UnsupportedError(
            "sample needs an autoencoder; Seq2Seq draws texts with predict(sources, temperature=1.0, random_state=seed)"
        )

    def _read_targets(self, X: Any) -> Batch:
        """Refused: what scores X alone has no target here."""
        raise UnsupportedError(
            "elbo and log_likelihood need an autoencoder; score_samples(sources, targets) scores pairs"
        )


def _refuse(name: str, value: Any, default: Any, what: str) -> None:
    """Raise `DataError` for an argument that has no meaning for this model."""
    if value is not default and (value is None or np.ndim(value) > 0 or value != default):
        raise DataError(f"{name} is for {what}, and this model has none, got {value!r:.60}")
