"""The recorded step, forward, backward and optimiser, as one compiled function.

The graph is that of `Recorder`. Optimisers update all parameters in one fused call, which the compiler cannot look
into; here it is written out, so that it becomes part of the loops around it. Random numbers are PyTorch's own
(``fallback_random``), so a compiled step draws what a step as written draws. The kernels are called from C++, not from
Python (``cpp_wrapper``), and the processor's flags are taken at their word, which PyTorch's compiler would try one by
one by programs that it builds.
"""

from __future__ import annotations

import logging
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from math import inf, log
from typing import Any

import torch
from torch import Tensor, fx

from isthmus.nn.dropout import FULL_RANGE
from isthmus.training.code_folder import code_folder, kept_in
from isthmus.training.graph import replayed

__all__ = ["compiled", "compiled_or_replayed", "written_out"]

logger = logging.getLogger("isthmus")

_ATEN = torch.ops.aten
Call = Callable[..., fx.Node]
Compiled = Callable[..., Sequence[Tensor]]


def compiled_or_replayed(graph: fx.Graph, inputs: Sequence[Tensor], what: str = "the step") -> tuple[Compiled, str]:
    """The graph as compiled code; where that fails its replay, and the reason, which is logged."""
    started = time.perf_counter()
    try:
        found = compiled(graph, inputs)
    except Exception as error:  # of many kinds, by torch's compiler and by that of C++
        reason = f"{type(error).__name__}: {error}"
        logger.warning("%s cannot be compiled and is replayed: %s", what, reason)
        return replayed(graph), reason
    logger.info("%s is compiled, in %.1f s", what, time.perf_counter() - started)
    return found, ""


def compiled(graph: fx.Graph, inputs: Sequence[Tensor]) -> Compiled:
    """The graph as compiled code, of inputs like these; it moves them in place as the graph does.

    The code is kept on disk, in a folder of its own (`code_folder`). What stands there and cannot be used, a torn
    file, is built anew.

    Raises
    ------
    Exception
        Of the compiler's, of many kinds: where there is no C++ compiler, or it cannot read an operation.
    """
    graph = _with_named_draws(written_out(graph))
    settings = {
        "fallback_random": True,
        "cpp_wrapper": True,
        "cpp_cache_precompile_headers": False,
        "cpp.vec_isa_ok": True,
        "cpp.threads": torch.get_num_threads(),
    }
    folder = code_folder(graph, inputs, settings)
    stood = folder.exists()
    try:
        return _built(graph, inputs, settings, str(folder))
    except Exception as error:
        if not stood:
            raise
        logger.warning("compiled code in %s cannot be used and is built anew: %s", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return _built(graph, inputs, settings, str(folder))


def _built(graph: fx.Graph, inputs: Sequence[Tensor], settings: dict[str, Any], folder: str) -> Compiled:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's compiler warns of parts of PyTorch
        from torch._inductor import config, standalone_compile

        with torch.no_grad(), kept_in(folder), config.patch(settings):
            artifact: Compiled = standalone_compile(
                fx.GraphModule({}, graph), list(inputs), dynamic_shapes="from_example_inputs"
            )
    return artifact


def written_out(given: fx.Graph) -> fx.Graph:
    """A copy of the graph in which an optimiser is the operations of its formula, not one fused call."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(given, {}))
    for node in list(graph.nodes):
        if node.op == "call_function" and (formula := _OPTIMIZERS.get(node.target)) is not None:
            with graph.inserting_before(node):
                formula(node, lambda op, *args: graph.call_function(op, args))
            graph.erase_node(node)
    return graph


def _with_named_draws(graph: fx.Graph) -> fx.Graph:
    """The graph, whose draws of whole numbers over all 64 bits go by a name that Python can read back."""
    for node in list(graph.nodes):
        if node.target is getattr(_ATEN.random_, "from") and node.args[1:] == FULL_RANGE:
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.call_function(torch.ops.isthmus.draws.default, node.args[:1]))
            graph.erase_node(node)
    return graph


torch.library.define("isthmus::draws", "(Tensor like) -> Tensor", tags=torch.Tag.nondeterministic_seeded)


@torch.library.impl("isthmus::draws", "CPU")
def _draws(like: Tensor) -> Tensor:
    """``like.random_(-(2**63), None)``, into a new tensor.

    PyTorch calls that operation ``from``, a word of Python, and writes its first number so that C++ cannot read it.
    """
    return torch.empty_like(like).random_(*FULL_RANGE)


@torch.library.register_fake("isthmus::draws")  # type: ignore[untyped-decorator]
def _drawn(like: Tensor) -> Tensor:
    return torch.empty_like(like)


def _adam(node: fx.Node, call: Call, decoupled: bool = False) -> None:
    """W ← W − η m̂ / (√v̂ + ε) as `Adam` and `AdamW` state it, the corrections of bias in 64 bits."""
    given: tuple[Any, ...] = node.args
    parameters, gradients, means, squares, _, steps = given[:6]
    settings: dict[str, Any] = node.kwargs
    beta1, beta2, decay, rate = (settings[name] for name in ("beta1", "beta2", "weight_decay", "lr"))
    corrections: dict[fx.Node, tuple[fx.Node, fx.Node]] = {}
    for w, g, m, v, step in zip(parameters, gradients, means, squares, steps, strict=True):
        if step not in corrections:
            first, second = (_left_of_one(beta, _double(step, call), call) for beta in (beta1, beta2))
            corrections[step] = call(_ATEN.div.Tensor, rate, first), call(_ATEN.sqrt.default, second)
        scaled_rate, root = corrections[step]
        if decay and not decoupled:
            g = call(_ATEN.add.Tensor, g, call(_ATEN.mul.Scalar, w, decay))
        start = (
            call(_ATEN.sub.Tensor, w, call(_ATEN.mul.Tensor, call(_ATEN.mul.Scalar, w, decay), rate))
            if decoupled
            else w
        )
        mean = call(_ATEN.add.Tensor, call(_ATEN.mul.Scalar, m, beta1), call(_ATEN.mul.Scalar, g, 1 - beta1))
        square = call(_ATEN.mul.Scalar, call(_ATEN.mul.Tensor, g, g), 1 - beta2)
        square = call(_ATEN.add.Tensor, call(_ATEN.mul.Scalar, v, beta2), square)
        below = call(_ATEN.div.Tensor, call(_ATEN.sqrt.default, square), root)
        change = call(_ATEN.div.Tensor, mean, call(_ATEN.add.Scalar, below, settings["eps"]))
        moved = call(_ATEN.sub.Tensor, start, call(_ATEN.mul.Tensor, change, scaled_rate))
        for old, new in ((m, mean), (v, square), (w, moved)):
            call(_ATEN.copy_.default, old, new)


def _adamw(node: fx.Node, call: Call) -> None:
    _adam(node, call, decoupled=True)


def _sgd(node: fx.Node, call: Call) -> None:
    """W ← W − η v as `SGD` states it."""
    given: tuple[Any, ...] = node.args
    parameters, gradients, velocities = given[:3]
    settings: dict[str, Any] = node.kwargs
    momentum, decay, rate = settings["momentum"], settings["weight_decay"], settings["lr"]
    for number, (w, g) in enumerate(zip(parameters, gradients, strict=True)):
        if decay:
            g = call(_ATEN.add.Tensor, g, call(_ATEN.mul.Scalar, w, decay))
        if momentum:
            velocity = call(_ATEN.add.Tensor, call(_ATEN.mul.Scalar, velocities[number], momentum), g)
            call(_ATEN.copy_.default, velocities[number], velocity)
            ahead = call(_ATEN.add.Tensor, g, call(_ATEN.mul.Scalar, velocity, momentum))
            g = ahead if settings["nesterov"] else velocity
        call(_ATEN.copy_.default, w, call(_ATEN.sub.Tensor, w, call(_ATEN.mul.Tensor, g, rate)))


def _left_of_one(beta: float, step: fx.Node, call: Call) -> fx.Node:
    """1 − βᵗ, the power as exp(t ln β): PyTorch's compiler works that out once, a power for every 16 weights."""
    logarithm = log(beta) if beta else -inf
    return call(_ATEN.rsub.Scalar, call(_ATEN.exp.default, call(_ATEN.mul.Scalar, step, logarithm)), 1)


def _double(node: Any, call: Call) -> fx.Node:
    return call(torch.ops.prims.convert_element_type.default, node, torch.float64)


_OPTIMIZERS: dict[Any, Callable[[fx.Node, Call], None]] = {
    _ATEN._fused_adam_.tensor_lr: _adam,
    _ATEN._fused_adamw_.tensor_lr: _adamw,
    _ATEN._fused_sgd_.tensor_lr: _sgd,
}
