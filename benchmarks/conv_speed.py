"""How fast convolutional networks are trained and predict, beside hand-written PyTorch and MONAI's networks.

One process, the same allocator settings for all (glibc keeps freed memory), contestants in turn (A B … A B …),
medians and quartiles over the rounds, ratios taken round by round.

* ``conv_28``: an autoencoder of 28 × 28 images at batch 128: convolutions of stride 2 to 32 and 64 channels,
  32 numbers of code, and the way back.
* ``unet_128``: a U-Net of 32, 64, 128, 256 channels, two convolutions with batch normalisation a level, on
  images of 128 × 128 at batch 8.

On our side stands the whole `fit`, as written and replayed, and `reconstruct`. The hand-written loop is the
best that we can write (resident tensor, fused Adam, nothing read back in a step; batch normalisation folded to
predict), contiguous, in channels_last, and on a processor with AMX also trained in bfloat16, which `fit` takes by
itself there; the plain loop is that of the tutorials (DataLoader, Adam,
``loss.item()``). These three have our network. MONAI's `UNet` and `BasicUNet` are other networks, in the plain
loop, so what is compared is equal work: images a second times FLOPs an image, counted for all by
`torch.utils.flop_counter`.

    python benchmarks/conv_speed.py --minutes 10 --threads 2

Rows are a multiple of 32, to which `reconstruct` pads what is left over. It writes
``benchmarks/results/conv_speed.json``. Where MONAI does not import, its rows are left out with the reason.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from timed import CLOCKS, machine
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from isthmus import Autoencoder, ConvEncoder, UNetEncoder
from isthmus.training.allocator import keep_freed_memory
from isthmus.training.precision import has_matrix_tiles
from isthmus.training.step_parts import matrix_peak

Predict = Callable[[], object]
Train = Callable[["Case", np.ndarray, int], Predict]
"""Trains for so many epochs and gives a function that predicts every image once."""


class Case(NamedTuple):
    """One network at one batch size."""

    name: str
    kind: str
    side: int
    batch: int
    rows: int


CASES = [Case("conv_28", "conv", 28, 128, 2048), Case("unet_128", "unet", 128, 8, 32)]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
OURS = ("isthmus", "isthmus_replay")


def images(case: Case) -> np.ndarray:
    """Random ones: a step's time does not depend on the values."""
    return np.random.default_rng(0).random((case.rows, 1, case.side, case.side), dtype=np.float32)


# ------------------------------------------------------------------ the networks


class ConvAutoencoder(nn.Module):
    """1-32-64, 32 numbers, 64-32-1. The code reads its map channels last, which costs nothing in that layout."""

    def __init__(self, side: int) -> None:
        super().__init__()
        half = -(-side // 2)
        self.inner, self.cut = -(-half // 2), (half, side)
        self.down = nn.ModuleList([nn.Conv2d(1, 32, 3, 2, 1), nn.Conv2d(32, 64, 3, 2, 1)])
        self.code, self.unfold = nn.Linear(64 * self.inner**2, 32), nn.Linear(32, 64 * self.inner**2)
        self.up = nn.ModuleList([nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.ConvTranspose2d(32, 1, 3, 2, 1, 1)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.down:
            x = torch.relu_(layer(x))
        x = torch.relu_(self.unfold(self.code(x.movedim(1, -1).flatten(1))))
        x = x.unflatten(1, (self.inner, self.inner, 64)).movedim(-1, 1)
        x = torch.relu_(self.up[0](x)[..., : self.cut[0], : self.cut[0]])
        return self.up[1](x)[..., : self.cut[1], : self.cut[1]]


def block(width_in: int, width: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


class Up(nn.Module):
    """Upsampling, the skip beside it, two blocks."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width_in, width, 2, 2)
        self.blocks = nn.Sequential(block(2 * width, width), block(width, width))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.blocks(torch.cat([self.up(x), skip], 1))


class UNet(nn.Module):
    """1-32-64-128-256 and back."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(block(1, 32), block(32, 32))
        self.down = nn.ModuleList(nn.Sequential(block(n, 2 * n, 2), block(2 * n, 2 * n)) for n in (32, 64, 128))
        self.up = nn.ModuleList(Up(2 * n, n) for n in (128, 64, 32))
        self.end = nn.Conv2d(32, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.first(x)]
        for level in self.down:
            maps.append(level(maps[-1]))
        x = maps.pop()
        for level in self.up:
            x = level(x, maps.pop())
        return self.end(x)


def network(case: Case) -> nn.Module:
    """Ours, in plain PyTorch."""
    return ConvAutoencoder(case.side) if case.kind == "conv" else UNet()


def monai_unet(case: Case) -> nn.Module:
    """MONAI's residual U-Net, as in its tutorials, with our widths."""
    from monai.networks.nets import UNet

    return UNet(2, 1, 1, channels=(32, 64, 128, 256), strides=(2, 2, 2), num_res_units=2, norm="BATCH")


def monai_basic_unet(case: Case) -> nn.Module:
    """MONAI's plain U-Net: five levels, two convolutions each, with its own widths, which are its defaults."""
    from monai.networks.nets import BasicUNet

    return BasicUNet(2, 1, 1, features=(32, 32, 64, 128, 256, 32), norm=("batch", {}))


def estimator(case: Case, epochs: int, compile: bool | str) -> Autoencoder:
    """Ours: constant rate, no validation, data as they are, as on the other sides."""
    own = {"encoder": ConvEncoder((32, 64)), "latent_dim": 32}
    if case.kind == "unet":
        own = {"encoder": UNetEncoder((32, 64, 128, 256)), "bottleneck": "identity"}
    return Autoencoder(
        **own,
        loss="squared_error",
        scale=None,
        learning_rate=1e-3,
        schedule=None,
        batch_size=case.batch,
        max_epochs=epochs,
        validation_fraction=0,
        compile=compile,
        random_state=0,
    )


# ------------------------------------------------------------------ the loops


def isthmus(compile: bool | str, case: Case, X: np.ndarray, epochs: int) -> Predict:
    """`fit`, then `reconstruct`."""
    return partial(estimator(case, epochs, compile).fit(X).reconstruct, X)


def hand_written(layout: str, case: Case, X: np.ndarray, epochs: int, bf16: bool = False) -> Predict:
    """The best eager loop a specialist writes; products in bfloat16, where asked, to train."""
    form = LAYOUTS[layout]
    model = network(case).to(memory_format=form)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    data = torch.from_numpy(X).to(memory_format=form)
    for _ in range(epochs):
        losses = []
        for index in torch.randperm(len(data)).split(case.batch):
            x = data.index_select(0, index)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                output = model(x)
            loss = F.mse_loss(output.float(), x)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        torch.stack(losses).mean().item()
    return partial(predict, folded(model.eval()).to(memory_format=form), data, case.batch)


def folded(model: nn.Module) -> nn.Module:
    """The network with its batch normalisations folded into the kernels, to predict."""
    for sequence in model.modules():
        if isinstance(sequence, nn.Sequential) and isinstance(sequence[1], nn.BatchNorm2d):
            sequence[0], sequence[1] = fuse_conv_bn_eval(sequence[0], sequence[1]), nn.Identity()
    return model


def plain(build: Callable[[Case], nn.Module], case: Case, X: np.ndarray, epochs: int) -> Predict:
    """The loop of the tutorials."""
    model, data = build(case), torch.from_numpy(X)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(data), case.batch, shuffle=True)
    for _ in range(epochs):
        total = 0.0
        for (x,) in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), x)
            loss.backward()
            optimizer.step()
            total += loss.item()
    return partial(predict, model.eval(), data, case.batch)


@torch.inference_mode()
def predict(model: nn.Module, data: Tensor, batch: int) -> Tensor:
    """Every image once, a batch at a time."""
    return torch.cat([model(x) for x in data.split(batch)])


def contestants(case: Case) -> tuple[dict[str, Train], dict[str, str]]:
    """Those that take part, and why others do not."""
    runs: dict[str, Train] = {"isthmus": partial(isthmus, False), "isthmus_replay": partial(isthmus, "replay")}
    runs |= {f"hand_written_{layout}": partial(hand_written, layout) for layout in LAYOUTS}
    if has_matrix_tiles():
        runs["hand_written_bf16"] = partial(hand_written, "channels_last", bf16=True)
    runs["plain"] = partial(plain, network)
    skipped = {}
    for build in (monai_unet, monai_basic_unet) if case.kind == "unet" else ():
        try:
            build(case)
            runs[build.__name__] = partial(plain, build)
        except ImportError as error:
            skipped[build.__name__] = str(error)
    return runs, skipped


# ------------------------------------------------------------------ work and time


def flops(case: Case, build: Callable[[Case], nn.Module]) -> dict[str, float]:
    """FLOPs of an image: in training, forward and backward without the input's gradient; in prediction, forward."""
    model, x = build(case), torch.zeros(2, 1, case.side, case.side)
    with FlopCounterMode(display=False) as training:
        F.mse_loss(model(x), x).backward()
    with FlopCounterMode(display=False) as prediction, torch.no_grad():
        model.eval()(x)
    return {"fit": training.get_total_flops() / 2, "predict": prediction.get_total_flops() / 2}


def contest(case: Case, runs: dict[str, Train], seconds: float, clock: Callable[[], float]) -> dict[str, Any]:
    """Rounds of all contestants in turn for about so many seconds, at least three."""
    X = images(case)

    def timed(run: Callable[[], Any]) -> tuple[float, Any]:
        started = clock()
        result = run()
        return clock() - started, result

    cost = sum(timed(partial(run, case, X, 1))[0] for run in runs.values())  # warms up, too
    epochs = max(1, min(40, round(seconds / 4 / cost)))
    rounds: list[dict[str, dict[str, float]]] = []
    started = time.perf_counter()
    while len(rounds) < 3 or (time.perf_counter() - started < seconds and len(rounds) < 40):
        found = {}
        for name, run in runs.items():
            took, again = timed(partial(run, case, X, epochs))
            found[name] = {"fit": took / epochs, "predict": timed(again)[0]}
        rounds.append(found)
    return {"epochs": epochs, "rounds": len(rounds), **summary(case, rounds)}


def summary(case: Case, rounds: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """ms a step, GFLOP/s, and ours at equal work as a multiple of each other's: median and quartiles over rounds."""
    builds = {"monai_unet": monai_unet, "monai_basic_unet": monai_basic_unet}
    work = {name: flops(case, builds.get(name, network)) for name in rounds[0]}
    result: dict[str, Any] = {"megaflops_an_image": {}, "ms_a_batch": {}, "gflops": {}, "times_as_fast_as": {}}
    batches = -(-case.rows // case.batch)
    for what in ("fit", "predict"):
        rates = [{name: work[name][what] * case.rows / row[name][what] for name in row} for row in rounds]
        times = {name: statistics.median(row[name][what] for row in rounds) for name in rounds[0]}
        result["megaflops_an_image"][what] = {name: 1e-6 * work[name][what] for name in work}
        result["ms_a_batch"][what] = {name: 1e3 * seconds / batches for name, seconds in times.items()}
        result["gflops"][what] = {name: 1e-9 * statistics.median(row[name] for row in rates) for name in work}
        result["times_as_fast_as"][what] = {
            ours: {name: spread([row[ours] / row[name] for row in rates]) for name in work if name not in OURS}
            for ours in OURS
        }
    return result


def spread(values: Sequence[float]) -> list[float]:
    """Median, lower and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return [middle, low, high]


def marks(cases: dict[str, Any]) -> dict[str, bool]:
    """Each mark, and whether it is reached: by the replayed `fit`; by `reconstruct`, the same after either `fit`."""
    wanted = {
        ("conv_28", "fit"): {"hand_written": 1.0, "plain": 1.4},
        ("unet_128", "fit"): {"hand_written": 1.0, "plain": 1.15, "monai": 1.4},
        ("unet_128", "predict"): {"hand_written": 1.0, "plain": 1.15, "monai": 1.4},
    }
    reached = {}
    for (case, what), limits in wanted.items():
        ways = cases[case]["times_as_fast_as"][what] if case in cases else {ours: {} for ours in OURS}
        counted = OURS if what == "predict" else ("isthmus_replay",)
        ratios = {who: statistics.mean(ways[ours][who][0] for ours in counted) for who in ways[OURS[0]]}
        for who, limit in limits.items():
            found = [ratio for name, ratio in ratios.items() if name.startswith(who)]
            if found:
                reached[f"{case}, {what}, >= {limit} {who}"] = min(found) >= limit
    return reached


def show(name: str, case: dict[str, Any], peak: float) -> None:
    """One table on stdout."""
    print(f"\n{name}: {case['rounds']} rounds of {case['epochs']} epochs")
    for what, row in case["ms_a_batch"].items():
        for who, took in sorted(row.items(), key=lambda item: item[1]):
            ratios = [case["times_as_fast_as"][what][ours].get(who) for ours in OURS]
            said = "".join(f"  {way[0]:.2f} ({way[1]:.2f} to {way[2]:.2f})" for way in ratios if way)
            rate = case["gflops"][what][who]
            print(f"  {what:8}{who:28}{took:9.1f} ms a batch {rate:7.1f} GFLOP/s {rate / peak:5.0%}{said}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="of the whole run, roughly")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--cases", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/conv_speed.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    clock, cases = CLOCKS[options.clock], [case for case in CASES if case.name in options.cases]
    result: dict[str, Any] = {
        "machine": machine(),
        "torch": torch.__version__,
        "threads": options.threads,
        "clock": options.clock,
        "keeps_freed_memory": keep_freed_memory(),
        "matrix_peak_gflops": matrix_peak(clock),
        "skipped": {},
        "cases": {},
    }
    for case in cases:
        runs, skipped = contestants(case)
        result["skipped"] |= skipped
        share = 0.2 if case.kind == "conv" and len(cases) > 1 else 0.8 if len(cases) > 1 else 1.0
        found = result["cases"][case.name] = contest(case, runs, 60 * options.minutes * share * 0.9, clock)
        show(case.name, found, result["matrix_peak_gflops"])
    result["marks"] = marks(result["cases"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({"skipped": result["skipped"], "marks": result["marks"]}, indent=1))


if __name__ == "__main__":
    main()
