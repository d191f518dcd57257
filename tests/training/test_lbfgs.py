"""L-BFGS: where it ends, what it costs, what its history says, when it stops, what it refuses."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from isthmus import LBFGS, Autoencoder, Callback, Contractive, GaussianNoise, L1Weights, MLPEncoder
from isthmus.errors import ParameterError

X = load_digits().data[:200] / 16


class Watch(Callback):
    """Counts evaluations of the objective, and keeps the loop to look at."""

    def on_fit_start(self, loop):
        self.evaluations, self.loop = 0, loop
        self.handle = loop.step.register_forward_hook(self.count)

    def count(self, *_):
        self.evaluations += 1

    def on_fit_end(self, loop):
        self.handle.remove()


def linear(**changes):
    settings = {
        "latent_dim": 4,
        "encoder": MLPEncoder(hidden_dims=()),
        "scale": None,
        "optimizer": LBFGS(iterations=20),
        "max_epochs": 60,
        "validation_fraction": 0,
        "precision": "64-true",
        "random_state": 0,
    }
    return Autoencoder(**{**settings, **changes})


def test_a_linear_autoencoder_reaches_the_error_of_pca():
    model = linear().fit(X)
    pca = PCA(4).fit(X)
    least = np.square(pca.inverse_transform(pca.transform(X)) - X).sum(1).mean()
    assert model.history_[-1]["objective"] == pytest.approx(least, rel=1e-6)


def test_neither_learning_rate_nor_schedule_matters():
    given = ({"learning_rate": 1e-3, "schedule": "cosine"}, {"learning_rate": 1.0, "schedule": None})
    slow, fast = (linear(max_epochs=3, **settings).fit(X).transform(X) for settings in given)
    np.testing.assert_array_equal(slow, fast)


def test_an_iteration_takes_little_more_than_one_evaluation():
    watch = Watch()
    linear(max_epochs=5, callbacks=[watch]).fit(X)
    assert watch.evaluations <= 1.3 * 5 * 20


def test_the_history_is_that_of_the_weights_an_epoch_ends_with():
    model = linear(max_epochs=2).fit(X)
    error = np.square(model.reconstruct(X).astype(float) - X).sum(1).mean()
    assert model.history_[-1]["loss"] == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_it_stops_where_it_cannot_go_on(precision):
    watch = Watch()
    model = linear(max_epochs=1000, precision=precision, callbacks=[watch]).fit(X)
    assert model.n_iter_ < 200
    assert watch.loop.state.stop.startswith("L-BFGS cannot lower the objective")
    assert ("single precision" in watch.loop.state.stop) == (precision == "32-true")


def test_noise_and_dropout_are_the_same_at_every_evaluation():
    before = torch.get_rng_state()
    model = linear(encoder=MLPEncoder((32,), dropout=0.2), corruption=GaussianNoise(0.2), max_epochs=10).fit(X)
    objectives = [row["objective"] for row in model.history_]
    assert all(later < earlier for earlier, later in itertools.pairwise(objectives))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("name", "value"), [("clip_norm", 1.0), ("precision", "bf16-mixed")])
def test_what_belongs_to_mini_batches_is_refused_by_name(name, value):
    watch = Watch()
    with pytest.raises(ParameterError, match=rf"^{name} must .* optimizer LBFGS"):
        linear(**{name: value, "callbacks": [watch]}).fit(X)
    assert watch.evaluations == 0


def test_a_proximal_step_is_refused_and_the_plain_penalty_is_not():
    with pytest.raises(ParameterError, match=r"optimizer must be .* with L1Weights, got LBFGS"):
        linear(penalties=[L1Weights(1e-3, proximal=True)]).fit(X)
    plain = linear(penalties=[L1Weights(1e-3)], max_epochs=2).fit(X)
    assert plain.history_[1]["objective"] < plain.history_[0]["objective"]


def test_a_penalty_that_differentiates_the_trace_goes_down_too():
    history = linear(penalties=[Contractive(0.1)], max_epochs=3).fit(X).history_
    assert history[-1]["objective"] < history[0]["objective"]
    assert history[-1]["objective"] == pytest.approx(history[-1]["loss"] + 0.1 * history[-1]["contractive"])
