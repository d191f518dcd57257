"""What a trained line can do: encode, decode, reconstruct, score, sample. Rows go through in chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import TransformerMixin
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from torch import Tensor

from isthmus import adapters
from isthmus.errors import DataError, IsthmusError, ParameterError, UnsupportedError
from isthmus.estimators.inputs import Inputs, check_finite, check_targets, each_size, fits, one_array
from isthmus.estimators.parameters import seed_of
from isthmus.model import EncoderDecoder
from isthmus.objective import Objective, log_weights
from isthmus.training.rng import isolated_rng, seeded_noise, shared_noise
from isthmus.types import Batch, Latent, Noise

__all__ = ["Inference", "NotFittedError"]

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
        if not self.__sklearn_is_fitted__():
            name = type(self).__name__
            raise NotFittedError(f"This {name} instance is not fitted yet: call fit(X) before {method}")
        return self.module_

    # ------------------------------------------------------------------ code and reconstruction

    @each_size
    def transform(self, X: Any) -> np.ndarray:
        """The code of each row: ``(n, latent_dim)``, the posterior's mean where there is one, float32."""
        self._fitted("transform")
        codes = self._encode_rows(self._read(X)).float().numpy()
        wanted = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        if codes.ndim > 2 and wanted != "default":
            raise UnsupportedError(f"set_output needs codes that are vectors, got shape {codes.shape}")
        return codes

    def inverse_transform(self, Z: Any) -> np.ndarray:
        """The prediction for each code, in the user's units and layout.

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
        z = torch.from_numpy(np.array(codes, dtype=np.float64)).to(model.dtype)
        check_finite(z, "Z")
        return self._frame(self._user_units(self._decode_rows(z)))

    @each_size
    def reconstruct(self, X: Any) -> np.ndarray:
        """What the model makes of X, uncorrupted, at the posterior's mean: X's shape and units."""
        self._fitted("reconstruct")
        x = self._read(X)
        result = self._predictions(x)
        return self._frame(self._user_units(result if x.dtype == torch.float64 else result.float()))

    @torch.no_grad()
    def _predictions(self, x: Tensor) -> Tensor:
        """The prediction for each row, ``(n, *target)``, on the CPU."""
        return torch.cat([self._predict_rows(rows)[:n].cpu() for rows, n in self._chunks(x)])

    def _predict_rows(self, rows: Batch) -> Tensor:
        """The prediction for one batch, at the posterior's mean."""
        model = self.module_
        return model.prediction(model(rows, corrupt=False, noise=torch.zeros_like).output)

    # ------------------------------------------------------------------ scores

    @each_size
    def score_samples(self, X: Any) -> np.ndarray:
        """Per row, higher is better, ``(n,)``: the ELBO in nats where the model has one, else −loss.

        The ELBO's expectation is over 16 draws of noise that serve all rows, as in ``elbo(X, 16)``, so that
        a row's score does not depend on its neighbours.
        """
        self._fitted("score_samples")
        return self._over_rows(self._read_targets(X), self._score_rows, SCORE_DRAWS)

    def _read(self, data: Any, *, reset: bool = False, name: str = "X") -> Tensor:
        """As that of `Inputs`; what scales to infinity is refused."""
        x, model = super()._read(data, reset=reset, name=name), self.module_
        ends = torch.stack([x.amin(0), x.amax(0)])  # of each number of a row: scalers keep order; aminmax is slow
        check_finite(model.scale(ends.to(model.device))[0], name)
        return x

    def _read_targets(self, X: Any) -> Tensor:
        """X, refused where the loss allows no such target."""
        x, model = self._read(X), self.module_
        if model.loss.bounds is not None:
            for rows in x.split(max(1, 2**20 // x[0].numel())):
                check_targets(model, Batch(model.scale(rows.to(model.device))[0]))
        return x

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
        x, noise, results = self._read_targets(X), seeded_noise(seed_of(random_state)), []
        with torch.no_grad():
            for rows, n in self._chunks(x, max(PAD, CHUNK // min(n_samples, 64))):
                total = torch.full((len(rows.x),), -math.inf, dtype=torch.float64)
                for start in range(0, n_samples, 64):
                    k = min(64, n_samples - start)
                    log_w = log_weights(model(rows, k, False, noise), model).double().cpu().view(-1, k)
                    total = torch.logaddexp(total, log_w.logsumexp(1))
                results.append((total - math.log(n_samples) + self._log_volume(rows).double().cpu())[:n])
        return torch.cat(results).numpy()

    # ------------------------------------------------------------------ generation

    def sample(self, n: int = 1, *, mean: bool = False, random_state: Any = None) -> np.ndarray:
        """n rows drawn from p(z) p(x|z), in the user's units; ``mean`` gives E[x|z] in place of a draw.

        Raises
        ------
        UnsupportedError
            Where the bottleneck has no prior, or skips go round it.
        """
        model = self._fitted("sample")
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ParameterError(f"n must be a whole number of at least 1, got {n!r}")
        self._refuse_skips("sample")
        seed = self._seed() if random_state is None else seed_of(random_state)
        with torch.no_grad(), isolated_rng(seed, model.device):
            output = model.decode(model.bottleneck.sample(int(n)))
            drawn = model.loss.mean(output) if mean else model.loss.sample(output)
            if model.scaler is not None and model.scales_target:
                drawn = model.scaler.inverse(drawn)
        return self._frame(self._user_units(drawn.cpu().float()))

    # ------------------------------------------------------------------ rows in chunks

    def _chunks(self, x: Tensor, size: int = CHUNK) -> Iterator[tuple[Batch, int]]:
        """Batches on the model's device, padded by repeating the last row, with their count of true rows."""
        model = self.module_
        model.eval()
        positions = x[0, ..., 0].numel()  # 1 for a row of a table
        size = max(1, min(size, POSITIONS // positions))
        pad = PAD if size >= PAD else 1
        for rows in x.split(size - size % pad):
            n = len(rows)
            if short := -n % pad:
                rows = torch.cat([rows, rows[-1:].expand(short, *rows.shape[1:])])
            yield Batch(rows.to(model.device)), n

    @torch.no_grad()
    def _over_rows(self, x: Tensor, function: Any, n_samples: int = 1) -> np.ndarray:
        size = max(PAD, CHUNK // n_samples)
        parts = [function(rows)[:n].double().cpu() for rows, n in self._chunks(x, size)]
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def _encode_rows(self, x: Tensor, scaled: bool = False) -> Tensor:
        parts = []
        for rows, n in self._chunks(x):
            latent: Latent = self.module_.encode(rows, noise=torch.zeros_like, scaled=scaled)[2]
            parts.append(latent.z[:n].cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def _decode_rows(self, z: Tensor) -> Tensor:
        model = self.module_
        parts = [model.prediction(model.decode(Latent(rows.x)))[:n].cpu() for rows, n in self._chunks(z)]
        return torch.cat(parts).float()

    def _loss_of(self, rows: Batch) -> Tensor:
        model = self.module_
        trace = model(rows, 1, False, torch.zeros_like)
        loss: Tensor = model.loss(trace.output, trace.target, trace.mask)
        return loss - self._log_volume(rows) if model.loss.is_likelihood else loss

    def _log_volume(self, rows: Batch) -> Tensor:
        model = self.module_
        if model.scaler is None or not model.scales_target:
            return torch.zeros(len(rows.x), device=model.device)
        return model.scaler.log_volume(rows.x if rows.y is None else rows.y)

    # ------------------------------------------------------------------ the user's layout

    def _user_units(self, prediction: Tensor) -> np.ndarray:
        return adapters.channels_first(prediction, len(self._sample_shape) + 1, self._dims()).numpy()

    def _frame(self, array: np.ndarray) -> Any:
        """A frame where ``set_output`` asks for one and the columns are known."""
        config = getattr(self, "_sklearn_output_config", {}).get("transform", "default")
        names = getattr(self, "feature_names_in_", None)
        if config not in ("pandas", "polars") or names is None or array.ndim != 2:
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


def _check_samples(n_samples: Any) -> None:
    if isinstance(n_samples, bool) or not isinstance(n_samples, (int, np.integer)) or n_samples < 1:
        raise ParameterError(f"n_samples must be a whole number of at least 1, got {n_samples!r}")
