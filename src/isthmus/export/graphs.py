"""One method of a fitted estimator as a module: the user's array in, the method's array out.

Scaler, layout and labels are inside. Nothing is drawn at random: a posterior is taken at its mean, and the
draws that a score shares over rows are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus import adapters
from isthmus.errors import UnsupportedError
from isthmus.training.rng import shared_noise
from isthmus.types import Batch, Space

__all__ = ["METHODS", "Graph", "free_axes"]

SCORE_DRAWS = 16
"""As in `score_samples`."""

Compute = Callable[[Tensor], Tensor]


class Graph(nn.Module):
    """What is exported.

    Parameters
    ----------
    owner : estimator
        Whose line this is; in prediction mode.
    compute : callable
        From rows, channels last, to the result, whose rows are in the user's layout already.
    """

    def __init__(self, owner: Any, compute: Compute) -> None:
        super().__init__()
        self.line = owner.module_.eval()
        self.compute = compute
        self.dims, self.is_series = owner._dims(), owner._layout == "series"

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self.inside(x))

    def inside(self, x: Tensor) -> Tensor:
        """The user's array with its channels last."""
        if self.is_series:
            return x.unsqueeze(-1) if x.dim() == 2 else x
        return adapters.channels_last(x, self.dims)


def free_axes(owner: Any, method: str, shape: Sequence[int]) -> dict[int, int]:
    """Those of the user's array that may have any length, with the least: rows, positions where the line takes all.

    A decoder that writes step by step is written out, one step after the other, so that it has one length. A map
    must keep two positions, so that a picture is longer than the strides; an axis that is not stays as it is.
    """
    space, written_out = Space.of(owner.module_.space), owner.module_.decoder.stepwise and method != "transform"
    if owner._layout == "series":
        return {0: 1} if written_out else {0: 1, 1: 2}
    first, strides = len(shape) - len(space.shape) + 1, owner.module_.encoder.total_stride or [1] * 3
    least = {first + i: strides[i] + 1 for i, length in enumerate(space.shape[:-1]) if length is None}
    return {0: 1, **{axis: low for axis, low in least.items() if shape[axis] >= low}}


# ---------------------------------------------------------------------- autoencoders


def _codes(estimator: Any, n_axes: int) -> Compute:
    model = estimator.module_
    return lambda x: model.encode(Batch(x), noise=torch.zeros_like)[2].z.float()


def _reconstructions(estimator: Any, n_axes: int) -> Compute:
    def compute(x: Tensor) -> Tensor:
        rows = type(estimator)._predict_rows(_whole(estimator), Batch(x)).float()
        if estimator._layout == "series":
            return rows.squeeze(-1) if n_axes == 2 else rows
        return adapters.channels_first(rows, n_axes, estimator._dims())

    return compute


def _whole(estimator: Any) -> Any:
    """The estimator, which sees a picture once and as a whole."""
    if getattr(estimator, "test_time_augmentation", False):
        raise UnsupportedError("export: test_time_augmentation must be False, since a graph looks at a picture once")
    if hasattr(estimator, "tile_size"):
        estimator.tile_size = None
    return estimator


# ---------------------------------------------------------------------- labels


def _probabilities(estimator: Any, n_axes: int) -> Compute:
    return lambda x: type(estimator)._predict_rows(_whole(estimator), Batch(x)).movedim(-1, 1)


def _labels(estimator: Any, n_axes: int) -> Compute:
    probabilities, classes = _probabilities(estimator, n_axes), torch.from_numpy(np.asarray(estimator.classes_))
    if estimator.multilabel:
        return lambda x: (probabilities(x) > 0.5).to(torch.uint8)
    return lambda x: classes[probabilities(x).argmax(1)]


# ---------------------------------------------------------------------- anomalies


def _scores(detector: Any, n_axes: int) -> Compute:
    if detector.window is not None:
        raise UnsupportedError("export: window must be None, since a step's score is a mean over windows")
    (member,) = detector.members_
    model, noise = member.module_, _Constant()
    by_draws = detector.estimator is not None and model.loss.is_likelihood and hasattr(model.bottleneck, "posterior")

    def compute(x: Tensor) -> Tensor:
        rows = Batch(x)
        if by_draws:
            scores = member._elbo_rows(rows, SCORE_DRAWS, noise) + member._log_volume(rows)
        else:
            scores = detector._score_rows(member, rows)
        possible = scores.isfinite()
        if model.loss.bounds is not None:
            possible = possible & detector._allowed(member, rows)
        return torch.where(possible, scores.double(), -torch.inf)

    return compute


def _outliers(detector: Any, n_axes: int) -> Compute:
    scores, offset = _scores(detector, n_axes), detector.offset_
    return lambda x: torch.where(scores(x) >= offset, 1, -1)


class _Constant:
    """The draws of `shared_noise`, made in the first call, which is no trace, and the same ever after."""

    def __init__(self) -> None:
        self.draws: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, like: Tensor) -> Tensor:
        shape = tuple(like.shape[1:])
        if shape not in self.draws:
            self.draws[shape] = shared_noise(0, SCORE_DRAWS)(torch.zeros(SCORE_DRAWS, *shape, dtype=like.dtype))
        return self.draws[shape].repeat(like.shape[0] // SCORE_DRAWS, *[1] * len(shape))


METHODS: dict[str, dict[str, Callable[[Any, int], Compute]]] = {
    "autoencoder": {"transform": _codes, "reconstruct": _reconstructions},
    "segmenter": {"predict": _labels, "predict_proba": _probabilities},
    "detector": {"score_samples": _scores, "predict": _outliers},
}
"""Of estimators of rows, the first of each is the default."""
