"""Convolutional autoencoders of MNIST: squared error beside PCA's, nats beside a fully connected VAE's at equal time.

``autoencoder``: 32 numbers an image, trained on the 60,000 images; the test images' squared error beside
that of PCA's 32 components fitted on the same images. ``vae``: two lines that differ in encoder and decoder
alone, each with so many minutes, on images binarised anew each epoch; the ELBO (10 draws) and −log p(x)
(importance samples) of the test images binarised once with seed 0. Network and learning rates were chosen on
the last 5,000 training images (``--choose`` trains on the others and scores them).

    ISTHMUS_DATA=/path/to/data python benchmarks/mnist_conv.py --minutes 20 [--threads 1 --clock cpu] [--parts vae]

It writes ``benchmarks/results/mnist_conv.json`` after each run and skips the runs that stand there.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mnist import load as load_binarised
from sklearn.decomposition import PCA
from timed import CLOCKS, Timed, run_each

from isthmus import (
    Autoencoder,
    Binarize,
    ConvDecoder,
    ConvEncoder,
    Cosine,
    MLPEncoder,
    VariationalAutoencoder,
    WeightAverage,
)

RATES = {"conv": 2e-3, "mlp": 3e-3}
CHANNELS = {"autoencoder": (32, 64), "vae conv": (32, 64, 128, 256)}


def load(choose: bool) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images, ``(n, 28, 28)``, bytes."""
    data = np.load(Path(os.environ["ISTHMUS_DATA"]) / "mnist.npz")
    train, test = data["x_train"], data["x_test"]
    return (train[:55_000], train[55_000:]) if choose else (train, test)


def squared_error(truth: np.ndarray, found: np.ndarray) -> float:
    """Mean over images of Σ (x̂ − x)², pixels in [0, 1]."""
    difference = (truth.astype(np.float64) - found) / 255
    return float((difference**2).reshape(len(truth), -1).sum(1).mean())


def pca_error(train: np.ndarray, test: np.ndarray) -> float:
    """Of 32 components."""
    flat, other = train.reshape(len(train), -1), test.reshape(len(test), -1)
    pca = PCA(32, svd_solver="covariance_eigh").fit(flat)
    return squared_error(other, pca.inverse_transform(pca.transform(other)))


def timed(options: argparse.Namespace, name: str) -> tuple[WeightAverage, Timed]:
    """The clock of one run, and the average of its weights, which is what is scored."""
    average = WeightAverage(decay=0.7)
    checkpoint = Path(f"runs/mnist_conv-{name}.pt")
    return average, Timed(options.minutes, 5, average, dict, checkpoint, options.resume, options.clock)


def run_autoencoder(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """32 numbers, by convolutions."""
    train, test = load(options.choose)
    average, clock = timed(options, name)
    model = Autoencoder(
        latent_dim=32,
        encoder=ConvEncoder(options.channels or CHANNELS[name]),
        learning_rate=options.rate or RATES["conv"],
        schedule=Cosine(floor=0.01),
        batch_size=options.batch,
        max_epochs=10**6,
        validation_fraction=0,
        callbacks=[average, clock],
        random_state=options.seed,
    ).fit(train)
    error, linear = squared_error(test, model.reconstruct(test)), pca_error(train, test)
    return {"squared_error": error, "pca_squared_error": linear, "ratio": error / linear, **shared(model, clock)}


def run_vae(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """The line of ``mnist.py``, or the same with convolutions in place of its layers."""
    train, test = load_binarised(options.choose)
    kind = name.split()[1]
    if kind == "conv":
        channels = options.channels or CHANNELS[name]
        encoder, decoder = ConvEncoder(channels), ConvDecoder(channels[::-1])
        train, test = train.reshape(-1, 28, 28), test.reshape(-1, 28, 28)
    else:
        encoder, decoder = MLPEncoder((200, 200), activation="tanh"), None
    average, clock = timed(options, kind)
    model = VariationalAutoencoder(
        latent_dim=50,
        encoder=encoder,
        decoder=decoder,
        loss="binary_cross_entropy",
        learning_rate=options.rate or RATES[kind],
        schedule=Cosine(floor=0.01),
        batch_size=options.batch,
        max_epochs=10**6,
        validation_fraction=0,
        callbacks=[Binarize(), average, clock],
        random_state=options.seed,
    ).fit(train)
    likelihood = -model.log_likelihood(test[: options.images], options.samples)
    return {
        "negative_elbo_nats": float(-model.elbo(test, 10).mean()),
        "nll_nats": float(likelihood.mean()),
        "nll_standard_error": float(likelihood.std() / np.sqrt(len(likelihood))),
        "importance_samples": options.samples,
        "images": len(likelihood),
        **shared(model, clock),
    }


def shared(model: Any, clock: Timed) -> dict[str, Any]:
    """What every run says of itself."""
    return {
        "parameters": sum(p.numel() for p in model.module_.parameters()),
        "epochs": model.n_iter_,
        "training_minutes": clock.spent / 60,
        "threads": torch.get_num_threads(),
    }


RUNS = {"autoencoder": run_autoencoder, "vae conv": run_vae, "vae mlp": run_vae}


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20, help="of training a run")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--channels", type=int, nargs="+", help="in place of those chosen")
    parser.add_argument("--rate", type=float, help="learning rate, in place of the one chosen")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--images", type=int, default=10_000, help="whose likelihood is estimated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--choose", action="store_true", help="hold out, and score, the last 5,000 training images")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--resume", action="store_true", help="go on from the last report's epoch")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/mnist_conv.json"))
    options = parser.parse_args(given)
    torch.set_num_threads(options.threads)
    run_each(options.out, options.runs, lambda name: {**RUNS[name](options, name), "clock": options.clock})


if __name__ == "__main__":
    main()
