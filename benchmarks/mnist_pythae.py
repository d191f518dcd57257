"""Minutes of training until 90 nats on MNIST, beside pythae's trainer with the same network.

Both: 784-200-200-50, tanh, batch 128, Adam at 2e-3 throughout, training images drawn anew each time
they are seen. After each epoch (the clock stopped) the weights are scored by isthmus' estimator: 100
importance samples, the first 1,000 binarised test images. pythae is skipped, by name, where it does
not import.

    python benchmarks/mnist_pythae.py --minutes 30 --threads 2
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mnist import load
from timed import CLOCKS
from torch import nn

from isthmus import Binarize, Callback, MLPEncoder, VariationalAutoencoder
from isthmus.training.allocator import keep_freed_memory

GOAL = 90.0


class Watch:
    """Stops the clock while the weights are scored."""

    def __init__(self, name: str, test: np.ndarray, minutes: float, every: int, clock: str = "wall") -> None:
        self.clock = CLOCKS[clock]
        self.name, self.test, self.limit, self.every = name, test[:1000], minutes, every
        self.spent, self.epochs, self.curve = 0.0, 0, []  # type: ignore[var-annotated]
        self.started = self.clock()

    def epoch_ends(self, scorer: VariationalAutoencoder) -> bool:
        """Whether to stop: the goal is reached, or the time is over."""
        self.spent += self.clock() - self.started
        self.epochs += 1
        stop = self.spent / 60 >= self.limit
        if self.epochs % self.every == 0 or stop:
            nats = float(-scorer.log_likelihood(self.test, 100).mean())
            self.curve.append({"minutes": self.spent / 60, "epoch": self.epochs, "nats": nats})
            print(f"{self.name:8s} {self.spent / 60:6.2f} min  epoch {self.epochs:4d}  {nats:.2f} nats", flush=True)
            stop = stop or nats <= GOAL
        self.started = self.clock()
        return stop

    def result(self) -> dict[str, Any]:
        """Minutes to the goal (None where it was not reached) and the curve."""
        reached = [row["minutes"] for row in self.curve if row["nats"] <= GOAL]
        return {"minutes_to_90_nats": reached[0] if reached else None, "epochs": self.epochs, "curve": self.curve}


class Ours(Callback):
    """Asks the watch after each epoch."""

    def __init__(self, watch: Watch, model: VariationalAutoencoder) -> None:
        self.watch, self.model = watch, model

    def on_epoch_start(self, loop: Any) -> None:
        if loop.state.epoch == 0:
            self.watch.started = self.watch.clock()

    def on_epoch_end(self, loop: Any) -> None:
        if self.watch.epoch_ends(self.model):
            loop.state.stop = "the goal is reached, or the time is over"


def estimator(**more: Any) -> VariationalAutoencoder:
    """The network both train."""
    return VariationalAutoencoder(
        latent_dim=50,
        encoder=MLPEncoder((200, 200), activation="tanh"),
        loss="binary_cross_entropy",
        learning_rate=2e-3,
        batch_size=128,
        validation_fraction=0,
        compile="replay",
        random_state=0,
        **more,
    )


def run_isthmus(train: np.ndarray, watch: Watch) -> None:
    """`fit`, as a user would."""
    model = estimator(max_epochs=10_000)
    model.set_params(callbacks=[Binarize(), Ours(watch, model)]).fit(train)


def run_pythae(train: np.ndarray, watch: Watch) -> None:
    """pythae's TrainingPipeline, as its users write it."""
    from pythae.data.datasets import DatasetOutput
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.latent_dim = 50
            self.layers = nn.Sequential(nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh())
            self.mean, self.log_variance = nn.Linear(200, 50), nn.Linear(200, 50)

        def forward(self, x: torch.Tensor) -> ModelOutput:
            h = self.layers(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(50, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh())
            self.end = nn.Linear(200, 784)

        def forward(self, z: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=torch.sigmoid(self.end(self.layers(z))))

    class Drawn(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __init__(self) -> None:
            self.probabilities = torch.from_numpy(train)

        def __len__(self) -> int:
            return len(self.probabilities)

        def __getitem__(self, i: int) -> DatasetOutput:
            return DatasetOutput(data=torch.bernoulli(self.probabilities[i]))

    class Over(Exception):
        pass

    class Score(TrainingCallback):
        def on_train_begin(self, training_config: Any, **kwargs: Any) -> None:
            watch.started = watch.clock()

        def on_epoch_end(self, training_config: Any, **kwargs: Any) -> None:
            copy_weights(model, scorer)
            if watch.epoch_ends(scorer):
                raise Over

    scorer = estimator(max_epochs=1).fit(train[:256])
    config = VAEConfig(input_dim=(784,), latent_dim=50, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder, num_epochs=10_000, learning_rate=2e-3, per_device_train_batch_size=128, no_cuda=True
        )
        try:
            TrainingPipeline(training_config=settings, model=model)(Drawn(), callbacks=[Score()])
        except Over:
            logging.getLogger(__name__).info("pythae stopped")


def copy_weights(theirs: nn.Module, ours: VariationalAutoencoder) -> None:
    """pythae's weights into isthmus' line, layer by layer."""
    source = {name: value.detach() for name, value in theirs.state_dict().items()}
    heads = ("encoder.mean", "encoder.log_variance")
    state = ours.module_.state_dict()
    for kind in ("weight", "bias"):
        for side in ("encoder", "decoder"):
            for layer in ("0", "2"):
                state[f"{side}.layers.{layer}.{kind}"] = source[f"{side}.layers.{layer}.{kind}"]
        state[f"bottleneck.linear.{kind}"] = torch.cat([source[f"{head}.{kind}"] for head in heads])
        state[f"decoder.end.{kind}"] = source[f"decoder.end.{kind}"]
    ours.module_.load_state_dict(state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30, help="limit of training time for each")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--every", type=int, default=5, help="epochs between scores")
    parser.add_argument("--only", choices=["isthmus", "pythae"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/mnist_pythae.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    train, test = load()
    results: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name, run in (("isthmus", run_isthmus), ("pythae", run_pythae)):
        if options.only not in (None, name):
            continue
        watch = Watch(name, test, options.minutes, options.every, options.clock)
        try:
            run(train, watch)
            results[name] = {"threads": options.threads, "clock": options.clock, **watch.result()}
        except ImportError as error:
            results[name] = {"skipped": str(error)}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1))
    for name, result in results.items():
        print(name, result.get("skipped") or result["minutes_to_90_nats"])


if __name__ == "__main__":
    main()
