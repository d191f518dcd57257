"""Texts: what reads a source once, and what writes one piece, with the loop left to the program that runs them.

``start`` takes the source's pieces and gives the decoder's state. ``step`` takes what was written last and the
state, and gives log p of every next piece and the state after it. Greedy choice, draws and beams are loops round it.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.export.plans import CHECKED, LENGTH, Inputs, Plan, shorter
from isthmus.nn.transformer import Cache
from isthmus.types import Batch

__all__ = ["text_plan"]

WRITTEN = 4
"""Pieces that are written ahead of the step that is traced."""


class Grown(NamedTuple):
    """A `Cache` without spare room, so that its length is its shape's."""

    key: Tensor
    value: Tensor

    @property
    def length(self) -> int:
        return self.key.shape[2]

    @property
    def filled(self) -> tuple[Tensor, Tensor]:
        return self.key, self.value

    def extended(self, key: Tensor, value: Tensor) -> Grown:
        return Grown(torch.cat([self.key, key], 2), torch.cat([self.value, value], 2))


def grown(state: Any) -> Any:
    """The state with such caches."""
    if not hasattr(state, "caches"):
        return state
    return state._replace(caches=tuple(Grown(*one.filled) if isinstance(one, Cache) else one for one in state.caches))


def named(state: Any, name: str = "") -> dict[str, Tensor]:
    """The tensors of a state by where they stand, in order."""
    if isinstance(state, Tensor):
        return {name: state}
    if not isinstance(state, tuple):
        return {}
    keys = getattr(state, "_fields", range(len(state)))
    found: dict[str, Tensor] = {}
    for key, value in zip(keys, state, strict=True):
        found |= named(value, f"{name}_{key}" if name else str(key))
    return found


def filled(like: Any, tensors: list[Tensor]) -> Any:
    """The state that looks like this one, of these tensors, which are taken from the list."""
    if isinstance(like, Tensor):
        return tensors.pop(0)
    if not isinstance(like, tuple):
        return like
    parts = [filled(value, tensors) for value in like]
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)


class Start(nn.Module):
    """Pieces ``(B, S)`` and where they count to the state, its tensors in order, but for that mask."""

    def __init__(self, line: Any) -> None:
        super().__init__()
        self.line = line

    def state(self, ids: Tensor, mask: Tensor) -> Any:
        latent = self.line.encode(Batch(ids, x_mask=mask), noise=torch.zeros_like)[2]
        return grown(self.line.decoder.start(latent))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return tuple(value for name, value in named(self.state(ids, mask)).items() if name != "mask")


class Step(nn.Module):
    """What was written last ``(B,)`` and the state to log p of the next ``(B, K + 1)`` and what changed of it."""

    def __init__(self, line: Any, like: Any) -> None:
        super().__init__()
        self.line, self.like = line, like

    def forward(self, previous: Tensor, state: list[Tensor]) -> tuple[Tensor, ...]:
        logits, after = self.line.decoder.step(previous, filled(self.like, list(state)))
        unknown = torch.arange(logits.shape[-1], device=logits.device) == 0  # which is never written
        log_p = logits.masked_fill(unknown, -torch.inf).log_softmax(-1)
        return (log_p, *(value for name, value in named(after).items() if changes(name)))


def changes(name: str) -> bool:
    """Whether a step gives it anew."""
    return name.split("_")[0] in ("hidden", "feed", "caches")


def axes_of(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The free axes of each: rows, the source's length, and what was written so far."""
    lengths = {"caches": (0, 2), "memory": (0, 2), "keys": (0, 1), "mask": (0, 1)}
    found = {name: lengths.get(name.split("_")[0], (0,)) for name in state}
    return {name: (0, 1) if name == "memory" else axes for name, axes in found.items()}


@torch.no_grad()
def text_plan(own: Any, model: Any, X: Any, method: str) -> Plan:
    """``start`` or ``step``; ``model`` is the line as it was, against which the copy in ``own`` is checked."""
    ids, mask = _pieces(own, X)
    start, notes = Start(own.module_), _notes(own)
    if method == "start":
        names = tuple(name for name in named(start.state(ids, mask)) if name != "mask")

        @torch.no_grad()
        def begun(given: Inputs) -> tuple[np.ndarray, ...]:
            return tuple(value.numpy() for value in Start(model)(given["ids"], given["mask"]))

        others = {"ids": shorter(ids, {1: 2}), "mask": shorter(mask, {1: 2})}
        free: dict[str, tuple[int, ...]] = {"ids": (0, 1), "mask": (0, 1)}
        return Plan(start, {"ids": ids, "mask": mask}, free, names, begun, (others,), notes=notes)
    like = start.state(ids, mask)
    inputs, first = _after_some(Start(model).state(ids, mask), model, like), named(like)

    @torch.no_grad()
    def stepped(given: Inputs) -> tuple[np.ndarray, ...]:
        previous, *state = given.values()
        return tuple(value.numpy() for value in Step(model, like)(previous, state))

    free = {"previous": (0,), **axes_of(first)}
    begin = {"previous": torch.full_like(inputs["previous"], own.module_.target.classes + 1), **first}
    outputs = ("log_probabilities", *(f"next_{name}" for name in first if changes(name)))
    return Plan(Step(own.module_, like), inputs, free, outputs, stepped, (begin,), notes=notes)


def _after_some(state: Any, model: Any, like: Any) -> Inputs:
    """A state in the midst of writing, and what was written last."""
    n, begin = len(next(iter(named(state).values()))), model.target.classes + 1
    previous = torch.full((n,), begin)
    for _ in range(WRITTEN):
        logits, state = model.decoder.step(previous, state)
        previous = logits.argmax(-1)
    return {"previous": previous, **named(state)}


def _pieces(own: Any, X: Any) -> tuple[Tensor, Tensor]:
    """Classes of the sources' pieces, and where they count."""
    if X is None:
        known = own.module_.space.classes
        ids = torch.randint(0, known, (8, LENGTH), generator=torch.Generator().manual_seed(0))
        return ids, torch.arange(LENGTH) < torch.arange(LENGTH - 7, LENGTH + 1).unsqueeze(1)
    read = own._text_sources(X) if hasattr(own, "source_tokenizer_") else own._read_texts(X, False, "X")
    return read[0][:CHECKED], read[1][:CHECKED]


def _notes(own: Any) -> dict[str, str]:
    """What a program needs besides: which class begins and ends a text, and how texts are cut."""
    classes = own.module_.target.classes
    notes = {"end": str(classes), "begin": str(classes + 1)}
    notes["max_length"] = str(getattr(own, "max_length_", own._longest))
    for name in ("source_tokenizer_", "target_tokenizer_", "tokenizer_"):
        tokenizer: Any = getattr(own, name, None)
        if hasattr(tokenizer, "to_json"):
            notes[name.rstrip("_")] = json.dumps(tokenizer.to_json())
    return notes
