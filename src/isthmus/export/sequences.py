"""What `Seq2Seq` makes of numbers: forecasts, and series of series."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.errors import DataError
from isthmus.export.plans import CHECKED, LENGTH, Inputs, Plan, outer, shorter
from isthmus.nn.decoding import unrolled
from isthmus.types import Batch, Latent

__all__ = ["forecast_plan", "series_plan"]


class Writer(nn.Module):
    """The line, and what it writes of a code: all steps at once, or so many of them, one after the other."""

    def __init__(self, owner: Any, width: int) -> None:
        super().__init__()
        self.line, self.units, self.width = owner.module_, owner.target_scaler_, width

    def written(self, rows: Batch, n_steps: Any) -> Tensor:
        """``(B, n_steps, D)`` in the target's units, float64."""
        line, decoder = self.line, self.line.decoder
        latent = line.encode(rows, noise=torch.zeros_like)[2]
        if decoder.stepwise:
            first = latent.z.new_zeros(latent.z.shape[0], self.width)
            output = unrolled(decoder.step, decoder.start(latent), first, n_steps, line.loss.mean)
        else:
            output = line.decode(self._of_length(latent, n_steps))
        return self.units.inverse(line.loss.mean(output).double())  # type: ignore[no-any-return]

    def _of_length(self, latent: Latent, n_steps: Any) -> Latent:
        if latent.z.dim() > 2 or self.line.decoder.out.shape[0] is not None:
            return latent
        mask = torch.ones(latent.z.shape[0], n_steps, dtype=torch.bool)
        return latent._replace(bypass=latent.bypass._replace(mask=mask))


# ---------------------------------------------------------------------- forecasts


class Forecast(Writer):
    """The last window of each series, and what is known of it and of the steps to come, to those steps."""

    def __init__(self, owner: Any) -> None:
        super().__init__(owner, owner._sample_shape[-1] if len(owner._sample_shape) > 1 else 1)
        self.horizon, self.way = owner.horizon_, owner.window_scale_
        self.still = torch.from_numpy(np.asarray(owner.still_)).double()
        self.known_units = owner.exogenous_scaler_

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        past = (x if x.dim() == 3 else x.unsqueeze(-1)).double()
        shift, spread = torch.zeros_like(past[:, :1]), torch.ones_like(past[:, :1])
        if self.way is not None:
            spread = (past.var(1, keepdim=True, correction=0) + self.still.square()).sqrt()
            shift = past.mean(1, keepdim=True) if self.way == "mean" else past[:, -1:]
        rows = Batch((past - shift) / spread)
        if known is not None and self.known_units is not None:
            told = self.known_units(known.double())[0]
            seen, ahead = told[:, : -self.horizon], told[:, -self.horizon :]
            rows = Batch(torch.cat([rows.x, seen], -1), condition=ahead.flatten(1).float())
        future = (self.written(rows, self.horizon) * spread + shift).float()
        return future if x.dim() == 3 else future.squeeze(-1)


def forecast_plan(estimator: Any, own: Any, X: Any) -> Plan:
    """``predict`` of windows: inputs ``x`` ``(n, window, D)`` and, with exogenous columns, ``known``."""
    windows = _windows(own, X)
    inputs: Inputs = {"x": outer(windows)}
    if own.exogenous_scaler_ is not None:
        shape = (len(inputs["x"]), own.window_ + own.horizon_, len(own.exogenous_scaler_.shift))
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        inputs["known"] = own.exogenous_scaler_.inverse(drawn).float()

    def exact(given: Inputs) -> tuple[np.ndarray, ...]:
        told = {"exogenous": list(given["known"].numpy())} if "known" in given else {}
        return (np.stack(estimator.predict(list(given["x"].numpy()), **told)),)

    return Plan(Forecast(own), inputs, {name: (0,) for name in inputs}, ("forecast",), exact)


def _windows(own: Any, X: Any) -> np.ndarray:
    """The last windows of some stretches of X, or random walks where there is none."""
    if X is None:
        steps = np.random.default_rng(0).normal(size=(8, own.window_, *own._sample_shape[1:]))
        return np.cumsum(steps, 1)
    values = [one.values for one in own._read_known(X, "X")[0]]
    if (shortest := min(map(len, values))) < own.window_:
        raise DataError(f"X must have at least window = {own.window_} steps to export with, got {shortest}")
    ends = [(one, end) for one in values for end in np.linspace(own.window_, len(one), CHECKED).astype(int)]
    chosen = ends[:: -(-len(ends) // CHECKED)]
    windows = np.stack([one[end - own.window_ : end] for one, end in chosen])
    return windows if len(own._sample_shape) > 1 else windows[..., 0]


# ---------------------------------------------------------------------- series of series


class Pairing(Writer):
    """A series to its target: as long as itself where all were so in training, else as the longest of them."""

    def __init__(self, owner: Any) -> None:
        super().__init__(owner, owner.target_shape_[-1] or 1)
        self.steps = None if owner.same_length_ else owner.max_length_
        self.flat = len(owner.target_shape_) == 1

    def forward(self, x: Tensor) -> Tensor:
        rows = x if x.dim() == 3 else x.unsqueeze(-1)
        n_steps = rows.shape[1] if self.steps is None else self.steps
        target = self.written(Batch(rows), n_steps)[:, :n_steps].float()
        return target.squeeze(-1) if self.flat else target


def series_plan(estimator: Any, own: Any, X: Any) -> Plan:
    """``predict`` of series, ``(n, T, D)``; T is free unless the target is written step by step to T."""
    if X is None:
        rows = torch.randn(8, own._longest or LENGTH, own.module_.space.shape[-1] or 1, generator=_seeded()).double()
        x = rows if own.module_.scaler is None else own.module_.scaler.inverse(rows)
        given = np.asarray(own._user_units(x))
    else:
        values, mask = own._read_series(X, False, "X")
        if mask is not None:
            raise DataError("X must hold series of one length to export with, got several")
        given = np.asarray(own._user_units(values))
    inputs = {"x": outer(given)}
    free = (0,) if own.same_length_ and own.module_.decoder.stepwise else (0, 1)
    others = (shorter(inputs["x"], dict.fromkeys(free, 2)),)

    def exact(rows: Inputs) -> tuple[np.ndarray, ...]:
        return (np.asarray(estimator.predict(rows["x"].numpy())),)

    return Plan(Pairing(own), inputs, {"x": free}, ("target",), exact, tuple({"x": one} for one in others))


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
