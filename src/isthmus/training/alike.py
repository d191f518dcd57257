"""The recorded steps of several models as one graph, in which the numbers that differ are arguments.

Two steps are alike where their records are the same operations on tensors of the same shapes, but for numbers: the
strength of a corruption, a variance, a decay. Each number that differs becomes a tensor, and so does each random draw,
so that what is left is a function of tensors alone, which can be run over stacked ones.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from isthmus.errors import UnsupportedError
from isthmus.optimizers import Memory, Optimizer
from isthmus.training.compiled import written_out
from isthmus.training.feed import padded
from isthmus.training.graph import Recorder, put_back
from isthmus.training.loop import Loop
from isthmus.training.numbers import arguments, free, is_number, of_tensors, put
from isthmus.training.step import eager_step, moved_by, present

__all__ = ["Draw", "Record", "record", "tensors_of", "united"]

_ATEN = torch.ops.aten
Fill = Callable[[Tensor, torch.Generator], Any]
"""Writes random numbers from a generator into a tensor."""


class Draw(NamedTuple):
    """Random numbers that a step asks for."""

    shape: torch.Size
    dtype: torch.dtype
    fill: Fill


class Record(NamedTuple):
    """A model's step: its operations, the names of the terms that it gives in one row, and its draws in order.

    Steps of the same ``form`` are alike. ``moves`` says that the optimiser is among the operations; else they end
    with the gradients, which follow the row of terms. ``size``: rows to which its batches are padded, None where they
    are not.
    """

    graph: fx.Graph
    moves: bool
    names: list[str]
    draws: list[Draw]
    form: Hashable
    size: int | None


def tensors_of(loop: Loop, moves: bool) -> list[Tensor]:
    """All that a step reads and moves besides its batch and its learning rate."""
    return moved_by(loop.step, loop.state.memory if moves else {})


def record(loop: Loop, moves: bool, size: int | None = None) -> Record:
    """The loop's step, of a batch that is padded to this size; but for torch's generator all is left as it was.

    Raises
    ------
    UnsupportedError
        Where the step cannot be recorded, or draws in a way that cannot be drawn ahead of it.
    """
    loop.step.train()
    tensors, rate, batch = tensors_of(loop, moves), loop.state.learning_rate, loop.source.first()
    batch = batch if size is None else padded(batch, size)
    inputs = [*present(batch), rate, *tensors]
    end = _End()
    run = eager_step(loop.step, loop.optimizer if moves else end, loop.state.memory, loop.clip_norm, loop.precision)
    with put_back(tensors), _Shaped(inputs) as recorder:
        terms = run(batch, rate)
        row = torch.stack(list(terms.values()))
    if recorder.obstacle is not None:
        raise UnsupportedError(recorder.obstacle)
    graph, names = recorder.graph([row, *end.gradients]), tuple(terms)
    draws, form = list(_draws(graph)), (_form(graph), moves, names, tuple(map(_kind, inputs)))
    if size is not None and any(draw.shape[0] % size for draw in draws):
        raise UnsupportedError("it draws otherwise than row by row")
    return Record(graph, moves, list(names), draws, form, size)


class _End(Optimizer):
    """In an optimiser's place: keeps the gradients and moves nothing."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []

    def update(self, parameters: list[Tensor], gradients: list[Tensor], state: Memory, learning_rate: Tensor) -> None:
        self.gradients = gradients


class _Shaped(Recorder):
    """A record that keeps the shape and the type of each result."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = super().__torch_dispatch__(operation, types, args, kwargs)
        if isinstance(results, Tensor):
            self._nodes[results].meta["kind"] = _kind(results)
        return results


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


# ---------------------------------------------------------------------- what is random

_FILLS: dict[Any, Callable[..., Fill]] = {
    _ATEN.randn_like.default: lambda: lambda out, generator: out.normal_(generator=generator),
    _ATEN.bernoulli_.float: lambda p=0.5: lambda out, generator: out.bernoulli_(p, generator=generator),
    getattr(_ATEN.random_, "from"): lambda low, high: (
        lambda out, generator: out.random_(low, high, generator=generator)
    ),
}
"""Of an operation's arguments after the first, what draws as it does."""


def _is_draw(node: fx.Node) -> bool:
    target: Any = node.target
    return isinstance(target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in target.tags


def _draws(graph: fx.Graph) -> Iterator[Draw]:
    for node in filter(_is_draw, graph.nodes):
        if node.target not in _FILLS:
            raise UnsupportedError(f"{node.target} draws in a way of its own")
        shape, dtype = node.meta["kind"]
        yield Draw(shape, dtype, _FILLS[node.target](*node.args[1:]))


# ---------------------------------------------------------------------- what may differ


def _form(graph: fx.Graph) -> Hashable:
    """The operations as text, but for the numbers that may differ."""
    place = {node: number for number, node in enumerate(graph.nodes)}

    def told(value: Any, may_differ: bool = False) -> str:
        if isinstance(value, fx.Node):
            return f"%{place[value]}"
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(told, value))}]"
        return "#" if may_differ and is_number(value) else repr(value)

    def line(node: fx.Node) -> str:
        if not isinstance(node.target, torch._ops.OpOverload):
            return f"{node.op} {node.target} {told(node.args)}"
        if _is_draw(node):
            return f"{node.target} {node.meta['kind']}"
        names = free(node.target)
        return f"{node.target} {[told(value, name in names) for name, value in arguments(node).items()]}"

    return tuple(map(line, graph.nodes))


def united(records: Sequence[Record]) -> tuple[fx.Graph, list[list[float]]]:
    """One graph for all records of a form, and of each model the numbers that it takes.

    Its arguments are those of the records, the numbers that differ, and the draws.
    """
    graph, columns = records[0].graph, list[list[float]]()
    first = next(node for node in graph.nodes if node.op != "placeholder")

    def argument(name: str) -> fx.Node:
        with graph.inserting_before(first):
            return graph.placeholder(name)

    for nodes in zip(*[list(one.graph.nodes) for one in records], strict=True):
        if not isinstance(nodes[0].target, torch._ops.OpOverload) or _is_draw(nodes[0]):
            continue
        for name in free(nodes[0].target):
            values = [arguments(node)[name] for node in nodes]
            if is_number(values[0]) and len(set(values)) > 1:
                put(nodes[0], name, argument(f"number_{len(columns)}"))
                columns.append([float(value) for value in values])
    for number, node in enumerate(list(filter(_is_draw, graph.nodes))):
        node.replace_all_uses_with(argument(f"draw_{number}"))
        graph.erase_node(node)
    graph = written_out(graph)
    of_tensors(graph)
    return graph, [list(row) for row in zip(*columns, strict=True)] or [[] for _ in records]
