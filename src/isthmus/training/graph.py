"""A traced graph without the work that leaves no mark, as a plain function of flat arguments."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, fx

__all__ = ["simplify"]

_ATEN = torch.ops.aten


def simplify(graph: fx.GraphModule) -> Callable[..., list[Tensor]]:
    """Flat inputs to flat outputs, the same bits from fewer operations.

    Removed are what nobody reads (a posterior's log-ratio in the training of an ELBO), ``detach``, which
    says nothing where no gradient is recorded, and a transpose of a transpose. Kept is whatever
    writes in place or draws random numbers, read or not.
    """
    for node in graph.graph.nodes:
        if node.target is _ATEN.detach.default:
            node.replace_all_uses_with(node.args[0])
        elif node.target is _ATEN.t.default and node.args[0].target is _ATEN.t.default:
            node.replace_all_uses_with(node.args[0].args[0])
    graph.graph.eliminate_dead_code(_leaves_a_mark)
    for node in graph.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload):
            node.target = _bound(node.target)
    graph.graph.set_codegen(fx.graph.CodeGen())  # type: ignore[no-untyped-call]
    graph.recompile()
    run: Callable[..., list[Tensor]] = graph.forward
    return run


def _leaves_a_mark(node: fx.Node) -> bool:
    if node.op in ("placeholder", "output"):
        return True
    if node.op == "get_attr" or node.target is operator.getitem:
        return False
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return True
    return target._schema.is_mutable or torch.Tag.nondeterministic_seeded in target.tags


@cache
def _bound(target: Any) -> Any:
    """The operator's C function under a name of its own, so that a call looks nothing up (2 µs each)."""
    call: Any = partial(target._op)
    call.__module__, call.__name__ = __name__, str(target).replace(".", "_")
    return call
