"""Runs that stop before their end, and what is asked of the runs that go on from them."""

import numpy as np
import torch

from isthmus import Callback, GaussianNoise, MLPEncoder, VariationalAutoencoder

X = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)


class Crash(Callback):
    """An end that nobody planned."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, loop):
        if loop.state.epoch == self.epoch:
            raise RuntimeError("crash")


def table(**more):
    """Noise, dropout, validation, a schedule, early stopping: 6 steps in each of 6 epochs."""
    given = {"max_epochs": 6, "patience": 3, "batch_size": 32, "random_state": 0} | more
    return VariationalAutoencoder(encoder=MLPEncoder((16,), dropout=0.2), corruption=GaussianNoise(0.1), **given)


def assert_same(one, other):
    """The same weights, bit for bit, and the same history but for its seconds."""
    weights = [model.module_.state_dict() for model in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert all(map(torch.equal, *(state.values() for state in weights)))
    assert history(one) == history(other)


def history(model):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in model.history_]
