"""The operations of a step, written down as they run, less those that leave no mark; then run again."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["Recorder", "put_back", "replayed"]

_ATEN = torch.ops.aten
_OF_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Recorder(TorchDispatchMode):
    """Writes down every operation that runs inside it, below autograd: a backward pass is one list with the rest.

    Parameters
    ----------
    tensors : sequence of Tensor
        All that may be read besides the operations' own results: the arguments of `replayed`'s function.

    Attributes
    ----------
    obstacle : str or None
        Why the record cannot stand for another run, if it cannot.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__()
        self.obstacle: str | None = None
        self._graph = fx.Graph()
        self._nodes = WeakTensorKeyDictionary()
        for i, tensor in enumerate(tensors):
            self._nodes[tensor] = self._graph.placeholder(f"given_{i}")

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler (a second and more) to keep it away from this class

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _looks_at_values(operation, args):
            self.obstacle = f"{operation} looks at a tensor's values"
        node = self._graph.create_node(
            "call_function", operation, map_aggregate(args, self._node), map_aggregate(kwargs, self._node)
        )
        results = operation(*args, **kwargs)
        if isinstance(results, Tensor):
            self._nodes[results] = node
            node.meta["bytes"] = results.nbytes
        elif isinstance(results, (tuple, list)):
            for i, result in enumerate(results):
                if isinstance(result, Tensor):  # None: a gradient that nobody asked for
                    self._nodes[result] = self._graph.call_function(operator.getitem, (node, i))
        return results

    def _node(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value not in self._nodes:
            self.obstacle = f"a tensor {tuple(value.shape)} is neither parameter, buffer nor made in the step"
            return None
        return self._nodes[value]

    def graph(self, outputs: Sequence[Tensor]) -> fx.Graph:
        """The record, without what leaves no mark.

        The bits are the same from fewer operations. Removed are what nobody reads (a posterior's
        log-ratio in the training of an ELBO), ``detach``, which says nothing where no gradient is
        recorded, and a transpose of a transpose. Kept is whatever writes in place or draws random
        numbers, read or not.
        """
        graph = self._graph
        graph.output([self._node(output) for output in outputs])
        for node in graph.nodes:
            if node.target is _ATEN.detach.default:
                node.replace_all_uses_with(node.args[0])
            elif node.target is _ATEN.t.default and node.args[0].target is _ATEN.t.default:
                node.replace_all_uses_with(node.args[0].args[0])
        graph.eliminate_dead_code(_leaves_a_mark)
        return graph


@contextmanager
def put_back(tensors: Sequence[Tensor]) -> Iterator[None]:
    """What runs inside may move the tensors in place; at the end they are what they were."""
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)


def replayed(graph: fx.Graph) -> Callable[..., list[Tensor]]:
    """What runs the graph, its operations one after the other."""
    for node in graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload):
            node.target = _bound(node.target)
    run: Callable[..., list[Tensor]] = fx.GraphModule({}, graph).forward
    return run


def _looks_at_values(operation: Any, args: Any) -> bool:
    if operation is _ATEN.index.Tensor:
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return not _OF_VALUES.isdisjoint(operation.tags)


def _leaves_a_mark(node: fx.Node) -> bool:
    if node.op in ("placeholder", "output"):
        return True
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    return target._schema.is_mutable or torch.Tag.nondeterministic_seeded in target.tags


@cache
def _bound(target: Any) -> Any:
    """The operator's C function under a name of its own, so that a call looks nothing up (2 µs each)."""
    call: Any = partial(target._op)
    call.__module__, call.__name__ = __name__, str(target).replace(".", "_")
    return call
