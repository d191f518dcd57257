"""The peers of `speed.py`, each with the networks of that file, written as its own documentation writes it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Run = Callable[[Any, np.ndarray, int], None]


def mlp_regressor(case: Any, X: np.ndarray, epochs: int) -> None:
    """scikit-learn, X → X. Its bottleneck is a ReLU like its other hidden layers."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(
        hidden_layer_sizes=(64, 32, 64), batch_size=case.batch, max_iter=epochs, tol=0, n_iter_no_change=epochs + 1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, X)


class VAE(nn.Module):
    """784-400-(20, 20)-400-784, in a form that a trainer can call."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.mean, self.log_variance = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
        self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = torch.relu(self.hidden(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.decoder(z), mean, log_variance


class NegativeELBO(nn.Module):
    """Mean over the batch, nats."""

    def forward(self, output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
        logits, mean, log_variance = output
        nll = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (nll - 0.5 * torch.sum(1 + log_variance - mean.square() - log_variance.exp())) / len(x)


def skorch(case: Any, X: np.ndarray, epochs: int) -> None:
    """A NeuralNet without its validation split, which the others have not either."""
    from skorch import NeuralNet

    table = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 32), nn.Linear(32, 64), nn.ReLU())
    net = NeuralNet(
        nn.Sequential(table, nn.Linear(64, 30)) if case.kind == "table" else VAE,
        nn.MSELoss if case.kind == "table" else NegativeELBO,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=case.batch,
        max_epochs=epochs,
        train_split=None,
        iterator_train__shuffle=True,
        verbose=0,
    )
    net.fit(X, X)


def pythae(case: Any, X: np.ndarray, epochs: int) -> None:
    """A VAE with its own encoder and decoder, through the TrainingPipeline."""
    from pythae.models import VAE as PythaeVAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.latent_dim = 20
            self.hidden, self.mean, self.log_variance = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)

        def forward(self, x: Tensor) -> Any:
            h = torch.relu(self.hidden(x))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z))

    config = VAEConfig(input_dim=(784,), latent_dim=20, reconstruction_loss="bce")
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            learning_rate=1e-3,
            per_device_train_batch_size=case.batch,
            no_cuda=True,
        )
        model = PythaeVAE(config, encoder=Encoder(), decoder=Decoder())
        logging.disable(logging.WARNING)  # it reports on stderr, epoch by epoch
        with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
            TrainingPipeline(training_config=settings, model=model)(X)
        logging.disable(logging.NOTSET)


def keras(case: Any, X: np.ndarray, epochs: int) -> None:
    """Keras 3 on its torch backend: Sequential for the table, a sampling layer with add_loss for the VAE."""
    import keras as k

    class Sampling(k.layers.Layer):  # type: ignore[misc]
        def call(self, moments: Any) -> Any:
            mean, log_variance = moments
            kl = -0.5 * k.ops.sum(1 + log_variance - k.ops.square(mean) - k.ops.exp(log_variance), axis=1)
            self.add_loss(k.ops.mean(kl))
            return mean + k.ops.exp(0.5 * log_variance) * k.random.normal(k.ops.shape(mean))

    if case.kind == "table":
        dense = [k.layers.Dense(64, activation="relu"), k.layers.Dense(32), k.layers.Dense(64, activation="relu")]
        model = k.Sequential([k.Input((30,)), *dense, k.layers.Dense(30)])
        loss: Any = "mse"
    else:
        x = k.Input((784,))
        h = k.layers.Dense(400, activation="relu")(x)
        z = Sampling()([k.layers.Dense(20)(h), k.layers.Dense(20)(h)])
        end = k.layers.Dense(784)(k.layers.Dense(400, activation="relu")(z))
        model = k.Model(x, end)
        mean_bce = k.losses.BinaryCrossentropy(from_logits=True)

        def loss(target: Any, output: Any) -> Any:
            return 784 * mean_bce(target, output)

    model.compile(optimizer=k.optimizers.Adam(1e-3), loss=loss)
    model.fit(X, X, batch_size=case.batch, epochs=epochs, verbose=0)


def pyod(case: Any, X: np.ndarray, epochs: int) -> None:
    """Its AutoEncoder, without batch norm and dropout, which the other sides have not. It scores X at the end."""
    from pyod.models.auto_encoder import AutoEncoder

    AutoEncoder(
        hidden_neuron_list=[64, 32],
        batch_norm=False,
        dropout_rate=0.0,
        lr=1e-3,
        epoch_num=epochs,
        batch_size=case.batch,
        verbose=0,
    ).fit(X)


PEERS: dict[str, tuple[str, tuple[str, ...], Run]] = {
    "MLPRegressor": ("sklearn.neural_network", ("table",), mlp_regressor),
    "skorch": ("skorch", ("table", "vae"), skorch),
    "pythae": ("pythae.pipelines", ("vae",), pythae),
    "keras": ("keras", ("table", "vae"), keras),
    "pyod": ("pyod.models.auto_encoder", ("table",), pyod),
}
"""Name: the module that must import, the networks it takes part with, one fit."""


def available(wanted: str) -> tuple[dict[str, tuple[tuple[str, ...], Run]], dict[str, str]]:
    """The peers that import, and why the others do not."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    found, skipped = dict[str, tuple[tuple[str, ...], Run]](), dict[str, str]()
    for name, (module, kinds, run) in PEERS.items():
        if wanted != "all" and name not in wanted.split(","):
            continue
        try:
            importlib.import_module(module)
        except ImportError as error:
            skipped[name] = str(error)
        else:
            found[name] = (kinds, run)
    return found, skipped


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of the packages that take part."""
    packages = {"MLPRegressor": "scikit-learn"}
    found = {packages.get(name, name): importlib.metadata.version(packages.get(name, name)) for name in names}
    return {**found, "keras backend": os.environ["KERAS_BACKEND"]} if "keras" in found else found
