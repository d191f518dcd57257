"""Estimators whose lines are built, in groups whose steps are alike."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from isthmus.errors import UnsupportedError
from isthmus.estimators.running import normalizes_over_batch_or_map, train
from isthmus.training.alike import Record, record, tensors_of
from isthmus.training.allocator import keep_freed_memory
from isthmus.training.many import against_others, train_together
from isthmus.training.resident import Resident
from isthmus.training.rng import isolated_rng
from isthmus.training.slots import Member
from isthmus.types import Batch

__all__ = ["Begun", "error_of", "groups", "train_group"]

logger = logging.getLogger("isthmus")

NEAR = 0.9
"""Batches of all rows go together where the smaller has this share of the larger's rows."""


class Begun:
    """An estimator whose line is built for its rows, before its first step; ``alone`` says why it shares none."""

    def __init__(self, number: int, estimator: Any, X: Any, y: Any, sample_weight: Any, validation_data: Any) -> None:
        self.number, self.estimator = number, estimator
        estimator._check()
        keep_freed_memory()
        parts, self.seed = estimator._resolve_training(), estimator._seed()
        with isolated_rng(self.seed, estimator._device):
            self.loop, *_ = estimator._begin(X, y, sample_weight, validation_data, parts, self.seed)
            self.generator_state = torch.get_rng_state()
        self.alone = against_others(self.loop)
        if not self.alone and any(map(normalizes_over_batch_or_map, self.loop.step.modules())):
            self.alone = "since its normalisation leaves a bias no gradient but rounding, of which Adam makes steps"
        self.record: Record | None = None

    @property
    def size(self) -> int:
        """Rows of a batch."""
        return self.loop.source.sampler.batch_size

    @property
    def shapes(self) -> Hashable:
        """Of all that the step reads, but for the number of rows."""
        tensors = tensors_of(self.loop, moves=True)
        fields = [None if field is None else field.shape[1:] for field in self.loop.source.rows]
        return tuple(tensor.shape for tensor in tensors), tuple(fields)

    @property
    def may_be_padded(self) -> bool:
        """Whether a batch is all rows, and rows of weight zero would change nothing."""
        kinds = {type(module) for module in self.loop.step.modules()}
        ours = all(kind.__module__.startswith(("isthmus.", "torch.nn.")) for kind in kinds)
        return ours and self.size == len(self.loop.source)

    def write_record(self, size: int | None) -> None:
        """Record a step, on a batch padded to this size."""
        try:
            with isolated_rng(0):
                self.record = record(self.loop, self.loop.compile is True, size)
        except UnsupportedError as error:
            self.alone = f"since {error}"

    def train(self) -> None:
        """Go on as ``fit`` does."""
        with isolated_rng(self.seed, self.estimator._device):
            torch.set_rng_state(self.generator_state)
            train(self.loop, None, self.seed, dict)


def groups(begun: Sequence[Begun]) -> list[list[Begun]]:
    """Those whose steps are alike, and each of the others by itself."""
    sharing = [one for one in begun if not one.alone]
    _share_rows([one.loop.source for one in sharing])
    _share_rows([one.loop.validation for one in sharing if one.loop.validation is not None])
    for one, size in _padded_sizes(sharing):
        one.write_record(size)
    found: dict[Hashable, list[Begun]] = defaultdict(list)
    for one in begun:
        if one.alone:
            logger.info("estimators[%d] is trained alone, %s", one.number, one.alone)
        alike = one.number if one.alone or one.record is None else one.record.form
        found[alike].append(one)
    return list(found.values())


def _share_rows(sources: Sequence[Resident]) -> None:
    """Sources of equal rows hold the same tensors."""
    held: list[Batch] = []
    for source in sources:
        equal = next((rows for rows in held if _equal(rows, source.rows)), None)
        if equal is None:
            held.append(source.rows)
        else:
            source.rows = equal


def _equal(a: Batch, b: Batch) -> bool:
    pairs = zip(a, b, strict=True)
    return all(p is q or (p is not None and q is not None and torch.equal(p, q)) for p, q in pairs)


def _padded_sizes(begun: Sequence[Begun]) -> Iterator[tuple[Begun, int | None]]:
    """What each one's batches are padded to: those of all rows to the largest near them; folds differ by a row."""
    near: dict[Hashable, list[Begun]] = defaultdict(list)
    largest: dict[Hashable, int] = {}
    for one in sorted(begun, key=lambda one: -one.size):
        if not one.may_be_padded:
            near[one.number].append(one)
            continue
        if one.size < NEAR * largest.get(one.shapes, one.size):
            del largest[one.shapes]
        near[one.shapes, largest.setdefault(one.shapes, one.size)].append(one)
    for ones in near.values():
        sizes = {one.size for one in ones}
        yield from ((one, max(sizes) if len(sizes) > 1 else None) for one in ones)


def train_group(group: Sequence[Begun], together: int) -> list[Exception | None]:
    """Train and close them; the error of each, if any."""
    errors = _train_as_one(group, together) if len(group) > 1 and together > 1 else None
    errors = [error_of(one.train) for one in group] if errors is None else errors
    return [
        error_of(partial(one.estimator._close, one.loop)) if error is None else error
        for one, error in zip(group, errors, strict=True)
    ]


def _train_as_one(group: Sequence[Begun], together: int) -> list[Exception | None] | None:
    """Train them by one step; None where that cannot be."""
    numbers = [one.number for one in group]
    members = [Member(one.loop, one.record, one.generator_state) for one in group if one.record is not None]
    n_rounds = -(-len(group) // together)
    try:
        with isolated_rng(0):
            train_together(members, -(-len(group) // n_rounds))
    except UnsupportedError as error:
        logger.info("estimators %s are trained alone, since %s", numbers, error)
        return None
    logger.info("estimators %s were trained together", numbers)
    return [member.error for member in members]


def error_of(work: Callable[[], object]) -> Exception | None:
    """What the work raises, if anything."""
    try:
        work()
    except Exception as error:
        return error
    return None
