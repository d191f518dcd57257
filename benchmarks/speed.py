"""How fast `fit` is: against the best hand-written eager loop, and against the peers as their users write them.

One process, one network on all sides, the same allocator settings (glibc keeps freed memory) for all,
contestants in turn (A B C … A B C …), medians over the rounds, ratios taken round by round. Networks:
the VAE 784-400-(20, 20)-400-784 at batch 128 and 512, the autoencoder 30-64-32-64-30 at batch 32 and 256.

    python benchmarks/speed.py --minutes 8 --threads 2 --peers all

Two times are given for a contestant. ``fit``: the whole call over the steps, with all that comes before
the first step (reading, sorting and scaling the data; the record of compile="replay"). ``epochs``:
the loop alone, where a contestant tells (isthmus' history, the hand-written loop). It writes
``benchmarks/results/speed.json``. Peers that do not import are skipped with the reason; docs/speed.md
says how to install them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import speed_peers
import torch
from threadpoolctl import threadpool_limits
from timed import CLOCKS, machine
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from isthmus import Adam, Autoencoder, MLPEncoder, Objective, TrainStep, VariationalAutoencoder
from isthmus.schedules import Cosine
from isthmus.training.allocator import keep_freed_memory
from isthmus.training.loop import Loop
from isthmus.training.resident import Resident
from isthmus.training.step_parts import matrix_peak
from isthmus.types import Batch

N_ROWS = 8192
Clock = Callable[[], float]
IMPORT = "import time, torch; t = time.perf_counter(); import isthmus; print(time.perf_counter() - t)"
MARKS = {"MLPRegressor": 1.3, "skorch": 1.4, "pythae": 1.6, "keras": 2.0, "pyod": 2.0}


class Case(NamedTuple):
    """One network at one batch size."""

    name: str
    kind: str
    batch: int
    flops: int  # of one row's forward and backward: 6 a weight, less 2 for each of the first layer


def flops_a_row(first: int, *others: int) -> int:
    """2 forward, 2 for the weights' gradient, 2 for the input's, which the first layer needs not."""
    return 4 * first + 6 * sum(others)


VAE_FLOPS = flops_a_row(784 * 400, 400 * 40, 20 * 400, 400 * 784)
TABLE_FLOPS = flops_a_row(30 * 64, 64 * 32, 32 * 64, 64 * 30)
CASES = [
    Case("table_32", "table", 32, TABLE_FLOPS),
    Case("table_256", "table", 256, TABLE_FLOPS),
    Case("vae_128", "vae", 128, VAE_FLOPS),
    Case("vae_512", "vae", 512, VAE_FLOPS),
]


def rows_of(kind: str) -> np.ndarray:
    """Random data: a step's time does not depend on the values."""
    rng = np.random.default_rng(0)
    if kind == "table":
        return rng.standard_normal((N_ROWS, 30), dtype=np.float32)
    return (rng.random((N_ROWS, 784)) < 0.2).astype(np.float32)


# ------------------------------------------------------------------ the loops that people write


class HandVAE(nn.Module):
    """784-400-(20, 20)-400-784."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.posterior = nn.Linear(784, 400), nn.Linear(400, 40)
        self.unfold, self.end = nn.Linear(20, 400), nn.Linear(400, 784)

    def loss(self, x: Tensor) -> Tensor:
        """−ELBO, mean over the batch, nats."""
        mean, log_variance = self.posterior(torch.relu(self.hidden(x))).chunk(2, -1)
        std = torch.exp(0.5 * log_variance)
        logits = self.end(torch.relu(self.unfold(mean + std * torch.randn_like(std))))
        nll = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_variance - mean.square() - log_variance.exp())
        return (nll + kl) / len(x)


class HandTable(nn.Module):
    """30-64-32-64-30."""

    def __init__(self) -> None:
        super().__init__()
        encoder = [nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 32)]
        self.layers = nn.Sequential(*encoder, nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 30))

    def loss(self, x: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(self.layers(x), x)


def hand_written(case: Case, X: np.ndarray, epochs: int) -> list[float]:
    """The best eager loop a specialist writes: resident tensor, fused Adam, nothing read back in a step."""
    model = HandVAE() if case.kind == "vae" else HandTable()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    data, seconds = torch.from_numpy(X), []
    for _ in range(epochs):
        started = time.perf_counter()
        losses = []
        for index in torch.randperm(len(data)).split(case.batch):
            loss = model.loss(data.index_select(0, index))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        torch.stack(losses).mean().item()
        seconds.append(time.perf_counter() - started)
    return seconds


def data_loader(case: Case, X: np.ndarray, epochs: int) -> list[float]:
    """The loop of the tutorials: DataLoader, Adam, loss.item()."""
    model = HandVAE() if case.kind == "vae" else HandTable()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader, seconds = DataLoader(TensorDataset(torch.from_numpy(X)), case.batch, shuffle=True), []
    for _ in range(epochs):
        started, total = time.perf_counter(), 0.0
        for (x,) in loader:
            optimizer.zero_grad()
            loss = model.loss(x)
            loss.backward()
            optimizer.step()
            total += loss.item()
        seconds.append(time.perf_counter() - started)
    return seconds


def estimator(case: Case, epochs: int, compile: bool | str) -> Autoencoder:
    """The same network, constant rate and no validation, as on the other sides."""
    table, kind = case.kind == "table", Autoencoder if case.kind == "table" else VariationalAutoencoder
    return kind(
        latent_dim=32 if table else 20,
        encoder=MLPEncoder((64,) if table else (400,), activation="relu"),
        loss="squared_error" if table else "binary_cross_entropy",
        scale=None,
        learning_rate=1e-3,
        schedule=None,
        batch_size=case.batch,
        max_epochs=epochs,
        validation_fraction=0,
        compile=compile,
        random_state=0,
    )


def isthmus(compile: bool | str) -> Callable[[Case, np.ndarray, int], list[float]]:
    """A contestant: `fit`, and the seconds of its epochs."""

    def run(case: Case, X: np.ndarray, epochs: int) -> list[float]:
        return [row["seconds"] for row in estimator(case, epochs, compile).fit(X).history_]

    return run


# ------------------------------------------------------------------ in turn


def on_threads(n: int, run: Callable[..., Any]) -> Callable[..., Any]:
    """The contestant, with so many threads."""

    def limited(*arguments: Any) -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(n)
        try:
            return run(*arguments)
        finally:
            torch.set_num_threads(before)

    return limited


def contest(case: Case, options: Any, peers: dict[str, Callable[..., Any]], seconds: float) -> dict[str, Any]:
    """Rounds of all contestants in turn, for about so many seconds, at least three (peers: the first three)."""
    X, clock = rows_of(case.kind), CLOCKS[options.clock]
    runs = {
        "isthmus": isthmus(False),
        "hand_written": hand_written,
        "isthmus_replay": isthmus("replay"),
        "data_loader": data_loader,
    }
    if options.threads > 1:
        runs["hand_written_one_thread"] = on_threads(1, hand_written)
    parameters = [sum(p.numel() for p in model.parameters()) for model in (HandVAE(), HandTable())]
    assert sum(p.numel() for p in estimator(case, 1, False).fit(X[:512]).module_.parameters()) in parameters
    costs = {name: timed(run, case, X, 1, clock)[0] for name, run in {**runs, **peers}.items()}  # warms up, too
    share = sum(min(cost, 8 * costs["hand_written"]) for cost in costs.values())
    epochs = max(2, min(60, round(seconds / 3.2 / share)))
    steps = epochs * -(-len(X) // case.batch)
    rounds: list[dict[str, tuple[float, float | None]]] = []
    started = time.perf_counter()
    while len(rounds) < 3 or (time.perf_counter() - started < seconds and len(rounds) < 40):
        taking_part = {**runs, **peers} if len(rounds) < 3 else runs
        rounds.append({name: timed(run, case, X, epochs, clock) for name, run in taking_part.items()})
    return {"epochs": epochs, "steps": steps, "rounds": len(rounds), **summary(case, steps, epochs, rounds)}


def timed(run: Callable[..., Any], case: Case, X: np.ndarray, epochs: int, clock: Clock) -> tuple[float, float | None]:
    """Seconds of the whole call, and of a median epoch where the contestant tells (in wall time)."""
    started = clock()
    told = run(case, X, epochs)
    return clock() - started, statistics.median(told) if told and clock is time.perf_counter else None


def summary(case: Case, steps: int, epochs: int, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """µs a step, and ratios to both of ours (above 1: ours is faster), each a median over rounds."""

    def median(name: str, column: int) -> float | None:
        values = [row[name][column] for row in rounds if name in row and row[name][column] is not None]
        return statistics.median(values) if values else None

    def ratio(other: str, ours: str, column: int) -> float:
        pairs = [(row[other][column], row[ours][column]) for row in rounds if other in row]
        if None in pairs[0]:
            return ratio(other, ours, 0)
        return statistics.median(theirs / mine for theirs, mine in pairs)

    result: dict[str, Any] = {"microseconds_a_step": {}, "gflops": {}, "times_as_fast_as": {}}
    for name in rounds[0]:
        fit, epoch = median(name, 0), median(name, 1)
        assert fit is not None
        row = result["microseconds_a_step"][name] = {"fit": 1e6 * fit / steps}
        if epoch is not None:
            row["epochs"] = 1e6 * epoch * epochs / steps
        result["gflops"][name] = 1e-9 * case.flops * case.batch / (1e-6 * row.get("epochs", row["fit"]))
    hands = [name for name in rounds[0] if name.startswith("hand_written")]
    best = min(hands, key=lambda name: median(name, 0) or 0.0)
    result["best_hand_written"] = best
    result["hand_written_as_fast_as_data_loader"] = ratio("data_loader", best, 1)
    for ours in ("isthmus", "isthmus_replay"):
        against = {name: ratio(name, ours, 0) for name in rounds[0] if not name.startswith(("isthmus", "hand"))}
        against |= {"hand_written": ratio(best, ours, 0), "hand_written_epochs": ratio(best, ours, 1)}
        result["times_as_fast_as"][ours] = against
    return result


# ------------------------------------------------------------------ the loop's own cost, the machine, the import


def loop_cost(schedule: Any, clock: Clock, pairs: int = 100) -> dict[str, float]:
    """µs a step of `Loop` beyond forward, backward and the optimiser, on the same step and batches in turn."""
    case, X = CASES[0], rows_of("table")[:2048]
    step = TrainStep(estimator(case, 1, False).fit(X).module_, Objective())
    source = Resident(Batch(torch.from_numpy(X)), case.batch, 0)
    loop = Loop(step, source, Adam(), learning_rate=1e-3, max_epochs=10**6, schedule=schedule, compile=False)
    epoch, state, n = loop._minibatch_epoch(), loop.state, source.steps_per_epoch
    parameters, rate = loop.parameters, state.learning_rate
    batches = [source.next() for _ in range(n)]

    def bare() -> None:
        for batch in batches:
            total, _ = step(batch)
            gradients = list(torch.autograd.grad(total, parameters))
            with torch.no_grad():
                loop.optimizer.update(parameters, gradients, state.memory, rate)

    def looped() -> None:
        epoch()
        state.epoch += 1
        state.logged().clear()

    step.train()
    seconds: dict[str, list[float]] = {"bare": [], "looped": []}
    for _ in range(pairs):
        for name, run in (("bare", bare), ("looped", looped)):
            started = clock()
            run()
            seconds[name].append((clock() - started) / n)
    differences = [mine - plain for mine, plain in zip(seconds["looped"], seconds["bare"], strict=True)]
    return {
        "microseconds": 1e6 * statistics.median(differences),
        "of_fastest_microseconds": 1e6 * (min(seconds["looped"]) - min(seconds["bare"])),
        "bare_step_microseconds": 1e6 * statistics.median(seconds["bare"]),
    }


def import_seconds(times: int = 7) -> float:
    """Median of `import isthmus` after `import torch`, each in a process of its own."""
    runs = [subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True) for _ in range(times)]
    return statistics.median(float(run.stdout) for run in runs)


# ------------------------------------------------------------------ the report


def marks(cases: dict[str, Any], result: dict[str, Any]) -> dict[str, bool]:
    """Each mark, and whether it was reached in every case."""
    without_compiling = [case["times_as_fast_as"] for case in cases.values()]
    best = [{name: max(way[name] for way in case.values()) for name in case["isthmus"]} for case in without_compiling]
    reached = {
        "isthmus, eager, >= 1.0 hand-written": all(c["isthmus"]["hand_written"] >= 1 for c in without_compiling),
        "isthmus, the better way, >= 1.0 hand-written": all(case["hand_written"] >= 1 for case in best),
        "hand-written >= 1.2 DataLoader": all(c["hand_written_as_fast_as_data_loader"] >= 1.2 for c in cases.values()),
        "loop < 20 us": result["loop_beyond_step"]["microseconds"] < 20,
        "import < 0.15 s": result["import_seconds"] < 0.15,
    }
    for name, mark in MARKS.items():
        seen = [case[name] for case in best if name in case]
        if seen:
            reached[f">= {mark} {name}"] = min(seen) >= mark
    return reached


def show(name: str, case: dict[str, Any], peak: float) -> None:
    """One table on stdout."""
    print(f"\n{name}: {case['steps']} steps a fit, {case['rounds']} rounds")
    for who, row in sorted(case["microseconds_a_step"].items(), key=lambda item: item[1]["fit"]):
        ways = [case["times_as_fast_as"][ours].get(who) for ours in ("isthmus", "isthmus_replay")]
        ratios = "".join(f"{way:9.2f}" if way else " " * 9 for way in ways)
        speed, epochs = case["gflops"][who], f"{row['epochs']:9.0f}" if "epochs" in row else " " * 9
        print(f"  {who:24}{row['fit']:9.0f} us fit{epochs} us epochs {speed:7.1f} GFLOP/s {speed / peak:5.0%}{ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8, help="of the whole run, roughly")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default="all", help="'all', 'none', or names: " + ",".join(speed_peers.PEERS))
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--cases", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/speed.json"))
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    peers, skipped = speed_peers.available(options.peers)
    for name, reason in skipped.items():
        print(f"{name} skipped: {reason}")
    cases = [case for case in CASES if case.name in options.cases]
    result: dict[str, Any] = {
        "machine": machine(),
        "versions": {"torch": torch.__version__, **speed_peers.versions(peers)},
        "threads": options.threads,
        "clock": options.clock,
        "keeps_freed_memory": keep_freed_memory(),
        "skipped": skipped,
        "import_seconds": import_seconds(),
        "matrix_peak_gflops": matrix_peak(CLOCKS[options.clock]),
        "loop_beyond_step": loop_cost(None, CLOCKS[options.clock]),
        "loop_beyond_step_with_cosine": loop_cost(Cosine(), CLOCKS[options.clock]),
        "cases": {},
    }
    with threadpool_limits(options.threads):
        for case in cases:
            taking_part = {name: peer for name, (kinds, peer) in peers.items() if case.kind in kinds}
            found = contest(case, options, taking_part, 60 * options.minutes / len(cases) * 0.85)
            result["cases"][case.name] = found
            show(case.name, found, result["matrix_peak_gflops"])
    result["marks"] = marks(result["cases"], result)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in result.items() if name != "cases"}, indent=1))


if __name__ == "__main__":
    main()
