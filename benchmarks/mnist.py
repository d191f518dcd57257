"""A variational autoencoder on MNIST in the setting of Burda et al. (2016): nats against minutes.

784-200-200-50, tanh, one stochastic layer, the training images binarised anew each epoch; the test
images binarised once with seed 0; 5,000 importance samples an image, all 10,000 images. The published
figure of this model (VAE, k = 1, one layer) is −log p(x) ≤ 86.76 nats.

    python benchmarks/mnist.py --minutes 60 [--threads 2] [--resume]

It writes ``benchmarks/results/mnist.json`` as it goes and a checkpoint in ``runs/`` after each report.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus import Adam, Binarize, Callback, Cosine, MLPEncoder, VariationalAutoencoder, WeightAverage

PUBLISHED = 86.76


def load() -> tuple[np.ndarray, np.ndarray]:
    """Training images as probabilities in [0, 1]; test images binarised once with seed 0."""
    data = np.load(Path(os.environ["ISTHMUS_DATA"]) / "mnist.npz")
    train, test = (data[name].reshape(-1, 784).astype(np.float32) / 255 for name in ("x_train", "x_test"))
    drawn = np.random.default_rng(0).random(test.shape) < test
    return train, drawn.astype(np.float32)


class Clock(Callback):
    """Ends the run at the deadline (the schedule stretches or shrinks to it), reports on the way."""

    def __init__(self, model: VariationalAutoencoder, average: WeightAverage, test: np.ndarray, options: Any) -> None:
        self.model, self.average, self.test, self.options = model, average, test, options
        self.spent, self.reported, self.curve = 0.0, 0.0, []  # type: ignore[var-annotated]
        self.checkpoint = Path("runs/mnist.pt")

    def on_fit_start(self, loop: Any) -> None:
        if self.options.resume and self.checkpoint.exists():
            saved = torch.load(self.checkpoint, weights_only=True)
            loop.state.load_state_dict(saved["state"])
            self.spent, self.curve, self.average.weights = saved["spent"], saved["curve"], saved["average"]
            self.reported = self.spent

    def on_epoch_end(self, loop: Any) -> None:
        state = loop.state
        self.spent += state.history[-1]["seconds"]
        recent = np.mean([row["seconds"] for row in state.history[-20:]])
        loop.max_epochs = state.epoch + max(0, round((self.options.minutes * 60 - self.spent) / recent))
        if self.spent - self.reported >= self.options.every * 60 or loop.max_epochs == state.epoch:
            self.reported = self.spent
            self.report(loop)

    def report(self, loop: Any) -> None:
        """Score the averaged weights on 1,000 test images with 100 samples; nothing is chosen by it."""
        current = {name: value.clone() for name, value in loop.step.model.state_dict().items()}
        loop.step.model.load_state_dict(self.average.weights)
        nats = -self.model.log_likelihood(self.test[:1000], 100).mean()
        loop.step.model.load_state_dict(current)
        minutes = self.spent / 60
        self.curve.append({"minutes": minutes, "epoch": loop.state.epoch, "nats_1000_images_100_samples": float(nats)})
        print(f"{minutes:6.1f} min  epoch {loop.state.epoch:5d}  {nats:.2f} nats", flush=True)
        self.checkpoint.parent.mkdir(exist_ok=True)
        saved = {"state": loop.state.state_dict(), "average": self.average.weights}
        torch.save({**saved, "spent": self.spent, "curve": self.curve}, self.checkpoint)
        for minute in self.options.keep:
            kept = self.checkpoint.with_name(f"mnist-{minute:g}min.pt")
            if minutes >= minute and not kept.exists():
                torch.save({"average": self.average.weights, "minutes": minutes}, kept)


def score(model: VariationalAutoencoder, test: np.ndarray, n_samples: int) -> dict[str, float]:
    """−log p(x) and −ELBO over the test images, in nats."""
    started = time.perf_counter()
    likelihood = -model.log_likelihood(test, n_samples)
    _, deviation = model.posterior(test)
    means = model.transform(test)
    return {
        "nll_nats": float(likelihood.mean()),
        "nll_standard_error": float(likelihood.std() / np.sqrt(len(test))),
        "negative_elbo_nats": float(-model.elbo(test, 10).mean()),
        "importance_samples": n_samples,
        "images": len(test),
        "active_units": int((means.var(0) > 0.01).sum()),
        "mean_posterior_deviation": float(deviation.mean()),
        "scoring_minutes": (time.perf_counter() - started) / 60,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="training time")
    parser.add_argument("--every", type=float, default=5, help="minutes between reports")
    parser.add_argument(
        "--keep", type=float, nargs="*", default=[], help="minutes whose weights are scored in full too"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--resume", action="store_true", help="go on from the last report's epoch")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/mnist.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train, test = load()
    average = WeightAverage(decay=0.9)
    model = VariationalAutoencoder(
        latent_dim=50,
        encoder=MLPEncoder((200, 200), activation="tanh"),
        loss="binary_cross_entropy",
        optimizer=Adam(),
        learning_rate=2e-3,
        schedule=Cosine(floor=0.03),
        batch_size=128,
        max_epochs=10**6,
        validation_fraction=0,
        compile="replay",
        random_state=0,
    )
    clock = Clock(model, average, test, options)
    model.set_params(callbacks=[Binarize(), average, clock])
    model.fit(train)
    result = {
        "setting": "784-200-200-50 tanh, batch 128, Adam 2e-3, cosine to 3 %, weights averaged over epochs (0.9)",
        "training_minutes": clock.spent / 60,
        "epochs": model.n_iter_,
        "threads": options.threads,
        "published_nats": PUBLISHED,
        "curve": clock.curve,
        "final": score(model, test, options.samples),
    }
    for minute in options.keep:
        kept = torch.load(clock.checkpoint.with_name(f"mnist-{minute:g}min.pt"), weights_only=True)
        model.module_.load_state_dict(kept["average"])
        result[f"after_{minute:g}_minutes"] = {**score(model, test, options.samples), "minutes": kept["minutes"]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))
    print(json.dumps({key: value for key, value in result.items() if key != "curve"}, indent=1))


if __name__ == "__main__":
    main()
