"""What a trained line can do: encode, decode, reconstruct, score, sample. Rows go through in chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import TransformerMixin
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from torch import Tensor

from isthmus.errors import DataError, IsthmusError, ParameterError, UnsupportedError
from isthmus.estimators.inputs import Inputs, check_finite, check_targets, each_size, fits, one_array
from isthmus.estimators.parameters import seed_of
from isthmus.estimators.sequences import lengths_of, without_unknown
from isthmus.model import EncoderDecoder
from isthmus.nn.decoding import unrolled, write
from isthmus.objective import Objective, log_weights
from isthmus.training.rng import isolated_rng, seeded_noise, shared_noise
from isthmus.types import Batch, Bypass, Latent, Noise

__all__ = ["Inference", "NotFittedError", "require_fitted"]

CHUNK = 2048
SCORE_DRAWS = 16
"""Of noise, shared by all rows of `score_samples`."""
POSITIONS = 2**17
"""Of pictures in a chunk; a convolution of 32 channels makes 16 MB of them."""
PAD = 32
"""Rows of a chunk are padded to a multiple of 32: otherwise float32 products depend on the batch.

Pictures of more than 2¹² positions, 64 × 64, are not: of them a chunk holds fewer than 32 rows.
"""


class NotFittedError(IsthmusError, SklearnNotFittedError):
    """The estimator has not been fitted yet."""


def require_fitted(estimator: Any, method: str) -> None:
    """Raise `NotFittedError` where `fit` has not run."""
    if not estimator.__sklearn_is_fitted__():
        name = type(estimator).__name__
        raise NotFittedError(f"This {name} instance is not fitted yet: call fit(X) before {method}")


class Inference(Inputs, TransformerMixin):  # type: ignore[misc]
    """Methods of a fitted estimator; none of them changes it."""

    module_: EncoderDecoder
    objective_: Objective
    history_: list[dict[str, float]]
    n_iter_: int
    _seed: Callable[[], int]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    def _fitted(self, method: str) -> EncoderDecoder:
        require_fitted(self, method)
        return self.module_

    # ------------------------------------------------------------------ code and reconstruction

    @each_size
    def transform(self, X: Any) -> Any:
        """The code of each row: ``(n, latent_dim)``, the posterior's mean where there is one, float32.

        Where an encoder of sequences gives a code a position, and lengths differ, a list of ``(T, latent_dim)``.
        """
        self._fitted("transform")
        rows = self._read(X)
        codes = self._encode_rows(rows).float().numpy()
        self._refuse_output(codes.shape)
        if self._layout != "rows" and codes.ndim > 2 and rows.x_mask is not None:
            return [code[:length] for code, length in zip(codes, rows.x_mask.sum(1).tolist(), strict=True)]
        return codes

    def _refuse_output(self, shape: Sequence[int]) -> None:
        """Raise `UnsupportedError` where codes that are no vectors shall be a frame."""
        wanted = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        if len(shape) > 2 and wanted != "default":
            raise UnsupportedError(f"set_output needs codes that are vectors, got shape {tuple(shape)}")

    def inverse_transform(self, Z: Any, lengths: Any = None) -> Any:
        """The prediction for each code, in the user's units and layout.

        Parameters
        ----------
        Z : array of shape (n, latent_dim)
        lengths : int or array of shape (n,), optional
            Of series, and of texts in pieces; None: as long as the longest of training, and texts until they end.

        Raises
        ------
        UnsupportedError
            For a model whose skips go round the code.
        """
        model = self._fitted("inverse_transform")
        self._refuse_skips("inverse_transform")
        codes = one_array(Z, "Z")
        wanted = model.bottleneck.out.shape  # type: ignore[union-attr]
        if codes.dtype.kind not in "fiub" or not fits(codes.shape[1:], wanted):
            raise DataError(f"Z must be numbers of shape (n, {', '.join(map(str, wanted))}), got {codes.shape}")
        if len(codes) == 0:
            raise DataError(f"Z must hold at least one code, got shape {codes.shape}")
        if not np.isfinite(codes).all():
            raise DataError("Z must be finite, got NaN or infinity")
        self._check_lengths(lengths)
        z = torch.from_numpy(np.array(codes, dtype=np.float64)).to(model.dtype)
        check_finite(z, "Z")
        return self._decoded(z, lengths)

    def _check_lengths(self, lengths: Any) -> None:
        if lengths is not None and self._layout == "rows":
            raise DataError(f"lengths are for series and texts, and this model has neither, got {lengths!r:.60}")

    def _decoded(self, z: Tensor, lengths: Any = None) -> Any:
        """Codes to rows as the user gave theirs."""
        mask = None if self._layout == "rows" else lengths_of(lengths, len(z), self._longest)
        if self._layout == "texts":
            return self._texts(Batch(z, x_mask=None if lengths is None else mask), lambda rows: Latent(rows.x))
        return self._frame(self._user_units(self._decode_rows(Batch(z, x_mask=mask)), mask))

    @each_size
    def reconstruct(self, X: Any) -> Any:
        """What the model makes of X, uncorrupted, at the posterior's mean: X's shape and units.

        Each series, and each text in pieces, has the length it was given with.
        """
        model = self._fitted("reconstruct")
        rows = self._read(X)
        if self._layout == "texts":
            return self._texts(rows, lambda batch: model.encode(batch, noise=torch.zeros_like)[2])
        result = self._mapped(self._predict_rows, rows)
        result = result if rows.x.dtype == torch.float64 else result.float()
        return self._frame(self._user_units(result, rows.x_mask))

    def _predict_rows(self, rows: Batch) -> Tensor:
        """The prediction for one batch, at the posterior's mean."""
        model, decoder = self.module_, self.module_.decoder
        if not decoder.stepwise:
            return model.prediction(model(rows, corrupt=False, noise=torch.zeros_like).output)
        state = decoder.start(model.encode(rows, noise=torch.zeros_like)[2])  # type: ignore[operator]
        first = rows.x.new_zeros(rows.x.shape[0], rows.x.shape[-1], dtype=model.dtype)
        output = unrolled(decoder.step, state, first, rows.x.shape[1], model.loss.mean)  # type: ignore[arg-type]
        return model.prediction(output)

    @torch.no_grad()
    def _texts(self, rows: Batch, latent_of: Callable[[Batch], Latent]) -> list[str]:
        """The text of each row's latent, as long as its mask where it has one, else until it ends."""
        classes: list[list[int]] = [[]] * len(rows.x)
        decoder, end = self.module_.decoder, self.tokenizer_.vocabulary_size
        for batch, index in self._chunks(rows):
            latent, lengths = latent_of(batch), None if batch.x_mask is None else batch.x_mask.sum(1).cpu()
            step, state = without_unknown(decoder.step), decoder.start(latent)  # type: ignore[operator]
            found = write(step, state, len(batch.x), end + 1, end, self._longest, lengths=lengths)
            for place, written in zip(index.tolist(), found, strict=False):  # without the rows that fill the chunk
                classes[place] = written.classes
        return self.tokenizer_.decode(classes)  # type: ignore[no-any-return]

    # ------------------------------------------------------------------ scores

    @each_size
    def score_samples(self, X: Any) -> np.ndarray:
        """Per row, higher is better, ``(n,)``: the ELBO in nats where the model has one, else −loss.

        The ELBO's expectation is over 16 draws of noise that serve all rows, as in ``elbo(X, 16)``, so that
        a row's score does not depend on its neighbours.
        """
        self._fitted("score_samples")
        return self._over_rows(self._read_targets(X), self._score_rows, SCORE_DRAWS)

    def _read(self, data: Any, *, reset: bool = False, name: str = "X") -> Batch:
        """As that of `Inputs`; what scales to infinity is refused."""
        rows, model = super()._read(data, reset=reset, name=name), self.module_
        if model.space.classes is None:
            x = rows.x
            ends = torch.stack([x.amin(0), x.amax(0)])  # of each number of a row: scalers keep order; aminmax is slow
            check_finite(model.scale(ends.to(model.device))[0], name)
        return rows

    def _read_targets(self, X: Any) -> Batch:
        """X, refused where the loss allows no such target."""
        rows, model = self._read(X), self.module_
        if model.loss.bounds is not None:
            for x in rows.x.split(max(1, 2**20 // rows.x[0].numel())):
                check_targets(model, Batch(model.scale(x.to(model.device))[0]))
        return rows

    def _score_rows(self, rows: Batch) -> Tensor:
        """The score of one batch, differentiable in x."""
        model = self.module_
        if model.loss.is_likelihood and hasattr(model.bottleneck, "posterior"):
            return self._elbo_rows(rows, SCORE_DRAWS, shared_noise(0, SCORE_DRAWS)) + self._log_volume(rows)
        return -self._loss_of(rows)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`."""
        return float(np.mean(self.score_samples(X)))

    def elbo(self, X: Any, n_samples: int = 1, random_state: Any = 0) -> np.ndarray:
        """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)) per row, nats, ``(n,)``; always β = 1, no free bits.

        The expectation is over ``n_samples`` draws, the same for every row and matched to the normal
        distribution's mean and variance. What error is left does not average out over rows: on the digits
        one draw puts the mean over rows wrong by 0.3 to 0.5 nats, 16 by 0.1. The KL is in closed form
        where the bottleneck has one. A density of the data as given: −Σ log σ of the scaler is in it.

        Raises
        ------
        UnsupportedError
            Where the loss is no likelihood or the bottleneck has no posterior.
        """
        self._fitted("elbo")
        _check_samples(n_samples)
        seed = seed_of(random_state)

        def of(rows: Batch) -> Tensor:
            return self._elbo_rows(rows, n_samples, shared_noise(seed, n_samples)) + self._log_volume(rows)

        return self._over_rows(self._read_targets(X), of, n_samples)

    def _elbo_rows(self, rows: Batch, n_samples: int, noise: Noise) -> Tensor:
        """The ELBO of one batch as a density of the scaled data."""
        model = self.module_
        trace = model(rows, n_samples, False, noise)
        log_w = log_weights(trace, model)
        if trace.latent.kl is not None and trace.latent.log_ratio is not None:
            log_w = log_w + trace.latent.log_ratio - trace.latent.kl.flatten(1).sum(1)
        return log_w.view(-1, n_samples).mean(1)

    def log_likelihood(self, X: Any, n_samples: int = 100, random_state: Any = 0) -> np.ndarray:
        """log p(x) per row, nats, ``(n,)``, by importance sampling from the posterior.

        log (1/k) Σᵢ p(x|zᵢ) p(zᵢ) / q(zᵢ|x), k = ``n_samples``: a lower bound in expectation that
        tightens with k (Burda et al. 2016). Each row has draws of its own.
        """
        model = self._fitted("log_likelihood")
        _check_samples(n_samples)
        noise = seeded_noise(seed_of(random_state))

        def of(rows: Batch) -> Tensor:
            total = torch.full((len(rows.x),), -math.inf, dtype=torch.float64)
            for start in range(0, n_samples, 64):
                k = min(64, n_samples - start)
                log_w = log_weights(model(rows, k, False, noise), model).double().cpu().view(-1, k)
                total = torch.logaddexp(total, log_w.logsumexp(1))
            return total - math.log(n_samples) + self._log_volume(rows).double().cpu()

        return self._over_rows(self._read_targets(X), of, min(n_samples, 64))

    # ------------------------------------------------------------------ generation

    def sample(self, n: int = 1, *, mean: bool = False, lengths: Any = None, random_state: Any = None) -> Any:
        """n rows drawn from p(z) p(x|z), in the user's units; ``mean`` gives E[x|z] in place of a draw.

        Of texts the likeliest for each z are written. ``lengths`` is as in `inverse_transform`.

        Raises
        ------
        UnsupportedError
            Where the bottleneck has no prior, or skips go round it.
        """
        model = self._fitted("sample")
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ParameterError(f"n must be a whole number of at least 1, got {n!r}")
        self._refuse_skips("sample")
        self._check_lengths(lengths)
        seed = self._seed() if random_state is None else seed_of(random_state)
        mask = None if self._layout == "rows" else lengths_of(lengths, int(n), self._longest)
        with torch.no_grad(), isolated_rng(seed, model.device):
            latent = model.bottleneck.sample(int(n))
            if self._layout == "texts":
                return self._decoded(latent.z, lengths)
            output = model.decode(latent._replace(bypass=latent.bypass._replace(mask=mask)))
            drawn = model.loss.mean(output) if mean else model.loss.sample(output)
            if model.scaler is not None and model.scales_target:
                drawn = model.scaler.inverse(drawn)
        return self._frame(self._user_units(drawn.cpu().float(), mask))

    # ------------------------------------------------------------------ rows in chunks

    def _chunks(self, rows: Batch, size: int = CHUNK) -> Iterator[tuple[Batch, Tensor]]:
        """Batches on the model's device and the places of their rows; the last row fills a batch up.

        With a mask, rows of like length come together, cut to the longest of them.
        """
        device, n, mask = self.module_.eval().device, len(rows.x), rows.x_mask
        if mask is None:
            lengths, order = torch.full((n,), rows.x[0, ..., 0].numel()), torch.arange(n)
        else:
            lengths, order = mask.sum(1).sort(stable=True)
        start = 0
        while start < n:
            stop = _chunk_end(lengths, start, size)
            longest, index = int(lengths[stop - 1]), order[start:stop]
            short = -(stop - start) % PAD if min(size, POSITIONS // longest) >= PAD else 0
            if mask is None:
                x = torch.cat([rows.x[start:stop], rows.x[stop - 1 : stop].expand(short, *rows.x.shape[1:])])
                chunk = Batch(x)
            else:
                filled = torch.cat([index, index[-1:].expand(short)])
                x = rows.x[filled]
                has_positions = x.dim() > 2 or not x.is_floating_point()  # a code has none
                chunk = Batch(x[:, :longest] if has_positions else x, x_mask=mask[filled, :longest])
            yield chunk.map(lambda field: field.to(device)), index
            start = stop

    @torch.no_grad()
    def _mapped(self, function: Callable[[Batch], Tensor], rows: Batch, size: int = CHUNK) -> Tensor:
        """The function's rows ``(n, …)``, in the order given, on the CPU; shorter ones are padded with zeros."""
        parts, order = [], []
        for batch, index in self._chunks(rows, size):
            parts.append(function(batch)[: len(index)].cpu())
            order.append(index)
        if rows.x_mask is None:
            return torch.cat(parts)
        if parts[0].dim() > 1:
            longest = max(part.shape[1] for part in parts)
            parts = [
                torch.cat([part, part.new_zeros(len(part), longest - part.shape[1], *part.shape[2:])], 1)
                for part in parts
            ]
        joined = torch.cat(parts)
        return torch.empty_like(joined).index_copy_(0, torch.cat(order), joined)

    def _over_rows(self, rows: Batch, function: Callable[[Batch], Tensor], n_samples: int = 1) -> np.ndarray:
        return self._mapped(lambda batch: function(batch).double(), rows, max(PAD, CHUNK // n_samples)).numpy()

    def _encode_rows(self, rows: Batch, scaled: bool = False) -> Tensor:
        return self._mapped(lambda batch: self.module_.encode(batch, noise=torch.zeros_like, scaled=scaled)[2].z, rows)

    def _decode_rows(self, codes: Batch) -> Tensor:
        """Of codes as x; the mask, if any, says how long each row is to be."""
        model = self.module_

        def decode(batch: Batch) -> Tensor:
            return model.prediction(model.decode(Latent(batch.x, Bypass(mask=batch.x_mask))))

        return self._mapped(decode, codes).float()

    def _loss_of(self, rows: Batch) -> Tensor:
        model = self.module_
        trace = model(rows, 1, False, torch.zeros_like)
        loss: Tensor = model.loss(trace.output, trace.target, trace.mask)
        return loss - self._log_volume(rows) if model.loss.is_likelihood else loss

    def _log_volume(self, rows: Batch) -> Tensor:
        model = self.module_
        if model.scaler is None or not model.scales_target:
            return torch.zeros(len(rows.x), device=model.device)
        y, mask = (rows.x, rows.x_mask) if rows.y is None else (rows.y, rows.y_mask)
        return model.scaler.log_volume(y, mask)

    # ------------------------------------------------------------------ the user's layout

    def _frame(self, array: Any) -> Any:
        """A frame where ``set_output`` asks for one and the columns are known."""
        config = getattr(self, "_sklearn_output_config", {}).get("transform", "default")
        names = getattr(self, "feature_names_in_", None)
        if config not in ("pandas", "polars") or names is None or np.ndim(array) != 2:
            return array
        if config == "pandas":
            import pandas as pd

            return pd.DataFrame(array, columns=names)
        import polars as pl

        return pl.DataFrame(array, schema=list(names))

    def _refuse_skips(self, method: str) -> None:
        encoder = self.module_.encoder
        if encoder.out is not None and encoder.out.skips:
            raise UnsupportedError(
                f"{method} needs the code alone, and this model's skips go round it ({type(encoder).__name__}); "
                "use an encoder without skips"
            )


def _chunk_end(lengths: Tensor, start: int, size: int) -> int:
    """Where the chunk ends that begins at start: at most so many rows, and `POSITIONS`; whole `PAD`s, where it can."""
    stop = min(len(lengths), start + size)
    while (stop - start) > (limit := max(1, POSITIONS // int(lengths[stop - 1]))):
        stop = start + max(limit, (stop - start) // 2)
    return stop - (stop - start) % PAD if stop < len(lengths) and stop - start >= PAD else stop


def _check_samples(n_samples: Any) -> None:
    if isinstance(n_samples, bool) or not isinstance(n_samples, (int, np.integer)) or n_samples < 1:
        raise ParameterError(f"n_samples must be a whole number of at least 1, got {n_samples!r}")
