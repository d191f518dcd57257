"""The course's rules for L2 and L1, each pinned to 1e-12 in float64."""

from __future__ import annotations

import pytest
import torch

from isthmus.encoders import MLPEncoder
from isthmus.optimizers import SGD
from isthmus.penalties import L1Weights, L2Weights
from isthmus.training.step import eager_step
from isthmus.types import Batch
from toys import line, randn, train_step

RATE, WEIGHT = 0.1, 0.03


def one_step(penalty):
    """Weights before and after one step of SGD, and ∂Loss/∂w without the penalty, by name."""
    step, batch = train_step(line(4, encoder=MLPEncoder((5,), "tanh", "layer")), penalty), Batch(randn(8, 4))
    with torch.no_grad():
        step.model.bottleneck.linear.weight[0, :3] = 0
    before = {name: value.detach().clone() for name, value in step.model.named_parameters()}
    trace = step.model(batch)
    slopes = torch.autograd.grad(step.model.loss(trace.output, batch.x).mean(), list(step.model.parameters()))
    run = eager_step(step, SGD(), SGD().state([]), None)
    run(batch, torch.tensor(RATE, dtype=torch.float64))
    if hasattr(penalty, "after_step"):
        penalty.after_step(RATE)
    after = dict(step.model.named_parameters())
    return [(name, before[name], slope, after[name]) for name, slope in zip(before, slopes, strict=True)]


def test_l2_step():
    """w ← w − η (∂Loss/∂w + 2λw); biases and gains have no such term."""
    for _, w, slope, after in one_step(L2Weights(WEIGHT)):
        decay = 2 * WEIGHT * w if w.dim() > 1 else 0
        torch.testing.assert_close(after, w - RATE * (slope + decay), rtol=0, atol=1e-12)


def test_l1_step():
    """w ← w − η (∂Loss/∂w + λ sign(w)), with sign(0) = 0."""
    for name, w, slope, after in one_step(L1Weights(WEIGHT)):
        shrink = WEIGHT * w.sign() if w.dim() > 1 else 0
        torch.testing.assert_close(after, w - RATE * (slope + shrink), rtol=0, atol=1e-12)
        if name == "bottleneck.linear.weight":
            torch.testing.assert_close(after[0, :3], -RATE * slope[0, :3], rtol=0, atol=1e-12)


def test_proximal_l1_step():
    """w ← sign(v) max(|v| − ηλ, 0) with v = w − η ∂Loss/∂w."""
    for _, w, slope, after in one_step(L1Weights(WEIGHT, proximal=True)):
        v = w - RATE * slope
        wanted = v.sign() * (v.abs() - RATE * WEIGHT).clamp(min=0) if w.dim() > 1 else v
        torch.testing.assert_close(after, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("proximal", [True, False])
def test_only_the_proximal_step_reaches_exact_zeros(proximal):
    penalty = L1Weights(0.5, proximal)
    step, batch = train_step(line(4), penalty), Batch(randn(32, 4))
    run = eager_step(step, SGD(), SGD().state([]), None)
    for _ in range(200):
        run(batch, torch.tensor(0.02, dtype=torch.float64))
        penalty.after_step(0.02)
    zeros = sum(int((value == 0).sum()) for value in step.model.parameters() if value.dim() > 1)
    assert (zeros > 10) == proximal


def test_values():
    """Σ W² and Σ |W| over matrices alone."""
    step = train_step(line(4, encoder=MLPEncoder((5,), "tanh", "layer")))
    for parameter in step.model.parameters():
        parameter.data.fill_(-0.5)
    trace = step.model(Batch(randn(2, 4)))
    # 4·5 + 5·2 + 2·5 + 5·4 = 60 weights of −½
    assert L2Weights()(trace, step.model).item() == pytest.approx(15, abs=1e-12)
    assert L1Weights()(trace, step.model).item() == pytest.approx(30, abs=1e-12)
