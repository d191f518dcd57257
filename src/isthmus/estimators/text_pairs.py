"""Texts in, texts out: what `Seq2Seq` does with pairs of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.checks import check_parameters, integer, number, optional
from isthmus.errors import DataError, ParameterError, UnsupportedError
from isthmus.estimators.decoded import MOST, DecodedMetrics
from isthmus.estimators.pairs import Pairs, in_chunks
from isthmus.estimators.parameters import seed_of
from isthmus.estimators.sequences import made_tokenizer, padded_texts, without_unknown
from isthmus.nn.decoding import Written, beam_search, drawn, likeliest, write
from isthmus.nn.statistics import every
from isthmus.text import TextTokenizer, Tokenizer, texts_of
from isthmus.training.buckets import Buckets
from isthmus.training.callbacks import Callback
from isthmus.types import Batch, Latent

__all__ = ["TextPairs"]

WRITING = {
    "beam_size": integer(1),
    "n_best": integer(1),
    "length_penalty": number(0, 10),
    "max_length": optional(integer(1)),
    "temperature": optional(number(0, open_low=True)),
    "top_k": optional(integer(1)),
    "top_p": number(0, 1, open_low=True),
}


class TextPairs(Pairs):
    """Reads, writes and scores texts, as the classes of their pieces."""

    vocabulary_size: int | None
    lower: bool
    max_length: int | None
    validation_metrics: Sequence[str]
    max_length_: int
    source_tokenizer_: Any
    target_tokenizer_: Any

    def _text_sources(self, X: Any, reset: bool = False, name: str = "X") -> tuple[Tensor, Tensor]:
        """Their pieces as classes ``(n, T)``, at least one a text, and where they are."""
        texts, least = texts_of(X, name), 2 if reset else 1
        if len(texts) < least:
            some = "at least 2 texts" if reset else "at least one text"
            raise DataError(f"{name} must hold {some}, got {len(texts) or 'none'}")
        if reset:
            self.source_tokenizer_, self._sample_shape = self._tokenizer(texts, 0), (None,)
        return padded_texts(texts, self.source_tokenizer_, least=1)

    def _text_targets(self, y: Any, reset: bool) -> tuple[Tensor, Tensor]:
        texts = texts_of(y, "y")
        if reset:
            self.target_tokenizer_ = self._tokenizer(texts, 1)
        target, mask = padded_texts(texts, self.target_tokenizer_)
        if reset:
            self.max_length_ = self.max_length or int(mask.sum(1).max())
            if self.max_length_ == 0:
                raise DataError("y must not hold empty texts alone")
        return target, mask

    def _tokenizer(self, texts: list[str], side: int) -> Any:
        """The source's, side 0, or the target's, side 1, learnt from its texts."""
        given = self.tokenizer if isinstance(self.tokenizer, (tuple, list)) else (self.tokenizer, self.tokenizer)
        if len(given) != 2:
            raise ParameterError(f"tokenizer must be one or a pair, the source's and the target's, got {len(given)}")
        return made_tokenizer(given[side], texts, self.vocabulary_size, self.lower)

    def _write_texts(
        self,
        sources: tuple[Tensor, Tensor | None],
        max_length: int | None = None,
        random_state: Any = 0,
        beam_size: int = 1,
        n_best: int = 1,
        length_penalty: float = 1.0,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float = 1.0,
        scaled: bool = False,
    ) -> list[Any]:
        """The arguments are those of `Seq2Seq.predict`, but for sources as they were read, or scaled already."""
        values = {"beam_size": beam_size, "n_best": n_best, "length_penalty": length_penalty, "max_length": max_length}
        values |= {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        check_parameters("predict", values, WRITING)
        if n_best > beam_size:
            raise ParameterError(f"n_best must be at most beam_size, {beam_size}, got {n_best}")
        if temperature is None and (top_k is not None or top_p != 1.0):
            raise ParameterError(f"temperature must be given with top_k={top_k} and top_p={top_p}, which cut its draws")
        if temperature is not None and beam_size > 1:
            raise ParameterError(f"beam_size must be 1 where temperature is given, got {beam_size}")
        choose: Callable[[Tensor], Tensor] = likeliest
        if temperature is not None:
            choose = drawn(torch.Generator().manual_seed(seed_of(random_state)), temperature, top_k, top_p)
        longest, end = max_length or self.max_length_, self.target_tokenizer_.vocabulary_size

        def written(latent: Latent, _: Tensor) -> list[list[Written]]:
            decoder, n = self.module_.decoder, len(latent.z)
            state, step = decoder.start(latent), without_unknown(decoder.step)  # type: ignore[operator]
            if beam_size == 1:
                return [[one] for one in write(step, state, n, end + 1, end, longest, choose)]
            return beam_search(step, state, n, end + 1, end, longest, beam_size, length_penalty, n_best)

        found = self._over_sources(*sources, written, scaled)
        texts: list[Any] = self.target_tokenizer_.decode([one.classes for row in found for one in row])
        if n_best == 1:
            return texts
        ends = np.cumsum([len(row) for row in found]).tolist()
        return [texts[end - len(row) : end] for row, end in zip(found, ends, strict=True)]

    def _decoded_metrics(self) -> Sequence[str]:
        return self.validation_metrics

    def _validators(self, held: Batch | None) -> list[Callback]:
        """Of texts, the metrics of what the model writes for held-out sources."""
        if held is None or held.y is None or not self.validation_metrics or self.module_.target.classes is None:
            return []
        index = torch.from_numpy(every(len(held.x), MOST)).to(held.x.device)
        tokenizer = self.target_tokenizer_
        x, y, x_mask, y_mask, *_ = held.map(lambda field: field[index].cpu())
        references = tokenizer.decode([ids[mask].tolist() for ids, mask in zip(y, y_mask, strict=True)])  # type: ignore[arg-type]
        write_all = partial(self._write_texts, (x, x_mask), scaled=True)
        return [DecodedMetrics(write_all, references, tokenizer.encode, self.validation_metrics)]

    def _text_scores(self, rows: Batch) -> np.ndarray:
        """log p(target | source) of each pair, nats, its end counted; without label smoothing."""
        model = self.module_.eval()
        source, results = Buckets(rows, len(rows.x), 0), torch.zeros(len(rows.x), dtype=torch.float64)
        with torch.no_grad():
            for index in in_chunks(source):
                batch = source.take(index).map(lambda field: field.to(model.device))
                trace = model(batch, corrupt=False, noise=torch.zeros_like)
                lost = F.cross_entropy(trace.output.flatten(0, 1), trace.target.flatten(), reduction="none")
                counted = torch.where(trace.mask, lost.view_as(trace.target), 0.0)  # type: ignore[arg-type]
                results[index] = -counted.double().sum(1).cpu()
        return results.numpy()

    def _attention(self, source: str, target: str) -> tuple[np.ndarray, list[str], list[str]]:
        """The weights of `Seq2Seq.attention`, and the pieces of both."""
        model = self.module_
        x, x_mask = padded_texts([source], self.source_tokenizer_, least=1)
        y, y_mask = padded_texts([target], self.target_tokenizer_)
        with torch.no_grad():
            batch = Batch(x, y, x_mask, y_mask).map(lambda field: field.to(model.device))
            latent = model.encode(batch, noise=torch.zeros_like)[2]
            _, _, teacher = model._goal(batch, 1, scaled=False)
            weights = model.decoder.attention_weights(latent, teacher)[0]  # type: ignore[operator]
        pieces = [
            _pieces(tokenizer, row[mask].tolist())
            for tokenizer, row, mask in (
                (self.target_tokenizer_, y[0], y_mask[0]),
                (self.source_tokenizer_, x[0], x_mask[0]),
            )
        ]
        return weights.float().cpu().numpy(), [*pieces[0], "end"], pieces[1]

    def _decoder_that_attends(self) -> None:
        decoder = self.module_.decoder
        if not hasattr(decoder, "attention_weights"):
            raise UnsupportedError(f"attention needs an RNNDecoder with attention, got {type(decoder).__name__}")


def _pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    if isinstance(tokenizer, TextTokenizer):
        return tokenizer.symbols(ids)
    return tokenizer.decode([[number] for number in ids])
