"""Which numbers of a recorded step can be tensors, and the operations that take them so."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

__all__ = ["arguments", "free", "is_number", "of_tensors", "put"]

_ATEN = torch.ops.aten
_BOTH = "add sub mul div rsub lt le gt ge eq ne add_ sub_ mul_ div_ lt_ le_ gt_ ge_"
_TWINS: dict[Any, Any] = {getattr(_ATEN, name).Scalar: getattr(_ATEN, name).Tensor for name in _BOTH.split()}
_TWINS[_ATEN.pow.Scalar] = _ATEN.pow.Tensor_Tensor
"""An operation of a number, and the same of a tensor."""
_SETTINGS: dict[Any, list[str]] = {
    _ATEN._fused_adam_.tensor_lr: ["weight_decay", "eps"],
    _ATEN._fused_adamw_.tensor_lr: ["weight_decay", "eps"],
    _ATEN._fused_sgd_.tensor_lr: ["weight_decay"],
    _ATEN.masked_fill.Scalar: ["value"],
    _ATEN.full_like.default: ["fill_value"],
    _ATEN.new_full.default: ["fill_value"],
    _ATEN.clamp.default: ["min"],
}
"""Other numbers, for which `of_tensors` (or `written_out`) has a formula."""


def arguments(node: fx.Node) -> dict[str, Any]:
    """All arguments of an operation by name, those that were left out too."""
    schema: Any = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip((one.name for one in schema), node.args, strict=False)) | node.kwargs
    return {one.name: given.get(one.name, one.default_value) for one in schema}


def free(target: Any) -> list[str]:
    """The arguments of an operation that may be a tensor where they are a number."""
    schema = target._schema.arguments
    wide = ("Tensor", "number") if target in _TWINS else ("Tensor",)
    found = [one.name for one in schema if str(one.type) in wide or one.name == "alpha"]
    return found + _SETTINGS.get(target, [])


def is_number(value: Any) -> bool:
    """Whether it is one, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def put(node: fx.Node, name: str, value: fx.Node) -> None:
    """Give an operation this for its argument of that name."""
    schema: Any = node.target._schema.arguments  # type: ignore[union-attr]
    position = [one.name for one in schema].index(name)
    if position < len(node.args):
        node.update_arg(position, value)
    else:
        node.update_kwarg(name, value)


def of_tensors(graph: fx.Graph) -> None:
    """Replace the operations that were given a tensor for a number by those that take one.

    A view becomes a reshape where nothing is written through it, since stacked tensors may lie otherwise in memory.
    """
    written = _written_through(graph)
    for node in list(graph.nodes):
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        given = arguments(node)
        kinds = {one.name: str(one.type) for one in node.target._schema.arguments}
        now_tensors = {
            name for name in free(node.target) if kinds[name] != "Tensor" and isinstance(given[name], fx.Node)
        }

        def ahead(target: Any, *args: Any, node: fx.Node = node) -> fx.Node:
            with graph.inserting_before(node):
                return graph.call_function(target, args)

        if "alpha" in now_tensors:
            node.args, node.kwargs = (given["self"], ahead(_ATEN.mul.Tensor, given["other"], given["alpha"])), {}
        if "fill_value" in now_tensors:
            size = [given["size"]] if "size" in given else []
            zeros = ahead(_ATEN.new_zeros.default if size else _ATEN.zeros_like.default, given["self"], *size)
            node.target, node.args, node.kwargs = _ATEN.add.Tensor, (zeros, given["fill_value"]), {}
        elif "value" in now_tensors:
            value = ahead(_ATEN.add.Tensor, ahead(_ATEN.zeros_like.default, given["self"]), given["value"])
            node.target, node.args, node.kwargs = _ATEN.where.self, (given["mask"], value, given["self"]), {}
        elif "min" in now_tensors and given["max"] is not None:
            raised = ahead(_ATEN.maximum.default, given["self"], given["min"])
            node.target, node.args, node.kwargs = _ATEN.clamp_max.default, (raised, given["max"]), {}
        elif "min" in now_tensors:
            node.target, node.args, node.kwargs = _ATEN.maximum.default, (given["self"], given["min"]), {}
        elif now_tensors and node.target in _TWINS:
            node.target = _TWINS[node.target]
        elif node.target is _ATEN.view.default and node not in written:
            node.target = _ATEN.reshape.default
        elif node.target is torch.ops.prims.convert_element_type.default:
            node.target, node.args, node.kwargs = _ATEN._to_copy.default, (given["a"],), {"dtype": given["dtype"]}


def _written_through(graph: fx.Graph) -> set[fx.Node]:
    """The operations whose result is written into, or a view of it is."""
    found = set[fx.Node]()
    for node in graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable:
            behind = node.args[0]
            while isinstance(behind, fx.Node) and behind.op == "call_function":
                found.add(behind)
                behind = behind.args[0] if behind.args else None
    return found
