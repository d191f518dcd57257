"""Sequence to sequence: texts in, texts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus import adapters, spec
from isthmus.checks import Check, check_parameters, choice, either, instance, integer, number, optional
from isthmus.encoders import RNNEncoder, TransformerEncoder
from isthmus.errors import DataError, ParameterError, UnsupportedError
from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.estimators.parameters import seed_of
from isthmus.estimators.sequences import made_tokenizer, padded_texts, without_unknown
from isthmus.losses import CrossEntropy
from isthmus.nn.decoding import Written, beam_search, drawn, likeliest, write
from isthmus.part import Encoder, Loss, Scaler
from isthmus.text import TOKENIZERS, TextTokenizer, Tokenizer, texts_of
from isthmus.training.buckets import Buckets
from isthmus.training.resident import Resident
from isthmus.types import Batch, Latent, Space

__all__ = ["Seq2Seq"]

AT_ONCE = 2**14
"""Source positions of a chunk in prediction, padding counted."""


@dataclass(eq=False, repr=False)
class Seq2Seq(EncoderDecoderEstimator):
    """Learns from pairs of texts to write the second, given the first: translation, transcription, pronunciation.

    The encoder gives one vector a piece of the source, the decoder attends to them and writes the target piece
    by piece (Bahdanau et al. 2015; Vaswani et al. 2017). With ``encoder=RNNEncoder(pool="last")`` it reads one
    vector for all of the source (Sutskever et al. 2014).

    An empty source is read as one unknown piece. What was not seen in training is one unknown piece, too, and
    is never written.

    Parameters
    ----------
    encoder : str or Encoder
        "rnn" is ``RNNEncoder(256, pool=None, dropout=0.2)`` with attention, "transformer" is
        ``TransformerEncoder()``.
    tokenizer : {"bpe", "word", "char"} or Tokenizer
        Of both sides, or a pair of them, the source's and the target's: see `isthmus.text.TextTokenizer`.
    vocabulary_size : int, optional
        At most so many pieces a side; None: 8,000 byte pairs, all words and characters.
    lower : bool
        Texts in small letters.
    loss : "auto", str or Loss
        "auto" is ``CrossEntropy(label_smoothing=0.1, per="position")``: nats a piece, its end counted.
    batch_tokens : int, optional
        Positions of a batch, in place of ``batch_size`` sentences.
    max_length : int, optional
        Pieces that are written at most; None: as many as the longest target of training has.

    Attributes
    ----------
    source_tokenizer_, target_tokenizer_ : Tokenizer
    max_length_ : int

    Examples
    --------
    >>> from isthmus import Seq2Seq
    >>> words = ["ab", "ba", "abb", "bab"] * 20
    >>> turned = [word[::-1] for word in words]
    >>> model = Seq2Seq(encoder="rnn", tokenizer="char", max_epochs=2, random_state=0).fit(words, turned)
    >>> len(model.predict(["ab", "bba"]))
    2
    """

    encoder: Any = "rnn"
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

    allowed: ClassVar[dict[str, Check]] = EncoderDecoderEstimator.allowed | {
        "loss": either(choice(["auto"]), EncoderDecoderEstimator.allowed["loss"]),
        "tokenizer": either(choice(TOKENIZERS), instance((Tokenizer, tuple, list), "a tokenizer, or a pair of them")),
        "vocabulary_size": optional(integer(2)),
        "lower": instance(bool, "True or False"),
        "batch_tokens": optional(integer(1)),
        "max_length": optional(integer(1)),
    }
    takes_target: ClassVar[bool] = True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = tags.input_tags.three_d_array = tags.input_tags.sparse = False
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags

    # ------------------------------------------------------------------ texts

    def _rows(self, X: Any, y: Any, *, reset: bool) -> Batch:
        """Both sides as classes ``(n, T)``, padded at the end, with masks."""
        if y is None:
            raise DataError("y must be the target texts, one a source: fit(sources, targets)")
        sources, targets = texts_of(adapters.read(X, "X"), "X"), texts_of(adapters.read(y, "y"), "y")
        if len(sources) != len(targets):
            raise DataError(f"y must have a text for each of the {len(sources)} of X, got {len(targets)}")
        if reset:
            if len(sources) < 2:
                raise DataError(f"X must hold at least 2 texts, got {len(sources)}")
            self.source_tokenizer_, self.target_tokenizer_ = self._tokenizers(sources, targets)
            self._sample_shape = (None,)
        x, x_mask = padded_texts(sources, self.source_tokenizer_, least=1)
        target, y_mask = padded_texts(targets, self.target_tokenizer_)
        if reset:
            self.max_length_ = self.max_length or int(y_mask.sum(1).max())
            if self.max_length_ == 0:
                raise DataError("y must not hold empty texts alone")
        return Batch(x, target, x_mask, y_mask)

    def _tokenizers(self, sources: list[str], targets: list[str]) -> tuple[Any, Any]:
        given = self.tokenizer if isinstance(self.tokenizer, (tuple, list)) else (self.tokenizer, self.tokenizer)
        if len(given) != 2:
            raise ParameterError(f"tokenizer must be one or a pair, the source's and the target's, got {len(given)}")

        source, target = (
            made_tokenizer(tokenizer, texts, self.vocabulary_size, self.lower)
            for tokenizer, texts in zip(given, (sources, targets), strict=True)
        )
        return source, target

    def _sources(self, X: Any, name: str = "X") -> tuple[Tensor, Tensor]:
        texts = texts_of(adapters.read(X, name), name)
        if not texts:
            raise DataError(f"{name} must hold at least one text, got none")
        return padded_texts(texts, self.source_tokenizer_, least=1)

    # ------------------------------------------------------------------ parts

    def _encoder_for(self, space: Space) -> Encoder:
        if self.encoder in ("rnn", "auto"):
            return RNNEncoder(256, pool=None, dropout=0.2)
        if self.encoder == "transformer":
            return TransformerEncoder()
        encoder: Encoder = spec.resolve("encoder", self.encoder)
        if not encoder.sequences:
            raise ParameterError(f"encoder must read sequences, 'rnn' or 'transformer', got {encoder.part_name()!r}")
        return encoder

    def _loss_for(self, rows: Batch) -> Loss:
        return CrossEntropy(label_smoothing=0.1, per="position") if self.loss == "auto" else super()._loss_for(rows)

    def _scaler_for(self, rows: Batch, loss: Loss) -> Scaler | None:
        return None

    def _space(self, rows: Batch) -> Space:
        return Space((None,), classes=self.source_tokenizer_.vocabulary_size)

    def _goal(self, rows: Batch, space: Space) -> Space:
        return Space((None,), classes=self.target_tokenizer_.vocabulary_size)

    def _targets_like_x(self, rows: Batch) -> bool:
        return False

    def _source(self, rows: Batch, seed: int) -> Resident:
        return Buckets(rows, self.batch_size, seed, self.batch_tokens)

    def _held_source(self, held: Batch) -> Resident:
        return Buckets(held, len(held.x), 0)

    # ------------------------------------------------------------------ writing

    def predict(
        self,
        X: Any,
        beam_size: int = 1,
        n_best: int = 1,
        *,
        length_penalty: float = 1.0,
        max_length: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float = 1.0,
        random_state: Any = 0,
    ) -> list[Any]:
        """The target of each source, as plain text.

        Parameters
        ----------
        X : list of str
        beam_size : int
            1 writes the likeliest piece at each step; more searches among so many sequences.
        n_best : int
            More than 1 gives a list of so many texts a source, best first; at most ``beam_size``.
        length_penalty : float
            As in `isthmus.nn.decoding.beam_search`.
        max_length : int, optional
            Pieces at most; None: ``max_length_``.
        temperature, top_k, top_p
            With a temperature pieces are drawn: see `isthmus.nn.decoding.drawn`.
        random_state : int, RandomState or None
            Of the draws.

        Returns
        -------
        list of str, or of lists of str
        """
        self._fitted("predict")
        allowed = {
            "beam_size": integer(1),
            "n_best": integer(1),
            "length_penalty": number(0),
            "max_length": optional(integer(1)),
            "temperature": optional(number(0, open_low=True)),
            "top_k": optional(integer(1)),
            "top_p": number(0, 1, open_low=True),
        }
        values = {"beam_size": beam_size, "n_best": n_best, "length_penalty": length_penalty, "max_length": max_length}
        values |= {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        check_parameters("predict", values, allowed)
        if n_best > beam_size:
            raise ParameterError(f"n_best must be at most beam_size, {beam_size}, got {n_best}")
        if temperature is not None and beam_size > 1:
            raise ParameterError(f"beam_size must be 1 where temperature is given, got {beam_size}")
        choose: Callable[[Tensor], Tensor] = likeliest
        if temperature is not None:
            choose = drawn(torch.Generator().manual_seed(seed_of(random_state)), temperature, top_k, top_p)
        longest = max_length or self.max_length_

        def written(latent: Latent) -> list[list[Written]]:
            decoder, n = self.module_.decoder, len(latent.z)
            end = self.target_tokenizer_.vocabulary_size
            state = decoder.start(latent)  # type: ignore[operator]
            step = without_unknown(decoder.step)
            if beam_size == 1:
                return [[one] for one in write(step, state, n, end + 1, end, longest, choose)]
            return beam_search(step, state, n, end + 1, end, longest, beam_size, length_penalty, n_best)

        found = self._over_sources(*self._sources(X), written)
        texts = self.target_tokenizer_.decode([one.classes for row in found for one in row])
        if n_best == 1:
            return texts
        ends = np.cumsum([len(row) for row in found]).tolist()
        return [texts[end - len(row) : end] for row, end in zip(found, ends, strict=True)]

    @torch.no_grad()
    def _over_sources(self, x: Tensor, mask: Tensor, function: Callable[[Latent], list[Any]]) -> list[Any]:
        """The function on the latents of the sources, those of like length together, in the order given."""
        model, results = self.module_.eval(), [None] * len(x)
        rows = Buckets(Batch(x, x_mask=mask), len(x), 0)
        for index in rows.lengths.sum(1).argsort(stable=True).split(max(1, AT_ONCE // x.shape[1])):
            batch = rows.take(index).map(lambda field: field.to(model.device))
            latent = model.encode(batch, noise=torch.zeros_like)[2]
            for place, result in zip(index.tolist(), function(latent), strict=True):
                results[place] = result
        return results

    # ------------------------------------------------------------------ scores

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:
        """log p(target | source) of each pair, nats, its end counted, ``(n,)``; without label smoothing."""
        model = self._fitted("score_samples").eval()
        rows = self._rows(X, y, reset=False)
        source, results = Buckets(rows, len(rows.x), 0), torch.zeros(len(rows.x), dtype=torch.float64)
        with torch.no_grad():
            for index in source.lengths.sum(1).argsort(stable=True).split(max(1, AT_ONCE // rows.x.shape[1])):
                batch = source.take(index).map(lambda field: field.to(model.device))
                trace = model(batch, corrupt=False, noise=torch.zeros_like)
                lost = F.cross_entropy(trace.output.flatten(0, 1), trace.target.flatten(), reduction="none")
                counted = torch.where(trace.mask, lost.view_as(trace.target), 0.0)  # type: ignore[arg-type]
                results[index] = -counted.double().sum(1).cpu()
        return results.numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`."""
        return float(np.mean(self.score_samples(X, y)))

    def transform(self, X: Any) -> Any:
        """The code: ``(n, D)`` of a pooled encoder, else a list of one ``(T, D)`` a source."""
        self._fitted("transform")
        x, mask = self._sources(X)
        codes = self._over_sources(x, mask, lambda latent: list(latent.z.float().cpu().numpy()))
        if codes[0].ndim == 1:
            return np.stack(codes)
        return [code[: int(length)] for code, length in zip(codes, mask.sum(1), strict=True)]

    def attention(self, source: str, target: str | None = None) -> tuple[np.ndarray, list[str], list[str]]:
        """Where the decoder looked while it wrote: weights ``(pieces of the target, pieces of the source)``, and both.

        Parameters
        ----------
        source : str
        target : str, optional
            None: what the model writes.
        """
        model = self._fitted("attention")
        decoder = model.decoder
        if not hasattr(decoder, "attention_weights"):
            raise UnsupportedError(f"attention needs an RNNDecoder with attention, got {type(decoder).__name__}")
        if target is None:
            (target,) = self.predict([source])
        x, x_mask = self._sources([source], "source")
        y, y_mask = padded_texts(texts_of([target], "target"), self.target_tokenizer_)
        with torch.no_grad():
            batch = Batch(x, y, x_mask, y_mask).map(lambda field: field.to(model.device))
            latent = model.encode(batch, noise=torch.zeros_like)[2]
            _, _, teacher = model._goal(batch, 1, scaled=False)
            weights = decoder.attention_weights(latent, teacher)[0]  # type: ignore[operator]
        pieces = [
            self._pieces(tokenizer, row[mask].tolist())
            for tokenizer, row, mask in (
                (self.target_tokenizer_, y[0], y_mask[0]),
                (self.source_tokenizer_, x[0], x_mask[0]),
            )
        ]
        return weights.float().cpu().numpy(), [*pieces[0], "end"], pieces[1]

    @staticmethod
    def _pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
        if isinstance(tokenizer, TextTokenizer):
            return tokenizer.symbols(ids)
        return tokenizer.decode([[number] for number in ids])

    def reconstruct(self, X: Any) -> Any:
        """Refused: a target is no reconstruction of its source."""
        raise UnsupportedError("reconstruct needs an autoencoder; Seq2Seq writes targets with predict(sources)")

    def inverse_transform(self, Z: Any, lengths: Any = None) -> Any:
        """Refused, as `reconstruct`."""
        raise UnsupportedError("inverse_transform needs an autoencoder; Seq2Seq writes targets with predict(sources)")
