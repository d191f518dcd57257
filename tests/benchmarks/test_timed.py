"""A timed run: its end, its reports, and going on from a checkpoint."""

import numpy as np
import pytest
import torch
from timed import Timed, averaged

from isthmus import Autoencoder, Callback, WeightAverage

X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)


class EpochsOf(Callback):
    """Makes every epoch last so many seconds, and cuts a run off after some of them."""

    def __init__(self, seconds, cut=None):
        self.seconds, self.cut = seconds, cut

    def on_epoch_end(self, loop):
        loop.state.history[-1]["seconds"] = self.seconds
        if loop.state.epoch == self.cut:
            loop.state.stop = "cut off"


def run(folder, cut=None, resume=False):
    average, figures = WeightAverage(0.5), []

    def measure():
        figures.append(float(model.score(X)))
        return {"score": figures[-1]}

    timed = Timed(1.0, 0.25, average, measure, folder / "run.pt", resume)
    model = Autoencoder(max_epochs=10**6, validation_fraction=0, schedule=None, random_state=0)
    model.set_params(callbacks=[EpochsOf(5.0, cut), average, timed]).fit(X)
    return model, timed


def test_it_ends_with_its_minutes_and_reports_on_the_way(tmp_path):
    model, timed = run(tmp_path)
    assert model.n_iter_ == 12  # of 5 seconds each
    assert [row["epoch"] for row in timed.curve] == [3, 6, 9, 12]
    assert [row["minutes"] for row in timed.curve] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert timed.curve[-1]["score"] == pytest.approx(model.score(X))  # the averaged weights, which the run ends with


def test_a_run_that_was_cut_off_ends_with_the_same_bits(tmp_path):
    whole, expected = run(tmp_path / "whole")
    run(tmp_path / "cut", cut=8)  # the checkpoint stands at epoch 6
    model, timed = run(tmp_path / "cut", resume=True)
    assert timed.curve == expected.curve
    for name, value in whole.module_.state_dict().items():
        assert torch.equal(value, model.module_.state_dict()[name])


def test_averaged_weights_are_lent_only():
    network, average = torch.nn.Linear(2, 2), WeightAverage()
    own = network.weight.detach().clone()
    average.weights = {name: value * 0 for name, value in network.state_dict().items()}
    with averaged(network.train(), average):
        assert not network.weight.any()
    assert torch.equal(network.weight, own)
    assert network.training
