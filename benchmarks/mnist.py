"""A variational autoencoder on MNIST in the setting of Burda et al. (2016): nats against minutes.

784-200-200-50, tanh, one stochastic layer, the training images binarised anew each epoch; the test
images binarised once with seed 0; 5,000 importance samples an image, all 10,000 images. The published
figure of this model (VAE, k = 1, one layer) is −log p(x) ≤ 86.76 nats. Start, learning rate and warm-up
were chosen on the last 5,000 training images (``--choose`` trains on the others and scores them).

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
from timed import Timed
from torch import nn

from isthmus import (
    Adam,
    Binarize,
    Callback,
    Cosine,
    MLPEncoder,
    VariationalAutoencoder,
    WeightAverage,
    WeightSchedule,
)

PUBLISHED = 86.76


def load(choose: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Training images as probabilities in [0, 1]; test images binarised once with seed 0."""
    data = np.load(Path(os.environ["ISTHMUS_DATA"]) / "mnist.npz")
    train, test = (data[name].reshape(-1, 784).astype(np.float32) / 255 for name in ("x_train", "x_test"))
    if choose:
        train, test = train[:55_000], train[55_000:]
    drawn = np.random.default_rng(0).random(test.shape) < test
    return train, drawn.astype(np.float32)


class BurdaStart(Callback):
    """The start of Burda's code: Glorot's uniform weights, biases zero, the output's at the mean image's logit."""

    def __init__(self, mean: np.ndarray) -> None:
        self.mean = torch.from_numpy(mean)

    @torch.no_grad()
    def on_fit_start(self, loop: Any) -> None:
        generator = torch.Generator().manual_seed(0)
        for layer in loop.step.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                layer.bias.zero_()
        loop.step.model.decoder.end.bias.copy_(self.mean.clamp(1e-3, 1 - 1e-3).logit())


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
    parser.add_argument("--warm-up", type=int, default=60, help="epochs in which the weight of the KL rises to 1")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--plain-start", action="store_true", help="PyTorch's own first weights")
    parser.add_argument("--choose", action="store_true", help="hold out, and score, the last 5,000 training images")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--resume", action="store_true", help="go on from the last report's epoch")
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/mnist.pt"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/mnist.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train, test = load(options.choose)
    average = WeightAverage(decay=0.9)
    model = VariationalAutoencoder(
        latent_dim=50,
        encoder=MLPEncoder((200, 200), activation="tanh"),
        loss="binary_cross_entropy",
        optimizer=Adam(),
        learning_rate=options.learning_rate,
        schedule=Cosine(floor=0.03),
        batch_size=options.batch,
        max_epochs=10**6,
        validation_fraction=0,
        compile="replay",
        random_state=0,
    )
    kept = {minute: options.checkpoint.with_name(f"mnist-{minute:g}min.pt") for minute in options.keep}
    if not options.resume:
        for path in kept.values():
            path.unlink(missing_ok=True)

    def measure() -> dict[str, float]:
        for minute, path in kept.items():
            if timed.spent / 60 >= minute and not path.exists():
                path.parent.mkdir(exist_ok=True)
                torch.save({"minutes": timed.spent / 60, "weights": average.weights}, path)
        return {"nats_1000_images_100_samples": float(-model.log_likelihood(test[:1000], 100).mean())}

    timed = Timed(options.minutes, options.every, average, measure, options.checkpoint, options.resume)
    start = [] if options.plain_start else [BurdaStart(train.mean(0))]
    model.set_params(callbacks=[*start, Binarize(), WeightSchedule(epochs=options.warm_up), average, timed])
    model.fit(train)
    result = {
        "setting": f"784-200-200-50 tanh, batch {options.batch}, Adam {options.learning_rate:g}, cosine to 3 %, "
        f"KL warm-up {options.warm_up} epochs, {'plain' if options.plain_start else 'Burda'} start, "
        "weights averaged over epochs (0.9)",
        "training_minutes": timed.spent / 60,
        "epochs": model.n_iter_,
        "threads": options.threads,
        "published_nats": PUBLISHED,
        "curve": timed.curve,
        "final": score(model, test, options.samples),
    }
    for minute, path in kept.items():
        found = torch.load(path, weights_only=True)
        model.module_.load_state_dict(found["weights"])
        result[f"after_{minute:g}_minutes"] = {**score(model, test, options.samples), "minutes": found["minutes"]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))
    print(json.dumps({key: value for key, value in result.items() if key != "curve"}, indent=1))


if __name__ == "__main__":
    main()
