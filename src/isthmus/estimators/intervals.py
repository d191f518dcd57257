"""Prediction intervals of forecasts, made to hold on windows that training did not see."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import UnsupportedError
from isthmus.estimators.series_pairs import outputs_of
from isthmus.estimators.window_rows import WindowRows
from isthmus.estimators.windows import Windows
from isthmus.losses import GaussianNLL
from isthmus.model import repeat_rows
from isthmus.nn.statistics import every
from isthmus.training.rng import isolated_rng
from isthmus.types import Batch, Latent

__all__ = ["Intervals", "half_widths"]

NUMBERS = 2**18
"""Of the windows in a chunk."""
MOST, MOST_DRAWN, PATHS = 1000, 100, 64
"""Held-out windows that are scored, evenly spaced; and where futures must be drawn, so many of each."""
LEAST = 20
"""Scores, at least, of a step; of fewer windows all steps share theirs, and of fewer still there are none."""
LEAST_SPREAD = 1e-3
"""Of drawn futures, in the network's units: counts may all be 0."""


class Intervals(WindowRows):
    """Mean and spread of what follows a window, and how many spreads held-out windows were off."""

    interval_scores_: np.ndarray | None
    interval_recent_: int

    @torch.no_grad()
    def _in_chunks(self, rows: Batch, function: Callable[[Latent], Tensor], copies: int = 1) -> Tensor:
        """The function's rows in the network's units; it gives ``(B, …, horizon, D)``."""
        model = self.module_.eval()
        size, parts = max(1, NUMBERS // (rows.x[0].numel() * copies)), []
        for start in range(0, len(rows.x), size):
            chunk = rows._replace(y=None).map(lambda field: field[start : start + size].to(model.device))  # noqa: B023
            parts.append(function(model.encode(chunk, noise=torch.zeros_like)[2]).double().cpu())
        return torch.cat(parts)

    def _over_windows(self, windows: Windows, function: Callable[[Latent], Tensor], copies: int = 1) -> np.ndarray:
        """The same in the user's units."""
        rows, *units = self._batch(windows)
        return self._in_units(self._in_chunks(rows, function, copies), *units)

    def _in_units(self, values: Tensor, shift: Tensor, spread: Tensor) -> np.ndarray:
        """What the network said of windows, ``(n, …, horizon, D)``, in the user's units."""
        between = [1] * (values.dim() - 3)
        shift, spread = (one.view(len(one), *between, *one.shape[1:]) for one in (shift, spread))
        return (self.target_scaler_.inverse(values) * spread + shift).numpy()

    # ------------------------------------------------------------------ what a window is followed by

    @property
    def _draws(self) -> bool:
        """Whether what the likelihood says of a step is known by draws alone."""
        loss = self.module_.loss
        return loss.is_likelihood and (self.module_.decoder.stepwise or not isinstance(loss, GaussianNLL))

    def _moments(self, latent: Latent, n_paths: int) -> Tensor:
        """μ and σ of every step, ``(B, 2, horizon, D)``; where the loss is no likelihood σ is 1."""
        model = self.module_
        if self._draws:
            paths = self._paths(latent, n_paths)
            return torch.stack([paths.mean(1), paths.std(1).clamp(min=LEAST_SPREAD)], 1)
        output = outputs_of(model, latent, self.horizon_, self._width)
        if isinstance(model.loss, GaussianNLL):
            mean, log_variance = model.loss.moments(output)
            return torch.stack([mean, (0.5 * log_variance).exp().expand_as(mean)], 1)
        mean = model.loss.mean(output)
        return torch.stack([mean, torch.ones_like(mean)], 1)

    def _paths(self, latent: Latent, n_paths: int) -> Tensor:
        """Drawn futures, ``(B, n_paths, horizon, D)``."""
        loss, steps = self.module_.loss, []

        def choose(output: Tensor) -> Tensor:
            steps.append(loss.sample(output))
            return steps[-1]

        many = repeat_rows(latent, n_paths)
        output = outputs_of(self.module_, many, self.horizon_, self._width, choose=choose)
        paths = torch.stack(steps, 1) if steps else loss.sample(output)
        return paths.double().unflatten(0, (-1, n_paths))

    @property
    def _width(self) -> int:
        return int(self._sample_shape[1] or 1) if len(self._sample_shape) > 1 else 1

    # ------------------------------------------------------------------ calibration

    def _calibrate(self, held: Windows, recent: int) -> None:
        """Remember the scores of held-out windows, and how many of a series' newest windows were held out."""
        some = every(len(held), MOST_DRAWN if self._draws else MOST)
        if len(held) * self.horizon_ >= LEAST:
            self.interval_scores_ = self._scores(Windows(*(field[some] for field in held)))
            self.interval_recent_ = 0 if self._draws else min(recent, MOST)

    def _scores(self, windows: Windows) -> np.ndarray:
        """How many spreads the targets are off the mean, ``(n, horizon, D)``."""
        rows = self._batch(windows)[0]
        assert rows.y is not None
        with isolated_rng(0, self.module_.device):
            moments = self._in_chunks(rows, partial(self._moments, n_paths=PATHS), PATHS if self._draws else 1)
        target = self.target_scaler_(rows.y)[0].double()
        return ((target - moments[:, 0]).abs() / moments[:, 1]).numpy()  # type: ignore[no-any-return]

    def _scores_for(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Those that hold for what follows this series: of its newest windows, and of `fit` where these are fewer."""
        assert self.interval_scores_ is not None
        newest = np.arange(len(values) - self.horizon_, self.window_ - 1, -self.stride)[: self.interval_recent_]
        if not len(newest):
            return self.interval_scores_
        own = self._scores(self._cut([values], [known], [newest]))
        return own if len(own) >= len(self.interval_scores_) else np.concatenate([self.interval_scores_, own])

    def _ends(self, windows: Windows, times: Tensor, n_paths: int) -> np.ndarray:
        """μ ∓ times · σ, within what the loss allows: the lower and the upper end, ``(n, 2, horizon, D)``."""
        rows, *units = self._batch(windows)
        moments = self._in_chunks(rows, partial(self._moments, n_paths=n_paths), n_paths if self._draws else 1)
        reach = times * moments[:, 1]
        ends = torch.stack([moments[:, 0] - reach, moments[:, 0] + reach], 1)
        return self._in_units(ends.clamp(*self.module_.loss.bounds or (-torch.inf, torch.inf)), *units)

    def _interval(self, windows: Windows, coverage: float, n_paths: int, seed: int, scores: Any) -> np.ndarray:
        """The ends by these scores of each window's series; None: by the likelihood alone."""
        loss = self.module_.loss
        with isolated_rng(seed, self.module_.device):
            if scores is not None:
                times = np.stack([half_widths(one, coverage) for one in scores])
                return self._ends(windows, torch.from_numpy(times), n_paths)
            if not loss.is_likelihood:
                raise UnsupportedError(
                    "predict_interval needs a likelihood, such as loss='gaussian_nll', or held-out windows to "
                    f"calibrate on, and this model has {loss.part_name()!r} and none"
                )
            if self._draws:
                drawn = partial(self._drawn_ends, coverage=coverage, n_paths=n_paths)
                return self._over_windows(windows, drawn, n_paths)
            return self._ends(windows, torch.tensor(normal(coverage)), n_paths)

    def _drawn_ends(self, latent: Latent, coverage: float, n_paths: int) -> Tensor:
        """Quantiles of the draws."""
        paths = self._paths(latent, n_paths)
        share = torch.tensor([(1 - coverage) / 2, (1 + coverage) / 2], dtype=torch.float64, device=paths.device)
        return paths.quantile(share, 1).movedim(0, 1)


def half_widths(scores: np.ndarray, coverage: float) -> np.ndarray:
    """How many spreads an interval reaches to each side: the ⌈(n + 1) · coverage⌉-th smallest of n scores.

    Where that is more than n, the largest score times z(coverage) / z(n / (n + 1)), z a normal distribution's
    two-sided quantile. Of fewer than 20 windows all steps share their scores.

    Parameters
    ----------
    scores : array of shape (n, horizon, D)
    coverage : float

    Returns
    -------
    array of shape (horizon, D)
    """
    shape = scores.shape[1:]
    if len(scores) < LEAST:
        scores = scores.reshape(-1, 1, shape[-1])
    n = len(scores)
    rank = math.ceil((n + 1) * coverage)
    found = np.partition(scores, min(rank, n) - 1, axis=0)[min(rank, n) - 1]
    return np.broadcast_to(found if rank <= n else found * (normal(coverage) / normal(n / (n + 1))), shape)


def normal(coverage: float) -> float:
    """Deviations to each side within which so much of a normal distribution lies."""
    return NormalDist().inv_cdf((1 + coverage) / 2)
