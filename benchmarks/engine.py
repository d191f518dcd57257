"""How fast a training step is beside the best hand-written eager loop: as written, replayed, compiled.

One process, the same allocator settings for all (glibc keeps freed memory), 32 bits, contestants in turn (A B A B …),
medians and quartiles over the rounds, ratios taken round by round. The hand-written loops are those of `speed`,
`conv_speed` and `seq_speed`: data resident as one tensor, `index_select` a batch, fused Adam,
``zero_grad(set_to_none=True)``, nothing read back; both layouts of memory are tried for convolutions and the faster
one is kept. Ours is the loop of `fit` with its data, without what `fit` does before the first step. Building compiled
code is counted apart, once with an empty folder and once from what that left.

* ``table_32``, ``table_256``: an autoencoder 30-64-32-64-30; ``vae_128``, ``vae_512``: 784-400-(20, 20)-400-784.
* ``conv_28``: 28 × 28, 32 and 64 channels, batch 128; ``unet_128``: 32 to 256 channels, 128 × 128, batch 8.
* ``gru``: 256 wide, additive attention; ``transformer``: 256 × 4 + 4, dropout by 16-bit draws. 128 pairs of 15
  pieces a batch, all of one length, since a record is of one shape.

Besides: the share of what a 2048 × 2048 product reaches; how far compiled steps come from steps as written with one
seed, and how far steps as written come from themselves with weights moved by 1e-7; from how many steps on
``compile="auto"`` compiles, and whether it is then, and for the fewest steps and for 1,000, at most 1.05 × the time of
steps as written + 0.5 s, by the times measured; and Lightning's Fabric and Trainer around our step, where they import.

    python benchmarks/engine.py --minutes 20 --threads 2
    taskset -c 1 python benchmarks/engine.py --minutes 20 --threads 1 --clock cpu    # on a busy machine

With ``--clock cpu`` the time of the compiler's own processes is counted in. Writes ``benchmarks/results/engine.json``
after each case; cases that stand there are kept unless ``--cases`` names them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import conv_speed
import numpy as np
import seq_speed
import speed
import torch
from conv_speed import spread
from timed import CLOCKS, machine

from isthmus.training import rule
from isthmus.training.allocator import keep_freed_memory
from isthmus.training.loop import Loop
from isthmus.training.profiling import within_fit
from isthmus.training.step import compiled_step
from isthmus.training.step_parts import gigaflops, matrix_peak
from isthmus.training.threads import fitting_threads

WAYS = {"isthmus": False, "isthmus_replay": "replay", "isthmus_compiled": True}
APART = ("isthmus", "isthmus_compiled")
STUDY = {
    "table_32": 3.44,
    "table_256": 2.04,
    "vae_128": 1.31,
    "vae_512": 1.13,
    "conv_28": 1.11,
    "gru": 1.20,
    "unet_128": 1.14,
    "transformer": 1.20,
}
"""Times as fast as the hand-written loop, compiled, in a study on two cores; in the order of their cost."""
MARK, ALIKE = 0.95, 1e-5
SLOWER, BESIDES = 1.05, 0.5
BESIDE_LIGHTNING = ("table_32", "table_256", "vae_128", "conv_28")


class Case(NamedTuple):
    """Our loop, untrained, for a setting of ``compile``; and seconds of so many epochs by hand."""

    loop: Callable[[bool | str], Loop]
    by_hand: Callable[[int, Callable[[], float]], float]


def case_of(name: str) -> Case:
    """By name."""
    kind, _, _ = name.partition("_")
    if kind in ("table", "vae"):
        (case,) = [case for case in speed.CASES if case.name == name]
        X = speed.rows_of(case.kind)
        return Case(partial(_loop, partial(speed.estimator, case, 10**6), X), partial(_less_start, _flat(case, X)))
    if kind in ("conv", "unet"):
        (case,) = [case for case in conv_speed.CASES if case.name == name]
        X = conv_speed.images(case)
        return Case(partial(_loop, partial(conv_speed.estimator, case, 10**6), X), _layouts(case, X))
    data = pairs()
    texts = seq_speed.written(data.sources), seq_speed.written(data.targets)
    rows = len(seq_speed.batches(data)[0][0])  # whose positions count an end, too

    def ours(compile: bool | str) -> Any:
        made = seq_speed.estimator(kind, data, 10**6, compile=compile, precision="32-true")
        return made.set_params(batch_tokens=rows * len(data.sources[0]))

    return Case(
        lambda compile: _loop(ours, texts[0], compile, texts[1]),
        lambda epochs, clock: sum(seq_speed.train_by_hand(False, kind, data, epochs, clock)),
    )


def pairs(rows: int = 512, length: int = 15, size: int = 6000) -> seq_speed.Corpus:
    """Random pieces: a step's time does not depend on them."""
    pieces = np.random.default_rng(0).integers(0, size, (2, rows, length)).tolist()
    return seq_speed.Corpus(*pieces, (size, size))


def _loop(estimator: Callable[[bool | str], Any], X: Any, compile: bool | str, y: Any = None) -> Loop:
    loop: Loop = within_fit(estimator(compile).set_params(precision="32-true"), X, y, lambda loop: loop)
    loop.callbacks = []
    loop.step.train()
    return loop


def _flat(case: speed.Case, X: np.ndarray) -> Callable[[int], Any]:
    return lambda epochs: speed.hand_written(case, X, epochs)


def _layouts(case: conv_speed.Case, X: np.ndarray) -> Callable[[int, Callable[[], float]], float]:
    """By hand, in the layout of memory that is faster."""
    runs = [partial(conv_speed.hand_written, layout, case, X) for layout in conv_speed.LAYOUTS]
    clock = time.process_time
    best = min(runs, key=lambda run: min(_less_start(run, 2, clock) for _ in range(2)))
    return partial(_less_start, best)


def _less_start(run: Callable[[int], Any], epochs: int, clock: Callable[[], float]) -> float:
    """Seconds of so many epochs, without what comes before the first."""
    whole, start = _timed(clock, lambda: run(epochs)), _timed(clock, lambda: run(0))
    return whole - start


def _timed(clock: Callable[[], float], run: Callable[[], Any]) -> float:
    started = clock()
    run()
    return clock() - started


# ------------------------------------------------------------------ one case


def epoch_of(loop: Loop) -> Callable[[], None]:
    """One more epoch of the loop, with its terms put together at the end, on as many threads as `fit` takes."""
    run = loop._minibatch_epoch()

    def epoch() -> None:
        with fitting_threads(loop.step, loop.source.sampler.batch_size):
            run()
        loop.state.epoch += 1
        loop.state.logged().clear()

    return epoch


def building(loop: Loop, clock: Callable[[], float]) -> tuple[dict[str, float], tuple[int, int], bool]:
    """Seconds of a compiled run before its second step, cold and from the folder on disk; the record's size; and
    whether "auto" would ever compile it."""
    seconds, sizes, ever = {}, list[tuple[int, int]](), False

    def choose(graph: Any) -> rule.Decision:
        nonlocal ever
        ever = rule.by_the_record(graph, 10**15).way == rule.COMPILED
        sizes.append(rule.size_of(graph))
        return rule.Decision(rule.COMPILED, "as asked for")

    batch, told = loop.source.first(), list[rule.Decision]()
    for name in ("cold", "warm"):
        given = (loop.step, loop.optimizer, loop.state.memory, loop.clip_norm, loop.precision)
        run = compiled_step(*given, told.append, choose)
        with fitting_threads(loop.step, loop.source.sampler.batch_size):
            before = whole(clock)
            run(batch, loop.state.learning_rate)
            seconds[name] = whole(clock) - before
    if told[-1].way != rule.COMPILED:
        raise RuntimeError(told[-1].reason)
    return seconds, sizes[0], ever


def whole(clock: Callable[[], float]) -> float:
    """The clock; with that of the processor, child processes' time too."""
    if clock is not time.process_time:
        return clock()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock() + children.ru_utime + children.ru_stime


def differences(eager: Loop, other: Loop, epochs: tuple[Callable[[], None], Callable[[], None]]) -> dict[str, float]:
    """How far the two are apart after one epoch from one seed: of their objectives, and of any weight."""
    ends = []
    for loop, epoch in zip((eager, other), epochs, strict=True):
        torch.manual_seed(0)
        epoch()
        with torch.no_grad():
            torch.manual_seed(1)
            ends.append(float(loop.step(loop.source.first())[0]))
    pairs = zip(eager.step.parameters(), other.step.parameters(), strict=True)
    with torch.no_grad():
        apart = max(float((a - b).abs().max()) for a, b in pairs)
    return {"steps": eager.state.n_steps, "objective": abs(ends[1] / ends[0] - 1), "weights": apart}


def by_rounding(case: Case) -> dict[str, float]:
    """What is apart likewise where steps are as written on both sides, and one's first weights moved by 1e-7."""
    loops = case.loop(False), case.loop(False)
    with torch.no_grad():
        for parameter in loops[1].step.parameters():
            parameter.mul_(1 + 1e-7 * torch.randn_like(parameter))
    return differences(*loops, tuple(map(epoch_of, loops)))


def measured(name: str, seconds: float, clock: Callable[[], float], beside: bool) -> dict[str, Any]:
    """Rounds of all in turn for about so many seconds, at least three."""
    case = case_of(name)
    loops = {side: case.loop(compile) for side, compile in WAYS.items()}
    build, size, ever = building(case.loop(True), clock)
    epochs = {side: epoch_of(loop) for side, loop in loops.items()}
    found: dict[str, Any] = {
        "build_seconds": build,
        "operations_and_bytes": size,
        "apart": differences(*(loops[side] for side in APART), tuple(epochs[side] for side in APART)),
        "apart_by_rounding": by_rounding(case),
    }
    runs = {side: lambda n, side=side: _timed(clock, lambda: [epochs[side]() for _ in range(n)]) for side in loops}
    runs["hand_written"] = lambda n: case.by_hand(n, clock)
    skipped = {}
    if beside and name in BESIDE_LIGHTNING:
        others, skipped = lightning_sides(case)
        runs |= {side: lambda n, run=run: _timed(clock, lambda: run(n)) for side, run in others.items()}
    rounds = contest(runs, seconds)
    steps = rounds[0][1] * loops["isthmus"].source.steps_per_epoch
    rows = [row for row, _ in rounds]
    a_step = {side: statistics.median(row[side] for row in rows) / steps for side in runs}
    ratios = {
        side: {other: spread([row[other] / row[side] for row in rows]) for other in runs if other not in WAYS}
        for side in WAYS
    }
    work, peak = gigaflops(loops["isthmus"]), matrix_peak(clock)
    return found | {
        "rounds": len(rows),
        "milliseconds_a_step": {side: 1e3 * seconds for side, seconds in a_step.items()},
        "times_as_fast_as": ratios,
        "gigaflops_a_step": work,
        "share_of_peak": {side: work / seconds / peak for side, seconds in a_step.items()},
        "auto": auto(size, a_step, build["cold"], ever),
        "skipped": skipped,
    }


def contest(runs: dict[str, Callable[[int], float]], seconds: float) -> list[tuple[dict[str, float], int]]:
    """Each round's seconds, and its epochs."""
    cost = sum(run(1) for run in runs.values())
    n = max(1, min(60, round(seconds / 8 / cost)))
    rounds, started = [], time.perf_counter()
    while len(rounds) < 3 or (time.perf_counter() - started < seconds and len(rounds) < 40):
        rounds.append(({side: run(n) for side, run in runs.items()}, n))
    return rounds


def auto(size: tuple[int, int], a_step: dict[str, float], cold: float, ever: bool) -> dict[str, Any]:
    """From how many steps on "auto" compiles, and its time over that of steps as written, by the times measured."""
    saved, cost = rule.saved_a_step(*size), rule.cost_of_building(size[0])
    least = max(rule.LEAST_TO_RECORD_AHEAD, int(rule.MARGIN * cost / saved) + 1)
    points = {}
    for steps in (rule.LEAST_TO_REPLAY, rule.LEAST_TO_RECORD_AHEAD, *([least] if ever else [])):
        written = steps * a_step["isthmus"]
        replayed = steps * a_step["isthmus_replay"] + a_step["isthmus"]  # one step more is recorded ahead
        ours = cold + steps * a_step["isthmus_compiled"] if steps == least else replayed
        points[steps] = {"seconds": ours, "as_written": written, "in_bounds": ours <= SLOWER * written + BESIDES}
    return {
        "predicted_build_seconds": cost,
        "predicted_saving_ms": 1e3 * saved,
        "compiles_from": least if ever else None,
        "at": points,
    }


# ------------------------------------------------------------------ Lightning around our step


def lightning_sides(case: Case) -> tuple[dict[str, Callable[[int], object]], dict[str, str]]:
    """Fabric's loop and the Trainer, as their documentation writes them, on our module, batches and fused Adam."""
    try:
        import lightning
    except ImportError as error:
        return {}, {"lightning": str(error)}
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")

    class Batches(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
        def __init__(self, loop: Loop) -> None:
            self.loop = loop

        def __iter__(self) -> Any:
            return (self.loop.source.next() for _ in range(self.loop.source.steps_per_epoch))

    class Module(lightning.LightningModule):
        def __init__(self, loop: Loop) -> None:
            super().__init__()
            self.step_of_ours = loop.step

        def training_step(self, batch: Any, index: int) -> Any:
            return self.step_of_ours(batch)[0]

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)

    def loader(loop: Loop) -> Any:
        return torch.utils.data.DataLoader(Batches(loop), batch_size=None)

    plain, trained = case.loop(False), case.loop(False)
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    module, optimizer = fabric.setup(plain.step, torch.optim.Adam(plain.step.parameters(), lr=1e-3, fused=True))
    batches = fabric.setup_dataloaders(loader(plain))

    def by_fabric(epochs: int) -> None:
        for _ in range(epochs):
            for batch in batches:
                loss, _ = module(batch)
                optimizer.zero_grad(set_to_none=True)
                fabric.backward(loss)
                optimizer.step()

    def by_trainer(epochs: int) -> None:
        quiet = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        given = {"accelerator": "cpu", "devices": 1, "logger": False} | dict.fromkeys(quiet, False)
        lightning.Trainer(max_epochs=epochs, **given).fit(Module(trained), loader(trained))

    return {"fabric": by_fabric, "trainer": by_trainer}, {}


# ------------------------------------------------------------------ the report


def show(name: str, found: dict[str, Any]) -> None:
    """One table on stdout."""
    build, apart, said = found["build_seconds"], found["apart"], found["auto"]
    print(f"\n{name}: {found['rounds']} rounds; built in {build['cold']:.1f} s, again in {build['warm']:.1f} s")
    alone = found["apart_by_rounding"]["objective"]
    print(f"  apart after {apart['steps']} steps: {apart['objective']:.1e} of the objective, by rounding {alone:.1e}")
    for side, took in sorted(found["milliseconds_a_step"].items(), key=lambda pair: pair[1]):
        ratio = found["times_as_fast_as"].get(side, {}).get("hand_written")
        more = f"  {ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f}) x hand-written" if ratio else ""
        print(f"  {side:18}{took:10.3f} ms a step {found['share_of_peak'][side]:5.0%} of peak{more}")
    bounds = all(point["in_bounds"] for point in said["at"].values())
    begins = "never" if said["compiles_from"] is None else f"from {said['compiles_from']:,} steps on"
    print(f"  auto compiles {begins}; in bounds: {bounds}", flush=True)


def marks(cases: dict[str, Any]) -> dict[str, dict[str, bool]]:
    """What each case reaches."""
    return {
        name: {
            "as_fast_as_the_study": found["times_as_fast_as"]["isthmus_compiled"]["hand_written"][0]
            >= MARK * STUDY[name],
            "objective_alike": found["apart"]["objective"] <= ALIKE,
            "auto_in_bounds": all(point["in_bounds"] for point in found["auto"]["at"].values()),
        }
        for name, found in cases.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20, help="of the whole run, roughly, without building")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, --threads 1")
    parser.add_argument(
        "--cases", nargs="*", choices=list(STUDY), help="measured again, even if they stand in the file"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/engine.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    clock = CLOCKS[options.clock]
    standing = json.loads(options.out.read_text(encoding="utf-8"))["cases"] if options.out.exists() else {}
    wanted = options.cases or [name for name in STUDY if name not in standing]
    result: dict[str, Any] = {
        "machine": machine(),
        "torch": torch.__version__,
        "threads": options.threads,
        "clock": options.clock,
        "keeps_freed_memory": keep_freed_memory(),
        "matrix_peak_gflops": matrix_peak(clock),
        "cases": standing,
    }
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["ISTHMUS_CACHE_DIR"] = folder
            found = measured(name, 60 * options.minutes / len(wanted), clock, True)
        standing[name] = found
        result["cases"] = {known: standing[known] for known in STUDY if known in standing}
        result["marks"] = marks(result["cases"])
        show(name, found)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
