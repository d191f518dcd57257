"""A run that is saved in the middle of an epoch and goes on elsewhere has the bits of one that never stopped."""

from __future__ import annotations

import io

import pytest
import torch

from isthmus.bottlenecks import Gaussian
from isthmus.corruptions import Masking
from isthmus.encoders import MLPEncoder
from isthmus.losses import GaussianNLL
from isthmus.optimizers import SGD, Adam
from isthmus.penalties import KLPrior
from isthmus.schedules import Cosine
from isthmus.training.callbacks import EarlyStopping, WeightAverage, WeightSchedule
from isthmus.training.loop import Loop
from isthmus.training.resident import Resident
from isthmus.training.rng import isolated_rng
from isthmus.types import Batch
from toys import line, randn, train_step

ROWS = Batch(randn(50, 4, dtype=torch.float32), weight=torch.linspace(0.5, 2, 50))


class Saver(KLPrior):
    """The penalty of a VAE, with a hook that saves the whole state after one step."""

    def arm(self, loop, at):
        self.loop, self.at, self.saved = loop, at, None

    def after_step(self, learning_rate):
        if self.loop.state.n_steps == self.at:
            self.saved = self.loop.state.state_dict()


def run(seed, optimizer, compile, *, save_at=-1, resume=None, stopping=True):
    """A VAE with dropout, corruption, schedules and validation: 6 epochs of 4 steps."""
    encoder = MLPEncoder((5,), "relu", "batch", dropout=0.2)
    parts = {"bottleneck": Gaussian(), "loss": GaussianNLL(), "corruption": Masking(0.1)}
    step = train_step(line(4, encoder=encoder, **parts, seed=seed, double=False), penalty := Saver())
    loop = Loop(
        step,
        Resident(ROWS, 16, seed),
        optimizer,
        learning_rate=0.02,
        schedule=Cosine(warmup=0.1),
        clip_norm=1.0,
        max_epochs=6,
        compile=compile,
        validation=Resident(Batch(randn(20, 4, seed=9, dtype=torch.float32)), 20, 0),
        callbacks=[
            *([EarlyStopping(patience=2)] if stopping else []),
            WeightSchedule("saver", epochs=4),
            WeightAverage(),
        ],
        seed=3,
    )
    penalty.__dict__["loop"] = None
    penalty.arm(loop, save_at)
    with isolated_rng(seed):
        if resume is not None:
            loop.state.load_state_dict(resume)
        state = loop.run()
    figures = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in state.history]
    return state, figures, penalty.saved


@pytest.mark.parametrize("compile", [False, "replay"])
@pytest.mark.parametrize(("optimizer", "at"), [(Adam(), 10), (SGD(0.9), 5), (Adam(), 8)], ids=repr)
def test_resumed_in_the_middle_of_an_epoch(optimizer, at, compile):
    whole, history, saved = run(1, optimizer, compile, save_at=at)
    buffer = io.BytesIO()
    torch.save(saved, buffer)  # tensors and plain values only: it loads without pickle's powers
    buffer.seek(0)
    resumed, again, _ = run(2, optimizer, compile, resume=torch.load(buffer, weights_only=True))
    assert again == history
    assert (resumed.n_steps, resumed.epoch, resumed.stop) == (whole.n_steps, whole.epoch, whole.stop)
    for name, value in whole.step.state_dict().items():
        assert torch.equal(resumed.step.state_dict()[name], value), name
    for name, tensors in whole.memory.items():
        assert all(torch.equal(a, b) for a, b in zip(tensors, resumed.memory[name], strict=True)), name


def test_a_resumed_run_ends_with_the_average_of_all_epochs():
    whole, _, saved = run(1, Adam(), False, save_at=14, stopping=False)
    resumed, _, _ = run(2, Adam(), False, resume=saved, stopping=False)
    assert whole.best_weights is None
    for name, value in whole.step.state_dict().items():
        assert torch.equal(resumed.step.state_dict()[name], value), name


def test_what_is_saved_does_not_move_with_the_run():
    _, _, saved = run(1, Adam(), False, save_at=3)
    weights = saved["step"]
    state, _, _ = run(1, Adam(), False)
    assert saved["n_steps"] == 3
    assert len(saved["log"]) == 3
    assert not torch.equal(weights["model.decoder.end.weight"], state.step.state_dict()["model.decoder.end.weight"])


def test_the_best_weights_are_kept():
    state, history, _ = run(1, Adam(), False)
    best = min(range(len(history)), key=lambda i: history[i]["val_objective"])
    assert state.best_epoch == best + 1
    assert state.best_value == history[best]["val_objective"]
    for name, value in state.best_weights.items():
        assert torch.equal(state.step.model.state_dict()[name], value)
