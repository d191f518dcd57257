"""The one step: what it moves, and the ways to run it. The table of all parts is in test_contract.py."""

from __future__ import annotations

import torch

from isthmus.encoders import MLPEncoder
from isthmus.optimizers import SGD, Adam, clip_gradients
from isthmus.penalties import L2Weights
from isthmus.training.step import eager_step, replayed_step
from isthmus.types import Batch
from toys import line, randn, train_step

X = Batch(randn(8, 4))


def test_a_step_is_gradient_then_clip_then_update():
    step, rate = train_step(line(4), L2Weights(0.1)), torch.tensor(0.1, dtype=torch.float64)
    parameters = list(step.parameters())
    gradients = clip_gradients(list(torch.autograd.grad(step(X)[0], parameters)), 0.5)
    expected = [p.detach() - 0.1 * g for p, g in zip(parameters, gradients, strict=True)]
    eager_step(step, SGD(), SGD().state(parameters), 0.5)(X, rate)
    for parameter, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=0, atol=1e-12)


def test_the_first_step_moves_buffers_once():
    step = train_step(line(4, encoder=MLPEncoder((5,), normalization="batch")))
    count = step.model.encoder.layers[1].num_batches_tracked
    run = replayed_step(step, Adam(), Adam().state(list(step.parameters())), None)
    for n in range(3):
        assert int(count) == n
        run(X, torch.tensor(0.1))


def test_a_replay_obeys_rate_and_strength_without_a_new_record():
    step = train_step(line(4), L2Weights(0.1))
    run = replayed_step(step, SGD(), SGD().state([]), None)
    run(X, torch.tensor(0.1, dtype=torch.float64))
    before = [parameter.detach().clone() for parameter in step.parameters()]
    first = run(X, torch.tensor(0.0, dtype=torch.float64))
    assert all(torch.equal(old, new) for old, new in zip(before, step.parameters(), strict=True))
    step.objective.penalties[0].strength.fill_(0.3)
    second = run(X, torch.tensor(0.1, dtype=torch.float64))
    torch.testing.assert_close(second["objective"] - first["objective"], 0.2 * first["l2_weights"])
    assert not torch.equal(before[0], next(step.parameters()))


def test_a_replay_goes_on_from_loaded_weights():
    step = train_step(line(4))
    run = replayed_step(step, SGD(), SGD().state([]), None)
    run(X, torch.tensor(0.1))
    step.load_state_dict({name: torch.zeros_like(value) for name, value in step.state_dict().items()})
    terms = run(X, torch.tensor(0.0))
    torch.testing.assert_close(terms["loss"], X.x.square().sum(1).mean())  # all weights 0, so x̂ = 0


class Peeking(L2Weights):
    """Looks at a value, which no record can hold: every second call counts nothing."""

    calls = 0

    def forward(self, trace, model, noise=None):
        self.calls += 1
        value = super().forward(trace, model, noise)
        return value * (float(value.detach() > 0) * (self.calls % 2))


def test_what_cannot_be_replayed_runs_as_written_and_says_so(caplog):
    step = train_step(line(4), Peeking(0.1))
    run = replayed_step(step, SGD(), SGD().state([]), None)
    counted = [float(run(X, torch.tensor(0.0))["peeking"]) > 0 for _ in range(4)]
    assert counted == [True, False, True, False]
    assert [record.message for record in caplog.records] == [
        "steps cannot be replayed and run as written: aten._local_scalar_dense.default looks at a tensor's values"
    ]
