"""Fits by several processes; a module of its own, since new processes import what they run."""

import os
import signal
import time

import numpy as np
import torch
import torch.distributed as dist

from isthmus import (
    Autoencoder,
    Callback,
    ConvEncoder,
    Dense,
    GaussianNoise,
    L1Weights,
    MLPEncoder,
    RNNEncoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from isthmus.errors import ParameterError
from isthmus.training.processes import current
from stopped import Crash

X = np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32)
SMALL = {"max_epochs": 3, "batch_size": 18, "random_state": 0, "validation_fraction": 0.2}


class Counting(Dense):
    """A dense neck that counts the rows it sees in training."""

    seen = 0

    def forward(self, features, noise=torch.randn_like):
        type(self).seen += len(features.h) if self.training else 0
        return super().forward(features, noise)


class Killed(Callback):
    """The last process is killed after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, loop):
        if loop.state.epoch == self.epoch and current().rank == current().size - 1 > 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Asleep(Callback):
    """The last process is for a long time elsewhere."""

    def on_epoch_end(self, loop):
        if current().rank == current().size - 1:
            time.sleep(600)


class Moments(Callback):
    """What share of Adam's moments this process has."""

    def on_epoch_end(self, loop):
        moments = loop.state.memory.get("mean")
        if moments is None:  # SGD
            return
        here = sum((moment.to_local() if hasattr(moment, "to_local") else moment).numel() for moment in moments)
        self.share = here / sum(moment.numel() for moment in moments)


def models(**more):
    """Each must be the same by one process and by two.

    A bias ahead of a batch norm has no gradient but rounding, which Adam would scale up: so SGD.
    """
    given = SMALL | more
    plain, normed = MLPEncoder((8,)), MLPEncoder((8,), normalization="batch", dropout=0.2)
    return {
        "noise-free": Autoencoder(encoder=plain, clip_norm=0.5, **given),
        "noisy": VariationalAutoencoder(encoder=plain, corruption=GaussianNoise(0.3), **given),
        "KL sparsity": SparseAutoencoder(encoder=plain, sparsity="kl", **given),
        "batch norm, dropout": Autoencoder(encoder=normed, optimizer="sgd", **given | {"learning_rate": 0.01}),
        "trimmed": Autoencoder(encoder=plain, trim=0.2, **given),
    }


def told(model):
    """Weights and history."""
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in model.history_]
    return {name: value.clone() for name, value in model.module_.state_dict().items()}, history


def fit_all(**more):
    """All models' weights and histories, by name."""
    return {name: told(model.fit(X)) for name, model in models(**more).items()}


def count_rows():
    """The rows that each process computes in one epoch of 4 steps of 18 rows."""
    Counting.seen = 0
    Autoencoder(encoder="mlp", bottleneck=Counting(), **SMALL | {"max_epochs": 1}).fit(X)
    counts = [None] * current().size
    dist.all_gather_object(counts, Counting.seen)
    return counts


def fit_other_rows():
    """What is said where each process has rows of its own."""
    try:
        Autoencoder(**SMALL).fit(X + current().rank)
    except ParameterError as error:
        return str(error)
    return "nothing"


def fit_and_count():
    """All in the same processes, since these take longer to start than to fit."""
    return fit_all(), count_rows(), fit_other_rows()


def fit_in_parts():
    """Batches of 20 by three, and in three parts each."""
    return fit_all(batch_size=20), told(models(batch_size=20, accumulate=3)["noisy"].fit(X))


def fit_shapes():
    """Maps, whose draws follow memory, and series, whose last batch may have fewer rows than there are processes."""
    maps = np.random.default_rng(0).normal(size=(60, 1, 8, 8)).astype(np.float32)
    series = [row[: 3 + number % 4].reshape(-1, 1) for number, row in enumerate(X)]
    encoder = ConvEncoder((4, 8), normalization="batch")
    line = RNNEncoder(hidden_size=8, dropout=0.2, num_layers=2)
    convolutional = SMALL | {"optimizer": "sgd", "learning_rate": 1e-3}
    return {
        "maps": told(VariationalAutoencoder(encoder=encoder, corruption=GaussianNoise(0.1), **convolutional).fit(maps)),
        "series": told(Autoencoder(encoder=line, **SMALL | {"batch_size": 8}).fit(series)),
    }


def fit_in(folder, epoch=None, resume=False):
    """A run with checkpoints, of which a process is killed after an epoch."""
    callbacks = [] if epoch is None else [Killed(epoch)]
    model = models(checkpoint_dir=folder, checkpoint_every=1, callbacks=callbacks)["noisy"]
    return told(model.fit(X, resume=resume))


def fit_and_sleep():
    """A run of which one process does not go on."""
    return told(models(callbacks=[Asleep()])["noisy"].fit(X))


def fit_cut(folder):
    """Where each process has a part of the weights: all models, one in parts, one that stops and goes on."""
    moments = Moments()
    fits = fit_all(callbacks=[moments])
    fits["in parts"] = told(models(accumulate=3)["noisy"].fit(X))
    proximal = [L1Weights(0.01, proximal=True)]
    fits["proximal"] = told(Autoencoder(encoder="mlp", penalties=proximal, **SMALL).fit(X))
    try:
        models(checkpoint_dir=folder, callbacks=[Crash(2)])["noisy"].fit(X)
    except RuntimeError:
        fits["resumed"] = told(models(checkpoint_dir=folder)["noisy"].fit(X, resume=True))
    return fits, moments.share
