"""Membranes in electron microscopy (ISBI 2012): Dice, boundary F1 and pixel error beside MONAI's U-Net.

Slices 0 to 19 train, 20 to 23 choose the learning rate from three, 24 to 29 test. Every model has the same
minutes of training, the same patches, augmentations and loss (cross-entropy plus Dice), Adam and cosine
schedule; they differ in the network and in who trains it: ours by `Segmenter.fit`, MONAI's by a plain
PyTorch loop, once in 32 bits and once in bfloat16 (``monai_bf16``), which `Segmenter` takes by itself where the
processor has tiles for it. Seeds are of weights and patches. The membrane is label 0; predicting "inside" everywhere
already scores a Dice of 0.88 on the other label, so the membrane's is the one that tells.

    ISTHMUS_DATA=/path/to/data python benchmarks/segment.py --minutes 10 [--seeds 0 1 2] [--volume]

It writes ``benchmarks/results/segment.json`` after each run, and skips the runs that stand there. With
``--volume`` the same slices are one volume and the network is a 3-D U-Net. MONAI is left out, with the reason,
where it cannot be imported.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timed import CLOCKS

from isthmus import (
    Callback,
    Cosine,
    CrossEntropy,
    Dice,
    Flip,
    Intensity,
    QuarterTurn,
    Segmenter,
    SumLoss,
    UNetEncoder,
    metrics,
)
from isthmus.training.allocator import keep_freed_memory
from isthmus.training.patches import Patches
from isthmus.types import Batch

TRAIN, CHOOSE, TEST = slice(0, 20), slice(20, 24), slice(24, 30)
CHANNELS = (16, 32, 64, 128, 256)
"""Of MONAI's tutorials; with ours they were the best of four networks tried on slices 20 to 23."""
RATES = (3e-4, 1e-3, 3e-3)
PATCH, BATCH = 128, 8
MEMBRANE = 0

Predict = Callable[[np.ndarray], np.ndarray]


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels, 30 slices of 512 × 512, bytes."""
    with np.load(Path(os.environ["ISTHMUS_DATA"]) / "membrane.npz") as archive:
        return archive["images"], archive["labels"]


def augmentations() -> list[Any]:
    """Of both sides."""
    return [Flip(), QuarterTurn(), Intensity(gain=0.2, shift=0.1)]


class Deadline(Callback):
    """Ends training at the epoch nearest to so many seconds; the schedule stretches or shrinks to that."""

    def __init__(self, seconds: float, clock: str) -> None:
        self.seconds, self.clock = seconds, CLOCKS[clock]
        self.spent = 0.0
        self.epochs = 0

    def epoch_starts(self) -> None:
        self.started = self.clock()

    def share(self) -> float:
        """Of the time, gone."""
        return min((self.spent + self.clock() - self.started) / self.seconds, 1.0)

    def epoch_ends(self) -> int:
        """How many more there are time for."""
        self.spent += self.clock() - self.started
        self.epochs += 1
        return max(0, round((self.seconds - self.spent) * self.epochs / self.spent))

    def on_epoch_start(self, loop: Any) -> None:
        self.epoch_starts()

    def on_epoch_end(self, loop: Any) -> None:
        loop.max_epochs = loop.state.epoch + self.epoch_ends()


def train_ours(deadline: Deadline, rate: float, seed: int, volume: bool) -> tuple[Predict, dict[str, Any]]:
    """`Segmenter` with its defaults but for what both sides share."""
    images, labels = load()
    encoder = UNetEncoder(CHANNELS[1:4], spacing=(4, 1, 1), dims=3) if volume else UNetEncoder(CHANNELS)
    model = Segmenter(
        encoder=encoder,
        patch_size=(8, 96, 96) if volume else PATCH,
        augmentations=augmentations(),
        learning_rate=rate,
        schedule=Cosine(floor=0.01),
        batch_size=2 if volume else BATCH,
        max_epochs=10**6,
        validation_fraction=0,
        random_state=seed,
        callbacks=[deadline],
    )
    wrapped = (lambda array: array[np.newaxis]) if volume else (lambda array: array)
    training = (
        (np.stack([images[:10], images[10:20]]), np.stack([labels[:10], labels[10:20]]))
        if volume
        else (images[TRAIN], labels[TRAIN])
    )
    model.fit(*training)
    network = {"parameters": sum(p.numel() for p in model.module_.parameters())}
    return lambda array: model.predict(wrapped(array)).reshape(array.shape), network


def train_monai(
    deadline: Deadline, rate: float, seed: int, volume: bool, halved: bool = False
) -> tuple[Predict, dict[str, Any]]:
    """MONAI's residual UNet of the same channels in a plain loop."""
    from monai.networks.nets import UNet

    if volume:
        raise NotImplementedError("the volume is ours alone")
    keep_freed_memory()
    images, labels = load()
    x = torch.from_numpy(images[TRAIN]).float().div(255).unsqueeze(-1)
    y = torch.from_numpy(labels[TRAIN]).long()
    patches = Patches(Batch(x, y), BATCH, seed, PATCH, augmentations())
    torch.manual_seed(seed)
    network = UNet(2, 1, 2, CHANNELS, strides=(2,) * (len(CHANNELS) - 1), num_res_units=2)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    loss = SumLoss([CrossEntropy(per="position"), Dice()])
    more = 1
    while more:
        deadline.epoch_starts()
        for _ in range(patches.steps_per_epoch):
            share = deadline.share()
            for group in optimizer.param_groups:
                group["lr"] = rate * (0.01 + 0.99 * (1 + np.cos(np.pi * share)) / 2)
            batch = patches.next()
            with torch.autocast("cpu", torch.bfloat16, enabled=halved):
                total = loss(network(batch.x.movedim(-1, 1)).movedim(1, -1), batch.y).mean()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        more = deadline.epoch_ends()
    network.eval()

    @torch.no_grad()
    def predict(array: np.ndarray) -> np.ndarray:
        pictures = torch.from_numpy(array).float().div(255).unsqueeze(1)
        return torch.cat([network(picture).argmax(1) for picture in pictures.split(1)]).numpy()

    return predict, {"parameters": sum(p.numel() for p in network.parameters())}


SIDES = {"isthmus": train_ours, "monai": train_monai, "monai_bf16": partial(train_monai, halved=True)}


def figures(predict: Predict, where: slice) -> dict[str, float]:
    """Of the membrane, over slices."""
    images, labels = load()
    truth, found = labels[where], predict(images[where])
    return {
        "dice": metrics.dice(truth, found, MEMBRANE),
        "boundary_f1": metrics.boundary_f1(truth, found, MEMBRANE),
        "pixel_error": metrics.pixel_error(truth, found),
        "dice_inside": metrics.dice(truth, found, 1),
    }


def draw(predict: Predict, path: Path) -> None:
    """The first test slice: image, truth, prediction, errors."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    images, labels = load()
    image, truth = images[TEST][:1], labels[TEST][0]
    found = predict(image)[0]
    errors = np.stack([found < truth, np.zeros_like(truth, bool), found > truth], -1)  # red: too much membrane
    shown = np.where(errors.any(-1, keepdims=True), errors * 255, image[0][..., None]).astype(np.uint8)
    figure, panels = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
    titles = ("slice 24", "truth: membrane black", "predicted", "errors: red false, blue missed membrane")
    for axes, picture, title in zip(panels, (image[0], truth, found, shown), titles, strict=True):
        axes.imshow(picture, cmap="gray")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="of training a run")
    parser.add_argument("--choose-minutes", type=float, help="of a run that chooses the rate; as --minutes by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--volume", action="store_true", help="the slices as a volume, ours alone")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/segment.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/segment.png"))
    options = parser.parse_args(given)
    torch.set_num_threads(options.threads)
    whole = json.loads(options.out.read_text()) if options.out.exists() else {}
    sides = ["isthmus"] if options.volume or importlib.util.find_spec("monai") is None else options.sides
    if sides == ["isthmus"] and options.sides != sides:
        print("monai is left out:", "a volume is ours alone" if options.volume else "it is not installed")
    runs = whole.setdefault("volume" if options.volume else "slices", {})

    def run(side: str, rate: float, seed: int, where: slice) -> dict[str, Any]:
        minutes = options.choose_minutes or options.minutes if where == CHOOSE else options.minutes
        key = f"{side}, {minutes:g} min, rate {rate:g}, seed {seed}, slices {where.start} to {where.stop - 1}"
        if key not in runs:
            deadline = Deadline(minutes * 60, options.clock)
            predict, network = SIDES[side](deadline, rate, seed, options.volume)
            spent = {"epochs": deadline.epochs, "training_minutes": deadline.spent / 60, "clock": options.clock}
            runs[key] = {**figures(predict, where), **network, **spent, "threads": options.threads}
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(whole, indent=1))
            if side == "isthmus" and where == TEST and not options.volume:
                draw(predict, options.picture)
        shown = {name: f"{value:.4g}" for name, value in runs[key].items() if not isinstance(value, str)}
        print(f"{key}: " + ", ".join(f"{name} {value}" for name, value in shown.items()), flush=True)
        return runs[key]

    for side in sides:
        chosen = max(RATES, key=lambda rate: run(side, rate, 0, CHOOSE)["dice"])
        found = [run(side, chosen, seed, TEST) for seed in options.seeds]
        for name in ("dice", "boundary_f1", "pixel_error"):
            values = [row[name] for row in found]
            print(f"{side}: {name} {np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")


if __name__ == "__main__":
    main()
