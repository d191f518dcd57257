"""What all estimators share besides their parameters: the way from data to a trained line.

A named estimator only chooses parts: it overrides `_penalties`, `_loss_for` and the like, and has no
forward of its own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin

from isthmus import spec
from isthmus.encoders import ConvEncoder, MLPEncoder, RNNEncoder
from isthmus.errors import DataError, ParameterError
from isthmus.estimators.atomic import all_or_nothing
from isthmus.estimators.exporting import Exporting
from isthmus.estimators.inference import Inference
from isthmus.estimators.inputs import check_finite, check_targets, check_weights
from isthmus.estimators.parameters import Parameters
from isthmus.estimators.reporting import Reporting
from isthmus.estimators.resuming import checkpoints_of, identity
from isthmus.estimators.running import check_batch_size, scale_rows, train
from isthmus.estimators.saving import Saving
from isthmus.estimators.streaming import as_stream, fit_stream
from isthmus.losses import CrossEntropy
from isthmus.model import EncoderDecoder
from isthmus.objective import Objective, TrainStep, Trimmed
from isthmus.optimizers import LBFGS, Memory
from isthmus.part import Bottleneck, Corruption, Decoder, Encoder, Loss, Part, Penalty, Scaler, built
from isthmus.stream import Stream
from isthmus.training.allocator import keep_freed_memory
from isthmus.training.buckets import Buckets
from isthmus.training.callbacks import Callback, EarlyStopping, Progress
from isthmus.training.checkpoints import Checkpoints
from isthmus.training.loop import Loop
from isthmus.training.precision import fitting_precision
from isthmus.training.resident import Resident, content_order
from isthmus.training.rng import isolated_rng
from isthmus.training.trackers import CSVLogger, callbacks_of
from isthmus.types import Batch, Space

__all__ = ["EncoderDecoderEstimator"]

MAX_REPEATS = 10
"""Whole-numbered sample weights repeat rows, as long as the rows grow at most so many times."""
LEAST_TO_SPLIT = 50
"""With fewer rows none are held out for validation."""


@dataclass(eq=False, repr=False)
class EncoderDecoderEstimator(Saving, Exporting, Reporting, Inference, ClassNamePrefixFeaturesOutMixin, Parameters):  # type: ignore[misc]
    """From data to a trained line: reads rows, chooses and builds the parts, runs the loop.

    A subclass overrides the methods that choose. The parameters are those of `Parameters`.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.non_deterministic = False
        return tags

    # ------------------------------------------------------------------ the parts chosen

    def _encoder_for(self, space: Space) -> Encoder:
        """The encoder; "auto" is convolutional where a sample has positions."""
        if self.encoder == "auto" and self._layout != "rows":
            return RNNEncoder()
        if self.encoder == "auto":
            return MLPEncoder((256, 128), activation="silu") if len(space.shape) == 1 else conv_for(space)
        encoder: Encoder = spec.resolve("encoder", self.encoder)
        return encoder

    def _decoder_for(self, encoder: Encoder) -> Decoder:
        if self.decoder is not None:
            decoder: Decoder = spec.resolve("decoder", self.decoder)
            return decoder
        mirrors = spec.registry("decoder")
        name = encoder.decoder_name()
        if name not in mirrors:
            raise ParameterError(f"decoder must be given, since no decoder mirrors {type(encoder).__name__}")
        return mirrors[name].mirror(encoder)  # type: ignore[no-any-return]

    def _bottleneck_for(self) -> Bottleneck:
        bottleneck: Bottleneck = spec.resolve("bottleneck", self.bottleneck)
        return bottleneck

    def _loss_for(self, rows: Batch) -> Loss:
        """The loss; of texts it is the cross-entropy, in nats, unless another than the default is given."""
        if self._layout == "texts" and self.loss == type(self).loss:
            return CrossEntropy()
        loss: Loss = spec.resolve("loss", self.loss)
        return loss

    def _corruption(self) -> Corruption | None:
        corruption: Corruption | None = spec.resolve("corruption", self.corruption)
        return corruption

    def _scaler_for(self, rows: Batch, loss: Loss) -> Scaler | None:
        """The scaler; "auto" leaves data alone that the loss wants as they are."""
        if rows.x.dtype == torch.int64:  # classes
            return None
        name = "unit" if self.scale is None else self.scale
        pixels = rows.x.dim() > 2 and rows.x.dtype == torch.uint8
        if name == "auto" and loss.bounds is not None and not pixels and self._targets_like_x(rows):
            name = "unit"
        scaler: Scaler = spec.resolve("scaler", name, "scale")
        return scaler

    def _penalties(self) -> list[Penalty]:
        """The estimator's own; those of ``penalties`` come after them."""
        return []

    def _objective(self, n_steps: int) -> Objective:
        given = [spec.resolve("penalty", penalty, "penalties") for penalty in self.penalties]
        own = [penalty for penalty in self._penalties() if type(penalty) not in {type(other) for other in given}]
        penalties = [penalty.build(Space(())) for penalty in [*own, *given]]
        return Trimmed(self.trim, penalties, after=n_steps // 10) if self.trim else Objective(penalties)

    def _latent_dim(self, space: Space, bottleneck: Bottleneck) -> int | None:
        if self.latent_dim != "auto":
            return int(self.latent_dim)
        if bottleneck.part_name() == "identity":
            return None
        if self._layout != "rows":
            return 32
        return int(min(32, max(2, -(-(space.size or 1) // 4))))

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        validation_data: Any = None,
        resume: bool = False,
    ) -> Self:
        """Train on X.

        Parameters
        ----------
        X : array, tensor, frame, sparse matrix, path or Stream
            ``(n, d)``, ``(n, H, W)`` or ``(n, C, *spatial)``. A `Stream` is read as training goes on, and so is a
            memory map or a file (.npy, .parquet) of 2 GB or more.
        y : ignored
            Labels of a Pipeline. `DenoisingAutoencoder` takes clean targets here.
        sample_weight : array of shape (n,), optional
            Whole numbers repeat a row (0 leaves it out); others weigh its loss.
        validation_data : like X, or a pair (X, y), optional
            Held-out rows, in place of ``validation_fraction``.
        resume : bool
            Go on from the newest checkpoint in ``checkpoint_dir``, to the weights and the history, but for its
            seconds, of a run that was never stopped. An empty folder starts afresh; a run that is finished is
            not trained again.

        Returns
        -------
        self

        Raises
        ------
        ParameterError, DataError
            Before any training. After an error the estimator is what it was before.
        CheckpointError
            Where ``checkpoint_dir`` is another run's, or cannot be written.
        """
        X = as_stream(self, X, y, sample_weight)
        self._check()
        with all_or_nothing(self), checkpoints_of(self, resume) as checkpoints:
            if isinstance(X, Stream):
                fit_stream(self, X, y, sample_weight, validation_data, checkpoints)
                return self
            return self._fit(X, y, sample_weight, validation_data, checkpoints)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, checkpoints: Checkpoints | None = None
    ) -> Self:
        keep_freed_memory()
        parts, seed = self._resolve_training(), self._seed()
        seed = seed if checkpoints is None else checkpoints.seed(seed)
        with isolated_rng(seed, self._device):
            loop, rows, held = self._begin(X, y, sample_weight, validation_data, parts, seed)
            train(loop, checkpoints, seed, partial(identity, self, rows, held))
        self._close(loop)
        return self

    def _begin(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, parts: tuple[Any, Any], seed: int
    ) -> tuple[Loop, Batch, Batch | None]:
        """The line built for X and a loop before its first step; the rows that train and those held out."""
        rows = self._rows(X, y, reset=True)
        held = None if validation_data is None else self._validation_rows(validation_data, rows.y is not None)
        rows = check_weights(rows, sample_weight, MAX_REPEATS)
        order = content_order(rows.x)
        rows = rows.map(lambda field: field.index_select(0, order))
        if held is None and self.validation_fraction > 0:
            rows, held = self._split(rows, seed)
        scaled = self._build(rows)
        held = None if held is None else self._scaled(held, "X" if validation_data is None else "validation_data")
        return self._loop(scaled, held, seed, *parts), rows, held

    def partial_fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """One epoch over X; scaler and shapes are those of the first call.

        After an error the estimator is what it was before.
        """
        with all_or_nothing(self):
            return self._partial_fit(X, y, sample_weight)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        first = not self.__sklearn_is_fitted__()
        self._check()
        keep_freed_memory()
        parts = self._resolve_training()
        rows = check_weights(self._rows(X, y, reset=first), sample_weight, MAX_REPEATS)
        seed = self._seed() + (0 if first else self.n_iter_)
        with isolated_rng(seed, self._device):
            if not first:  # a step changes weights and memory where they are
                self.module_ = copy.deepcopy(self.module_)
            scaled = self._build(rows) if first else self._scaled(rows)
            loop = self._loop(scaled, None, seed, *parts, max_epochs=1)
            kept = getattr(self, "_memory", {})
            if _layout_of(kept) == _layout_of(loop.state.memory):  # else the optimiser is another than before
                loop.state.memory = copy.deepcopy(kept)
            train(loop, None, seed, dict)
        earlier = [] if first else list(self.history_)
        self._close(loop)
        self._memory = loop.state.memory
        self.history_ = [*earlier, {**loop.state.history[-1], "epoch": len(earlier) + 1}]
        self.n_iter_ = len(self.history_)
        return self

    def _resolve_training(self) -> tuple[Any, Any]:
        schedule = spec.resolve("schedule", self.schedule)
        return spec.resolve("optimizer", self.optimizer), schedule

    def _rows(self, X: Any, y: Any, *, reset: bool) -> Batch:
        """All rows as tensors, channels last, in the user's units."""
        x, mask = self._read_masked(X, reset=reset)
        return Batch(x, x_mask=mask)

    def _validation_rows(self, given: Any, with_target: bool) -> Batch:
        """Rows held out by the user, with targets where the training rows have them."""
        pair = given if isinstance(given, tuple) else (given, None)
        if len(pair) != 2:
            raise DataError(f"validation_data must be rows like X or a pair (X, y), got a tuple of {len(pair)}")
        try:
            held = self._rows(*pair, reset=False)
        except DataError as error:
            raise DataError(f"validation_data: {error}") from None
        if with_target and held.y is None:
            raise DataError("validation_data must be a pair (X, y), since y was given, got no y")
        if held.y is not None and not with_target:
            raise DataError("validation_data must be rows like X alone, since no y was given, got a pair")
        return held

    def _split(self, rows: Batch, seed: int) -> tuple[Batch, Batch | None]:
        n = len(rows.x)
        n_held = round(self.validation_fraction * n)
        if n < LEAST_TO_SPLIT or n_held == 0:
            return rows, None
        if n - n_held < 2:
            given = f"{n - n_held} of {n} with validation_fraction={self.validation_fraction!r}"
            raise ParameterError(f"validation_fraction must leave at least 2 rows to train on, got {given}")
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed + 1))
        held, kept = order[:n_held], order[n_held:]
        return rows.map(lambda field: field.index_select(0, kept)), rows.map(lambda field: field.index_select(0, held))

    def _build(self, rows: Batch) -> Batch:
        """Choose, build and scale the line for these rows, and scale them; ``module_`` is the line."""
        space = self._space(rows)
        encoder = self._encoder_for(space)
        if self._layout == "texts" and not encoder.sequences:
            raise ParameterError(f"encoder must be 'rnn' or 'transformer' for texts, got {encoder.part_name()!r}")
        if space.classes is None and (encoder.any_size or self._any_size(rows)):
            *positions, channels = space.shape
            space = space._replace(shape=(*[None] * len(positions), channels))
        loss = self._loss_for(rows)
        scaler = self._scaler_for(rows, loss)
        bottleneck = self._bottleneck_for()
        corruption = self._corruption()
        model = EncoderDecoder(encoder, bottleneck, self._decoder_for(encoder), loss, scaler, corruption)
        model.build(space, self._goal(rows, space), self._latent_dim(space, bottleneck), self._targets_like_x(rows))
        if self.precision == "64-true":
            model.double()
        if scaler is not None:
            scaler.fit(rows.x, rows.x_mask, rows.weight)
        self.module_ = model.to(self._device)
        scaled = self._scaled(rows)
        self._n_features_out = built(bottleneck).shape[-1] or 1
        if None in space.shape and self._layout == "rows":
            n_axes = len(space.shape) - 1
            self._sample_shape = (*self._sample_shape[:-n_axes], *[None] * n_axes)
        return scaled

    def _scaled(self, rows: Batch, name: str = "X") -> Batch:
        """The rows in the network's units, if those and the loss can hold them."""
        scaled = scale_rows(self.module_, rows)
        ends = check_finite(scaled.x, name)
        if scaled.y is not None:
            name = "y" if name == "X" else name
            ends = check_finite(scaled.y, name)
        check_targets(self.module_, scaled, name, ends)
        return scaled

    def _space(self, rows: Batch) -> Space:
        """Of one sample of x."""
        if self._layout == "texts":
            return Space((None,), classes=self.tokenizer_.vocabulary_size)
        return Space(tuple(rows.x.shape[1:]))

    def _any_size(self, rows: Batch) -> bool:
        """Whether the line must take every size, since the rows have several."""
        return rows.x_mask is not None

    def _goal(self, rows: Batch, space: Space) -> Space:
        """The space of the target, for x of this space."""
        return space

    def _targets_like_x(self, rows: Batch) -> bool:
        """Whether targets are in the units of x."""
        return True

    def _source(self, rows: Batch, seed: int) -> Resident:
        """Where training batches come from, of scaled rows."""
        ragged = rows.x_mask is not None and self._layout != "rows"
        return Buckets(rows, self.batch_size, seed) if ragged else Resident(rows, self.batch_size, seed)

    def _held_source(self, held: Batch) -> Resident:
        """The rows held out for validation, scaled."""
        return self._source(held, 0) if self._layout != "rows" else Resident(held, len(held.x), 0)

    def _loop(
        self,
        rows: Batch,
        held: Batch | None,
        seed: int,
        optimizer: Any,
        schedule: Any,
        max_epochs: int | None = None,
        source: Resident | None = None,
    ) -> Loop:
        source = self._source(rows, seed + 2) if source is None else source
        if not isinstance(optimizer, LBFGS):
            check_batch_size(self.module_, source)
        n_epochs = self.max_epochs if max_epochs is None else max_epochs
        objective = self._objective(n_epochs * source.steps_per_epoch * self.accumulate)
        step = TrainStep(self.module_, objective.to(self._device))
        self._check_monitor(step, source, held)
        callbacks = [*callbacks_of(self.callbacks), *self._validators(held)]
        if held is not None or self.monitor != "val_objective":
            callbacks.append(EarlyStopping(self.monitor, self.patience))
        if self.checkpoint_dir is not None and max_epochs is None:
            callbacks.append(CSVLogger(Path(self.checkpoint_dir) / "history.csv"))
        if self.verbose:
            callbacks.append(Progress())
        return Loop(
            step,
            source,
            optimizer,
            learning_rate=self.learning_rate,
            schedule=schedule,
            clip_norm=self.clip_norm,
            max_epochs=n_epochs,
            precision=fitting_precision(self.module_, self.precision, optimizer),
            compile=self.compile,
            validation=None if held is None else self._held_source(held),
            callbacks=callbacks,
            seed=seed + 3,
            accumulate=self.accumulate,
        )

    def _validators(self, held: Batch | None) -> list[Callback]:
        """What adds figures of the held-out rows to an epoch's, beside the objective's terms."""
        return []

    def _decoded_metrics(self) -> Sequence[str]:
        """The names of those figures."""
        return ()

    def _check_monitor(self, step: TrainStep, source: Resident, held: Batch | None) -> None:
        """Rehearse the objective on two rows, so that what it refuses is refused before training."""
        terms = step.rehearse(source.slice(0, 2))
        validated = [] if held is None else [f"val_{name}" for name in [*terms, *self._decoded_metrics()]]
        known = [*terms, "learning_rate", "seconds", *validated]
        if self.monitor not in known and not (held is None and self.monitor == "val_objective"):
            why = "; no rows were held out, see validation_data" if held is None else ""
            raise ParameterError(f"monitor must be one of {known}, got {self.monitor!r}{why}")

    def _close(self, loop: Loop) -> None:
        state = loop.state
        self.__dict__.pop("_memory", None)  # of the weights that stood here before
        self.history_ = state.history
        self.compile_ = loop.decision
        self.n_iter_ = state.epoch
        self.objective_ = loop.step.objective
        self.module_.eval()
        hooks = [part for part in self.module_.modules() if isinstance(part, Part) and hasattr(part, "after_fit")]
        if hooks:
            rows = loop.source.rows
            codes = self._encode_rows(rows._replace(y=None, y_mask=None, weight=None), scaled=True)
            for part in hooks:
                part.after_fit(codes)  # type: ignore[operator]


def _layout_of(memory: Memory) -> dict[str, list[torch.Size]]:
    return {name: [tensor.shape for tensor in tensors] for name, tensors in memory.items()}


def conv_for(space: Space) -> ConvEncoder:
    """Levels of 32, 64, 128, … channels until an axis has 7 positions or fewer: two for 28 × 28."""
    longest = max(length or 1 for length in space.shape[:-1])
    levels = min(5, max(1, math.ceil(math.log2(longest / 7)))) if longest > 7 else 1
    return ConvEncoder([min(256, 32 * 2**level) for level in range(levels)])
