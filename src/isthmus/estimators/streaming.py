"""Fitting on rows that do not fit in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import adapters, spec
from isthmus.errors import DataError, UnsupportedError
from isthmus.estimators.resuming import identity
from isthmus.estimators.running import train
from isthmus.estimators.sequences import layout_of
from isthmus.optimizers import LBFGS
from isthmus.stream import Stream
from isthmus.training.allocator import keep_freed_memory
from isthmus.training.checkpoints import Checkpoints
from isthmus.training.rng import isolated_rng
from isthmus.training.streamed import BlockSampler, Streamed
from isthmus.types import Batch

__all__ = ["as_stream", "fit_stream"]

LARGE = 2**31
"""Bytes of a memory map or a file from which on it is streamed."""
SAMPLE, HELD = 2**26, 2**26
"""Bytes of the rows from which scaler and shapes are learnt, and of those held out, at most."""


def fit_stream(
    estimator: Any, stream: Stream, y: Any, sample_weight: Any, validation_data: Any, checkpoints: Checkpoints | None
) -> None:
    """Train an estimator on a stream: as on rows in memory, but for where scaler, validation and batches come from."""
    keep_freed_memory()
    parts, seed = estimator._resolve_training(), estimator._seed()
    if (reason := against_stream(estimator, y, sample_weight)) is not None:
        raise reason
    seed = seed if checkpoints is None else checkpoints.seed(seed)
    sample = estimator._rows(stream.sample(max(2, SAMPLE // stream.row_bytes)), None, reset=True)
    share = estimator.validation_fraction if validation_data is None else 0.0
    blocks, rows = held_rows(stream, share, seed)
    rows = validation_data if rows is None else rows
    held = None if rows is None else estimator._validation_rows(rows, False)
    with isolated_rng(seed, estimator._device):
        sample_scaled = estimator._build(sample)
        held = None if held is None else estimator._scaled(held, "validation_data")
        source = streamed(
            stream, blocks, sample_scaled, estimator._scaled, estimator._dims(), estimator.batch_size, seed + 2
        )
        try:
            loop = estimator._loop(sample_scaled, held, seed, *parts, source=source)
            train(loop, checkpoints, seed, lambda: {**identity(estimator, sample, held), "rows": str(len(stream))})
        finally:
            source.close()
    estimator._close(loop)


def as_stream(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Any:
    """X as a stream, where it is a memory map or a file (.npy, .parquet) of 2 GB or more, and may be; else as it is."""
    named = isinstance(X, (str, Path)) and Path(X).suffix in (".npy", ".parquet") and os.path.isfile(X)
    size = os.path.getsize(X) if named else X.nbytes if isinstance(X, np.memmap) else 0
    return Stream(X) if size >= LARGE and against_stream(estimator, y, sample_weight) is None else X


def against_stream(estimator: Any, y: Any, sample_weight: Any) -> DataError | UnsupportedError | None:
    """Why the rows must be in memory, if they must."""
    if sample_weight is not None:
        return DataError(f"sample_weight must be None where X is a Stream, got {type(sample_weight).__name__}")
    if y is not None and getattr(estimator, "takes_target", False):
        return DataError(f"y must be None where X is a Stream, got {type(y).__name__}")
    if isinstance(spec.resolve("optimizer", estimator.optimizer), LBFGS):
        return UnsupportedError("optimizer LBFGS needs all rows at once, and X is a Stream")
    if layout_of(np.empty((2, 2, 2)), estimator._encoder_given()) == "series":
        return UnsupportedError(f"series need rows in memory, and X is a Stream, got encoder={estimator.encoder!r}")
    for name in ("patch_size", "augmentations"):
        if getattr(estimator, name, None):
            given = getattr(estimator, name)
            return UnsupportedError(f"{name} needs rows in memory, and X is a Stream, got {given!r}")
    return None


def held_rows(stream: Stream, share: float, seed: int) -> tuple[Tensor, np.ndarray | None]:
    """The blocks that train, ``(k, 2)``, and the rows held out: whole blocks, so that no pass reads around them."""
    starts = torch.arange(0, len(stream), stream.block)
    blocks = torch.stack([starts, (starts + stream.block).clamp(max=len(stream))], 1)
    wanted = min(HELD // stream.row_bytes, round(share * len(stream)))
    n_held = min(round(wanted / stream.block), len(blocks) - 1)
    if n_held < 1:
        return blocks, None
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed + 1))
    held = order[:n_held].sort().values
    rows = np.concatenate([stream.read(int(start), int(stop)) for start, stop in blocks[held]])
    return blocks[order[n_held:].sort().values], rows


def streamed(
    stream: Stream, blocks: Tensor, sample: Batch, scaled: Callable[[Batch, str], Batch], dims: int | None,
    batch_size: int, seed: int,
) -> Streamed:  # fmt: skip
    """The source of training batches; rows are checked and scaled as they are read."""

    def read(start: int, stop: int) -> Tensor:
        name = f"X[{start}:{stop}]"
        array = stream.read(start, stop)
        if array.dtype.kind not in "biuf":
            raise DataError(f"{name} must hold numbers, got {array.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{name} must be finite, got NaN or infinity")
        return scaled(Batch(adapters.channels_last(adapters.to_tensor(array), dims)), name).x

    sampler = BlockSampler(blocks, max(1, stream.window // stream.block), batch_size, seed)
    return Streamed(read, sample, sampler)
