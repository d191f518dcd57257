"""compile="auto": how the steps of a run are taken, decided once by what is trained and how long, never by a clock.

Compiling is chosen where what it saves over the planned steps is more than `MARGIN` times the cold build, as if nothing
were on disk: the same call takes the same way, and so has the same bits. Both are read from the record of one step.
What compiling saves are the calls of the operations and the way of their results through memory, where several
become one loop; products of matrices and convolutions are the same before and after. The constants are rounded to the
unfavourable side of what `benchmarks/engine.py` measured.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import fx

from isthmus.errors import ParameterError

if TYPE_CHECKING:
    from isthmus.training.loop import Loop

__all__ = [
    "AS_WRITTEN",
    "COMPILED",
    "REPLAYED",
    "Decision",
    "by_the_record",
    "by_the_run",
    "cost_of_building",
    "saved_a_step",
    "size_of",
]

AS_WRITTEN, REPLAYED, COMPILED = "run as written", "are replayed", "are compiled"

LEAST_TO_REPLAY = 100
"""Steps: a replay saves a quarter of a millisecond or more in each, a record costs some ten."""
LEAST_TO_RECORD_AHEAD = 1000
"""Steps: with fewer no compilation pays, so that no step is recorded ahead of the first to ask."""
A_CALL, A_BYTE = 1.5e-6, 1 / 20e9
"""Seconds that compiling saves for each operation, and for each byte of a result that other operations can join."""
BUILD, BUILD_AN_OPERATION = 10.0, 0.2
"""Seconds of processor time of a cold build: in any case, and for each operation."""
MARGIN = 2
NO_FASTER: dict[Any, str] = {
    torch.ops.aten.native_batch_norm.default: "batch normalisation",
    torch.ops.aten.native_layer_norm.default: "layer normalisation",
    torch.ops.aten.unsafe_split.Tensor: "recurrent cells",
    getattr(torch.ops.aten.random_, "from"): "16-bit dropout",
}
"""Operations of the U-Net, the GRU and the Transformer whose compiled steps were no faster than replayed ones."""


class Decision(NamedTuple):
    """How steps are taken, and why."""

    way: str
    reason: str


def by_the_run(loop: Loop) -> Decision | None:
    """What a run's settings, parts and number of steps decide; None where the record of a step is needed."""
    if loop.compile in ("replay", True) and not loop.source.one_shape:
        given = repr(loop.compile)
        raise ParameterError(
            f"compile must be 'auto' or False for sequences, whose batches have many shapes, got {given}"
        )
    if loop.compile != "auto":
        return Decision({False: AS_WRITTEN, "replay": REPLAYED, True: COMPILED}[loop.compile], "as asked for")
    if loop.was_compiled:
        return Decision(COMPILED, "as before the run was stopped")
    if reason := _against_records(loop):
        return Decision(AS_WRITTEN, reason)
    if loop.was_compiled is False:
        return Decision(REPLAYED, "as before the run was stopped")
    if loop.total_steps < LEAST_TO_RECORD_AHEAD:
        return Decision(REPLAYED, f"since {loop.total_steps} steps are too few to compile")
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"):
        return Decision(REPLAYED, "since this processor has no vectors that compiling could use")
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return Decision(REPLAYED, "since there is no C++ compiler")
    return None


def _against_records(loop: Loop) -> str:
    """Why no record of a step is kept, "" where it may be."""
    given = {type(piece) for piece in [*loop.step.modules(), *loop.callbacks, loop.optimizer]}
    others = sorted(cls.__name__ for cls in given if not cls.__module__.startswith(("isthmus.", "torch.nn.")))
    if others:
        return f"since {', '.join(others)} may do more in Python than a record holds"
    if not loop.source.one_shape:
        return "since a record is of one shape, and batches of sequences have many"
    if loop.parameters[0].device.type != "cpu":
        return "since replays are held to the same bits on a CPU only"
    return "" if loop.total_steps >= LEAST_TO_REPLAY else f"since {loop.total_steps} steps are few"


def by_the_record(graph: fx.Graph, steps: int) -> Decision:
    """Compiled where that saves more than `MARGIN` times its cost over so many steps, replayed elsewhere."""
    if found := sorted({NO_FASTER[node.target] for node in graph.nodes if node.target in NO_FASTER}):
        return Decision(REPLAYED, f"since compiled steps with {', '.join(found)} were measured to be no faster")
    calls, joined = size_of(graph)
    saved, cost = steps * saved_a_step(calls, joined), cost_of_building(calls)
    told = f"compiling would save about {saved:.0f} s in {steps} steps and take about {cost:.0f} s"
    return Decision(COMPILED if saved > MARGIN * cost else REPLAYED, f"since {told}")


def size_of(graph: fx.Graph) -> tuple[int, int]:
    """Operations, and bytes of the results of those that work on each number by itself."""
    calls: list[Any] = [node for node in graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    joined = [node.meta.get("bytes", 0) for node in calls if torch.Tag.pointwise in node.target.tags]
    return len(calls), sum(joined)


def saved_a_step(calls: int, joined: int) -> float:
    """Seconds: of every call, and of the results that other operations can join, which then need not reach memory."""
    return calls * A_CALL + joined * A_BYTE


def cost_of_building(calls: int) -> float:
    """Seconds of processor time, with nothing on disk."""
    return BUILD + calls * BUILD_AN_OPERATION
