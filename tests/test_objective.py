"""The objective: means over the batch, weights once, and the bounds on a likelihood."""

from __future__ import annotations

import math

import pytest
import torch

from isthmus.bottlenecks import Dense, Gaussian
from isthmus.errors import ParameterError, UnsupportedError
from isthmus.losses import GaussianNLL, SquaredError
from isthmus.objective import ImportanceWeighted, Objective, log_weights
from isthmus.penalties import KLPrior, KLSparsity, L1Activity, L2Weights
from isthmus.training.rng import seeded_noise
from isthmus.types import Batch
from toys import assert_replay_has_eager_bits, hand_trace, line, randn, train_step

X = randn(8, 4)


def vae():
    return line(4, bottleneck=Gaussian(), loss=GaussianNLL(1.0))


def test_total_is_the_mean_loss_plus_weighted_penalties():
    model = line(4, bottleneck=Dense("sigmoid"))
    step = train_step(model, L1Activity(0.5), L2Weights(0.1))
    trace = model(Batch(X))
    loss = (trace.output - X).square().sum(1).mean()
    l1, l2 = trace.latent.z.sum(1).mean(), sum(p.square().sum() for p in model.parameters() if p.dim() > 1)
    total, terms = step(Batch(X))
    torch.testing.assert_close(total, loss + 0.5 * l1 + 0.1 * l2)
    assert list(terms) == ["loss", "l1_activity", "l2_weights", "objective"]
    expected = [loss, l1, l2, total]
    torch.testing.assert_close(torch.stack(list(terms.values())), torch.stack(expected))


def test_a_schedule_moves_the_strength():
    step = train_step(line(4), L1Activity(0.5))
    before, terms = step(Batch(X))
    step.objective.penalties[0].strength.fill_(0.25)
    after, _ = step(Batch(X))
    torch.testing.assert_close(before - after, 0.25 * terms["l1_activity"])


def test_two_penalties_of_one_name_are_told_apart():
    assert Objective([L1Activity(), L2Weights(), L1Activity()]).names == [
        "l1_activity_0",
        "l2_weights",
        "l1_activity_2",
    ]


@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.parametrize("penalty", [KLPrior(), KLPrior(free_bits=0.3), L1Activity(), KLSparsity()], ids=repr)
def test_a_weight_of_two_is_the_row_given_twice(penalty, n_samples):
    neck = Dense("sigmoid") if isinstance(penalty, KLSparsity) else Gaussian()
    objective = Objective([penalty.build(())])
    objective.n_samples = n_samples
    step = train_step(line(4, bottleneck=neck), objective=objective)
    weight = torch.tensor([2.0, 1, 0, 1], dtype=torch.float64)
    weighted, _ = step(Batch(X[:4], weight=weight), torch.zeros_like)
    repeated, _ = step(Batch(X[[0, 0, 1, 3]]), torch.zeros_like)
    torch.testing.assert_close(weighted, repeated)


# ---------------------------------------------------------------------- importance weighting


def test_one_sample_is_the_elbo():
    model = vae()
    total, _ = train_step(model, objective=ImportanceWeighted(1))(Batch(X), seeded_noise(3))
    trace = model(Batch(X), noise=seeded_noise(3))
    elbo = -model.loss(trace.output, X) - trace.latent.log_ratio
    torch.testing.assert_close(total, -elbo.mean(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_weights(trace, model), elbo)


def test_the_bound_tightens_with_k():
    step_at = {k: train_step(vae(), objective=ImportanceWeighted(k)) for k in (1, 4, 32)}
    many = Batch(X.repeat(400, 1))
    values = [step(many, seeded_noise(0))[0].item() for step in step_at.values()]
    assert values[0] > values[1] > values[2]


def test_the_bound_by_hand():
    # two rows of two samples; log w = −(loss + log_ratio):  row 0: −1, −3;  row 1: −2, −2
    log_ratio = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)
    output = torch.tensor([0.5, 1.0, 1.0, 2.0], dtype=torch.float64).sqrt().unsqueeze(1) * math.sqrt(2)
    trace = hand_trace(output, log_ratio=log_ratio, output=output, target=torch.zeros_like(output))
    trace = trace._replace(batch=Batch(torch.zeros(2, 1)))
    model = line(1, loss=GaussianNLL(1.0))
    constant = 0.5 * math.log(2 * math.pi)
    expected = [-math.log((math.exp(-1) + math.exp(-3)) / 2), 2.0]
    total, _ = ImportanceWeighted(2)(trace, model)
    assert float(total) == pytest.approx(sum(expected) / 2 + constant, abs=1e-12)
    weighted = trace._replace(batch=Batch(torch.zeros(2, 1), weight=torch.tensor([3.0, 1.0], dtype=torch.float64)))
    total, _ = ImportanceWeighted(2)(weighted, model)
    assert float(total) == pytest.approx((3 * expected[0] + expected[1]) / 4 + constant, abs=1e-12)


def test_importance_weighted_steps_replay():
    def make():
        step = train_step(vae(), objective=ImportanceWeighted(3, [L2Weights(1e-3).build(())]))
        return step, [Batch(randn(8, 4, seed=i), weight=torch.rand(8, dtype=torch.float64)) for i in range(3)]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        _, batches = make()
        assert_replay_has_eager_bits(lambda: (make()[0], batches))


def test_what_it_refuses():
    with pytest.raises(UnsupportedError, match="remove KLPrior from penalties"):
        ImportanceWeighted(5, [KLPrior()])
    with pytest.raises(ParameterError, match="k must be a whole number of at least 1, got 0"):
        ImportanceWeighted(0)
    with pytest.raises(UnsupportedError, match="squared_error is no likelihood"):
        train_step(line(4, bottleneck=Gaussian(), loss=SquaredError()), objective=ImportanceWeighted(2))(Batch(X))
    with pytest.raises(UnsupportedError, match="bottleneck 'dense' has no posterior"):
        train_step(line(4, loss=GaussianNLL(1.0)), objective=ImportanceWeighted(2))(Batch(X))
