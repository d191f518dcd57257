"""A masked autoencoder on MNIST: what it paints, and what a linear classifier reads from its code.

Patches of 4 × 4, 75 % of them hidden (He et al. 2022). The code of an image is the mean over its 49 patches of what
the encoder gives when it sees them all. A logistic regression is fitted to 60,000 codes and scored on the 10,000
test images, beside one on the raw pixels and one on the code of a plain convolutional autoencoder that had as
many minutes; the strength of its L2 penalty is chosen from four on the last 10,000 training images.

    ISTHMUS_DATA=/path/to/data python benchmarks/mnist_mae.py --minutes 20 [--threads 1 --clock cpu]

It writes ``benchmarks/results/mnist_mae.json`` after each run, skips the runs that stand there, and draws
``docs/images/mnist_mae.png``.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mnist_conv import load
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timed import CLOCKS, Timed, run_each

from isthmus import (
    Autoencoder,
    ConvEncoder,
    Cosine,
    DenoisingAutoencoder,
    PatchMasking,
    ViTDecoder,
    ViTEncoder,
    WeightAverage,
)

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""C of the logistic regression."""


def labels() -> tuple[np.ndarray, np.ndarray]:
    """Of training and test images."""
    data = np.load(Path(os.environ["ISTHMUS_DATA"]) / "mnist.npz")
    return data["y_train"], data["y_test"]


def probe(train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Accuracy on the test images of a logistic regression, standardised inputs."""
    y, truth = labels()

    def fitted(strength: float, n: int) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200)).fit(train[:n], y[:n])

    chosen = max(STRENGTHS, key=lambda strength: fitted(strength, 20_000).score(train[50_000:], y[50_000:]))
    return {"accuracy": float(fitted(chosen, 60_000).score(test, truth)), "c": chosen, "width": train.shape[1]}


def timed(options: argparse.Namespace, name: str) -> Timed:
    """The clock of one run."""
    checkpoint = Path(f"runs/mnist_mae-{name}.pt")
    return Timed(options.minutes, 5, WeightAverage(decay=0.7), dict, checkpoint, options.resume, options.clock)


def run_pixels(options: argparse.Namespace) -> dict[str, Any]:
    """The images themselves."""
    return probe(*(images.reshape(len(images), -1) / 255 for images in load(False)))


def run_mae(options: argparse.Namespace) -> dict[str, Any]:
    """Hidden patches."""
    train, test = load(False)
    clock = timed(options, "mae")
    model = DenoisingAutoencoder(
        encoder=ViTEncoder(4, options.width, 4, options.layers),
        decoder=ViTDecoder(4, options.width // 2, 4, 2),
        bottleneck="identity",
        corruption=PatchMasking(0.75, 4),
        learning_rate=options.rate,
        schedule=Cosine(floor=0.01, warmup=0.05),
        batch_size=256,
        max_epochs=10**6,
        validation_fraction=0,
        callbacks=[clock.average, clock],
        random_state=0,
    ).fit(train)
    draw(model, test, options.picture)
    found = probe(*(pooled(model, images) for images in (train, test)))
    return {**found, "epochs": model.n_iter_, "training_minutes": clock.spent / 60}


def pooled(model: Any, images: np.ndarray) -> np.ndarray:
    """The mean code of each image; a few thousand at a time, since a code has 49 vectors."""
    return np.concatenate([model.transform(part).mean(1) for part in np.array_split(images, len(images) // 2000)])


def run_autoencoder(options: argparse.Namespace) -> dict[str, Any]:
    """A plain convolutional one, with a code as wide."""
    train, test = load(False)
    clock = timed(options, "autoencoder")
    model = Autoencoder(
        latent_dim=options.width,
        encoder=ConvEncoder((32, 64)),
        learning_rate=2e-3,
        schedule=Cosine(floor=0.01),
        max_epochs=10**6,
        validation_fraction=0,
        callbacks=[clock.average, clock],
        random_state=0,
    ).fit(train)
    found = probe(model.transform(train), model.transform(test))
    return {**found, "epochs": model.n_iter_, "training_minutes": clock.spent / 60}


def draw(model: Any, test: np.ndarray, path: Path) -> None:
    """Eight test images: as they are, what is visible, what is painted."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    images = test[:8]
    damaged, restored = model.restore(images)
    figure, panels = plt.subplots(3, 8, figsize=(8.4, 3.4), layout="constrained")
    for row, (name, shown) in enumerate({"image": images, "visible, 25 %": damaged, "painted": restored}.items()):
        for axes, image in zip(panels[row], shown, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
        panels[row][0].set_ylabel(name, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


RUNS = {"raw pixels": run_pixels, "autoencoder": run_autoencoder, "masked autoencoder": run_mae}


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20, help="of training a run")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--resume", action="store_true", help="go on from the last report's epoch")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/mnist_mae.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/mnist_mae.png"))
    options = parser.parse_args(given)
    torch.set_num_threads(options.threads)
    said = {"clock": options.clock, "threads": options.threads}
    run_each(options.out, options.runs, lambda name: {**RUNS[name](options), **said})


if __name__ == "__main__":
    main()
