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


def test_buffers_move_in_a_replay_and_not_in_its_trace():
    step = train_step(line(4, encoder=MLPEncoder((5,), normalization="batch")))
    mean = step.model.encoder.layers[1].running_mean
    memory = Adam().state(list(step.parameters()))
    run = replayed_step(step, Adam(), memory, None, X, torch.tensor(0.1))
    assert (mean == 0).all()
    run(X, torch.tensor(0.1))
    assert not (mean == 0).any()
    assert int(step.model.encoder.layers[1].num_batches_tracked) == 1


def test_a_replay_obeys_rate_and_strength_without_a_new_trace():
    step = train_step(line(4), L2Weights(0.1))
    run = replayed_step(step, SGD(), SGD().state([]), None, X, torch.tensor(0.1, dtype=torch.float64))
    before = [parameter.detach().clone() for parameter in step.parameters()]
    first = run(X, torch.tensor(0.0, dtype=torch.float64))
    assert all(torch.equal(old, new) for old, new in zip(before, step.parameters(), strict=True))
    step.objective.penalties[0].strength.fill_(0.3)
    second = run(X, torch.tensor(0.1, dtype=torch.float64))
    torch.testing.assert_close(second["objective"] - first["objective"], 0.2 * first["l2_weights"])
    assert not torch.equal(before[0], next(step.parameters()))


def test_a_replay_goes_on_from_loaded_weights():
    step = train_step(line(4))
    run = replayed_step(step, SGD(), SGD().state([]), None, X, torch.tensor(0.1))
    step.load_state_dict({name: torch.zeros_like(value) for name, value in step.state_dict().items()})
    terms = run(X, torch.tensor(0.0))
    torch.testing.assert_close(terms["loss"], X.x.square().sum(1).mean())  # all weights 0, so x̂ = 0
