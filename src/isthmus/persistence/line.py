"""The line of a trained model: as data, and built again from data."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from isthmus.errors import FileError
from isthmus.model import EncoderDecoder
from isthmus.part import Part, built
from isthmus.persistence.data import Tensors
from isthmus.spec import from_spec, to_spec
from isthmus.training.rng import isolated_rng
from isthmus.types import Space

__all__ = ["describe_line", "rebuild_line"]

SPARE = 64
"""Parameters that a part may make and let go."""
REHEARSED = 2**14
"""Numbers of a sample, at most, where a loaded line is rehearsed."""
PLACES = ("scaler", "corruption", "encoder", "bottleneck", "decoder", "loss")
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def describe_line(model: EncoderDecoder, prefix: str, tensors: Tensors) -> dict[str, Any]:
    """Parts, spaces and precision; the weights go into ``tensors``.

    Raises
    ------
    FileError
        Where the description does not build a line with these very tensors again (a part whose ``build``
        is not decided by its arguments and spaces alone).
    """
    line = {
        "space": _from_space(model.space),
        "target": _from_space(model.target),
        "scales_target": model.scales_target,
        "latent_dim": built(model.bottleneck).shape[-1],
        "dtype": str(model.dtype).removeprefix("torch."),
        "parts": {place: to_spec(getattr(model, place)) for place in PLACES},
    }
    weights = {prefix + name: value.detach() for name, value in model.state_dict().items()}
    _compare(_outline(line, [type(part) for part in model.modules() if isinstance(part, Part)]), weights, prefix)
    tensors.update(weights)
    return line


def rebuild_line(line: Any, prefix: str, tensors: Tensors, parts: Sequence[type]) -> EncoderDecoder:
    """The line with its weights, on the CPU; its tensors are taken out of ``tensors``.

    It is first built without memory (on torch's meta device) and compared with what the file holds, so
    that no shape of a file is ever allocated that the file does not fill.
    """
    with at_most(2 * len(tensors) + SPARE):
        outline = _outline(line, parts)
    _compare(outline, tensors, prefix)
    with isolated_rng(0):
        model = _parts(EncoderDecoder if _is_small(line) else _Outline, line, parts).build(*_spaces(line))
    model.__class__ = EncoderDecoder
    _cast(model, line)
    model.load_state_dict({name: tensors.pop(prefix + name) for name in outline.state_dict()})
    return model.eval()


@contextmanager
def at_most(n: int) -> Iterator[None]:
    """Raise `FileError` where more parameters than n, or many more modules, are made: a count that a file enlarged."""
    made, here = {"parameters": 0, "modules": 0}, threading.get_ident()

    def count(kind: str, limit: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            made[kind] += threading.get_ident() == here
            if made[kind] > limit:
                raise FileError(f"spec.json describes more than {limit} {kind}, and model.safetensors holds far fewer")

        return hook

    hooks = [
        register_module_parameter_registration_hook(count("parameters", n)),
        register_module_module_registration_hook(count("modules", 16 * n)),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_small(line: dict[str, Any]) -> bool:
    """Whether two rows can be sent through without a thought of memory; a file may say any size."""
    return all(math.prod(length or 5 for length in space.shape) <= REHEARSED for space in _spaces(line)[:2])


class _Outline(EncoderDecoder):
    """The line without its rehearsal, which needs numbers."""

    def _rehearse(self) -> None:
        """Nothing: shapes alone are wanted."""


def _outline(line: dict[str, Any], parts: Sequence[type]) -> EncoderDecoder:
    with torch.device("meta"):
        return _cast(_parts(_Outline, line, parts).build(*_spaces(line)), line)


def _parts(cls: type[EncoderDecoder], line: dict[str, Any], parts: Sequence[type]) -> EncoderDecoder:
    chosen = {place: from_spec(line["parts"][place], parts) for place in PLACES}
    for place, part in chosen.items():
        if part is None and place in ("scaler", "corruption"):
            continue
        if not isinstance(part, Part) or part.kind != place:
            raise FileError(f"spec.json: the {place} must be a part of that kind, got {type(part).__name__}")
        for name in part.first_weights:
            setattr(part, name, None)
    return cls(**chosen)


def _spaces(line: dict[str, Any]) -> tuple[Space, Space, int | None, bool | None]:
    width = line["latent_dim"]
    if width is not None and not _whole(width, 1):
        raise FileError(f"spec.json: latent_dim must be a whole number or null, got {width!r}")
    scales = line.get("scales_target")  # not written by the first models
    if scales not in (True, False, None):
        raise FileError(f"spec.json: scales_target must be true or false, got {scales!r}")
    return _to_space(line["space"]), _to_space(line["target"]), width, scales


def _cast(model: EncoderDecoder, line: dict[str, Any]) -> EncoderDecoder:
    if line["dtype"] not in DTYPES:
        raise FileError(f"spec.json: dtype must be one of {sorted(DTYPES)}, got {line['dtype']!r}")
    return model.double() if line["dtype"] == "float64" else model


def _compare(model: EncoderDecoder, tensors: Tensors, prefix: str) -> None:
    """Names, shapes and dtypes of the model against the tensors."""
    for name, wanted in model.state_dict().items():
        got = tensors.get(prefix + name)
        if got is None:
            raise FileError(f"model.safetensors lacks the tensor {prefix + name!r}")
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            raise FileError(
                f"model.safetensors: {prefix + name!r} must be {tuple(wanted.shape)} {wanted.dtype}, "
                f"got {tuple(got.shape)} {got.dtype}"
            )


def _from_space(space: Space) -> dict[str, Any]:
    return {**space._asdict(), "shape": list(space.shape), "skips": [_from_space(skip) for skip in space.skips]}


def _to_space(data: Any) -> Space:
    space = Space(tuple(data["shape"]), data["classes"], tuple(map(_to_space, data["skips"])), data["condition"])
    lengths = [length for length in (*space.shape, space.classes) if length is not None]
    if not all(_whole(length, 1) for length in lengths) or not _whole(space.condition, 0):
        raise FileError(f"spec.json: not the space of a sample: {data}")
    return space


def _whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low
