"""Series in, series out: real numbers written step by step, or all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import adapters, spec
from isthmus.decoders import TransformerDecoder
from isthmus.errors import DataError, ParameterError
from isthmus.estimators.pairs import Pairs, in_chunks, steps_of
from isthmus.estimators.sequences import cut, lengths_of, series
from isthmus.model import EncoderDecoder
from isthmus.nn.decoding import unrolled
from isthmus.part import Decoder, Encoder, Scaler, built
from isthmus.training.buckets import Buckets
from isthmus.types import Batch, Latent, Space

__all__ = ["SeriesPairs", "outputs_of"]


class SeriesPairs(Pairs):
    """Reads, writes and scores series; targets have a scaler of their own, since their units are."""

    max_length: int | None
    max_length_: int
    target_scaler_: Scaler
    target_shape_: tuple[int | None, ...]
    same_length_: bool

    def _series_sources(self, X: Any, reset: bool = False, name: str = "X") -> tuple[Tensor, Tensor | None]:
        """As numbers ``(n, T, D)``, padded at the end, with a mask where lengths differ."""
        if reset:
            refuse_numbers(X, name)
        return self._read_series(X, reset, name)

    def _series_targets(self, y: Any, reset: bool) -> tuple[Tensor, Tensor | None]:
        refuse_numbers(y, "y")
        array, mask, flat = series(y, "y")
        target = adapters.to_tensor(array if array.dtype.kind == "f" else array.astype(np.float64))
        y_mask = None if mask is None else torch.from_numpy(mask)
        shape = (None,) if flat else (None, array.shape[-1])
        if reset:
            self.target_shape_ = shape
            self.max_length_ = self.max_length or int(steps_of(target, y_mask).max())
        elif shape != self.target_shape_:
            wanted, got = (str(one).replace("None", "T") for one in (self.target_shape_, shape))
            raise DataError(f"y must hold series of shape {wanted}, got {got}")
        return target, y_mask

    # ------------------------------------------------------------------ the parts of numbers

    def _decoder_for(self, encoder: Encoder) -> Decoder:
        """A Transformer that mirrors one of positions writes step by step: the source's length is not the target's."""
        decoder = super()._decoder_for(encoder)
        positions = getattr(encoder, "pool", "last") is None
        pairs = self._layout != "windows" and not self._writes_texts
        if pairs and self.decoder is None and isinstance(decoder, TransformerDecoder) and positions:
            decoder.autoregressive = True
        return decoder

    def _build(self, rows: Batch) -> Batch:
        if self._writes_texts:
            return super()._build(rows)
        name = "unit" if self.scale is None else self.scale
        if name == "auto" and self._loss_for(rows).bounds is not None:
            name = "unit"
        assert rows.y is not None
        self.target_scaler_ = spec.resolve("scaler", name, "scale").build(Space((None, rows.y.shape[-1])))
        self.target_scaler_.fit(rows.y, rows.y_mask, rows.weight)
        scaled = super()._build(rows)
        decoder, one_by_one = self.module_.decoder, len(built(self.module_.bottleneck).shape) > 1
        if self._layout != "windows" and one_by_one and not decoder.stepwise and not self.same_length_:
            raise ParameterError(
                "decoder must have autoregressive=True, or the encoder a pool, where targets are not as long as their "
                f"sources, got {type(decoder).__name__}(autoregressive=False) of a code a position"
            )
        return scaled

    def _scaled(self, rows: Batch, name: str = "X") -> Batch:
        if not self._writes_texts and rows.y is not None:
            rows = rows._replace(y=self._scaled_target(rows.y, rows.y_mask))
        return super()._scaled(rows, name)

    def _scaled_target(self, y: Tensor, mask: Tensor | None) -> Tensor:
        """In the network's units; padding is 0."""
        scaled = self.target_scaler_(y, mask)[0].to(self.module_.dtype)
        return scaled if mask is None else scaled.masked_fill(~mask.unsqueeze(-1), 0.0)

    # ------------------------------------------------------------------ saving

    def _learnt(self) -> dict[str, Any]:
        """A scaler as the part, its width and its numbers."""
        learnt = super()._learnt()
        for name, value in learnt.items():
            if isinstance(value, Scaler):
                learnt[name] = (value, built(value).shape[-1], dict(value.state_dict()))
        return learnt

    def _restore(self, learnt: dict[str, Any]) -> None:
        scalers = {name: learnt[name] for name in learnt if name.endswith("scaler_") and learnt[name] is not None}
        for name, (scaler, width, state) in scalers.items():
            scaler.build(Space((None, width))).load_state_dict(state)
            learnt = {**learnt, name: scaler}
        super()._restore(learnt)

    # ------------------------------------------------------------------ writing

    def _write_series(self, sources: tuple[Tensor, Tensor | None], lengths: Any, max_length: int | None) -> Any:
        """The target of each source; ``lengths`` None: the source's, where all were alike in training."""
        x, x_mask = sources
        if lengths is not None and max_length is not None:
            raise ParameterError(f"max_length must be None where lengths is given, got {max_length}")
        if lengths is None and max_length is None and self.same_length_:
            lengths = steps_of(x, x_mask).numpy()
        elif lengths is None:
            lengths = max_length or self.max_length_
        mask, width = lengths_of(lengths, len(x), self.max_length_), self.target_shape_[-1] or 1
        n_steps = mask.sum(1)

        def written(latent: Latent, index: Tensor) -> list[Tensor]:
            longest = int(n_steps[index].max())
            output = outputs_of(self.module_, latent, longest, width, mask[index, :longest].to(latent.z.device))
            return list(self.target_scaler_.inverse(self.module_.loss.mean(output).cpu()))

        found = self._over_sources(x, x_mask, written)
        values = torch.zeros(len(x), mask.shape[1], width, dtype=found[0].dtype)
        for row, one in zip(values, found, strict=True):
            row[: len(one)] = one
        values = values if x.dtype != torch.float32 else values.float()
        return cut(values, None if mask.all() else mask, flat=len(self.target_shape_) == 1)

    def _pair_scores(self, rows: Batch) -> np.ndarray:
        """log p(target | source), nats, a density of the data as given; minus the loss where it is no likelihood."""
        model, results = self.module_.eval(), torch.zeros(len(rows.x), dtype=torch.float64)
        source = Buckets(rows, len(rows.x), 0)
        with torch.no_grad():
            for index in in_chunks(source):
                batch = source.take(index)
                assert batch.y is not None
                scaled = batch._replace(y=self._scaled_target(batch.y, batch.y_mask))
                trace = model(scaled.map(lambda field: field.to(model.device)), corrupt=False, noise=torch.zeros_like)
                score = -model.loss(trace.output, trace.target, trace.mask).double().cpu()
                if model.loss.is_likelihood:
                    score += self.target_scaler_.log_volume(batch.y, batch.y_mask)
                results[index] = score
        return results.numpy()


def refuse_numbers(data: Any, name: str) -> None:
    """Raise `DataError` where a number stands for each sequence."""
    frame = hasattr(data, "columns")  # which goes through their names
    if not frame and hasattr(data, "__iter__") and isinstance(next(iter(data), None), (int, float, np.number)):
        raise DataError(
            f"{name} must hold a text or a series a source, got numbers: np.reshape({name}, (-1, 1)) are one step "
            f"each, list(map(str, {name})) texts"
        )


def outputs_of(
    model: EncoderDecoder,
    latent: Latent,
    n_steps: int,
    width: int,
    mask: Tensor | None = None,
    choose: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The decoder's outputs ``(B, n_steps, …)``, written freely.

    Parameters
    ----------
    model : EncoderDecoder
    latent : Latent
    n_steps, width : int
        Of the target.
    mask : Tensor of shape (B, n_steps), optional
        Where a target of free length, written all at once, has steps.
    choose : callable, optional
        From an output to what a stepwise decoder reads next; None: its mean.
    """
    decoder = model.decoder
    if decoder.stepwise:
        first = latent.z.new_zeros(len(latent.z), width)
        return unrolled(decoder.step, decoder.start(latent), first, n_steps, choose or model.loss.mean)  # type: ignore[operator, arg-type]
    if mask is not None and latent.z.dim() == 2:
        latent = latent._replace(bypass=latent.bypass._replace(mask=mask))
    return model.decode(latent)[:, :n_steps]
