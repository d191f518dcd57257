"""Each loss against PyTorch's own functions and distributions, and its gradient by finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as D
from torch.nn import functional as F

from isthmus.errors import ShapeError
from isthmus.losses import AbsoluteError, BinaryCrossEntropy, GaussianNLL, PoissonNLL, SquaredError
from isthmus.training.rng import seeded_noise
from isthmus.types import Space
from toys import randn

OUTPUT, TARGET = randn(4, 3), randn(4, 3, seed=1)
COUNTS, SHARES = TARGET.abs().mul(3).round(), TARGET.sigmoid()
VARIANCES = [0.7, "learned", "per_feature", "predicted"]


def gaussian(variance, width=3):
    loss = GaussianNLL(variance).build(Space((width,))).double()
    for parameter in loss.parameters():
        parameter.data.copy_(randn(*parameter.shape, seed=2))
    return loss, torch.cat([OUTPUT, randn(4, width, seed=3)], 1) if variance == "predicted" else OUTPUT


def normal(loss, output):
    """The distribution that the loss stands for, spelt out: σ² = f + exp(s) where it is not given."""
    if loss.variance == "predicted":
        return D.Normal(output[:, :3], (loss.min_variance + output[:, 3:].exp()).sqrt())
    if isinstance(loss.variance, str):
        return D.Normal(output, (loss.min_variance + loss.log_variance.exp()).sqrt())
    return D.Normal(output, torch.tensor(loss.variance, dtype=torch.float64).sqrt())


def rows(function, output, target):
    return function(output, target, reduction="none").sum(1)


@pytest.mark.parametrize(
    ("loss", "target", "expected"),
    [
        (SquaredError(), TARGET, rows(F.mse_loss, OUTPUT, TARGET)),
        (SquaredError("sigmoid"), SHARES, rows(F.mse_loss, OUTPUT.sigmoid(), SHARES)),
        (AbsoluteError(), TARGET, rows(F.l1_loss, OUTPUT, TARGET)),
        (BinaryCrossEntropy(), SHARES, rows(F.binary_cross_entropy, OUTPUT.sigmoid(), SHARES)),
        (BinaryCrossEntropy(), SHARES.round(), -D.Bernoulli(logits=OUTPUT).log_prob(SHARES.round()).sum(1)),
        (PoissonNLL(), COUNTS, -D.Poisson(OUTPUT.exp()).log_prob(COUNTS).sum(1)),
    ],
    ids=["squared", "squared-sigmoid", "absolute", "bce-shares", "bernoulli", "poisson"],
)
def test_values(loss, target, expected):
    value = loss.build(Space((3,)))(OUTPUT, target)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda output: loss(output, target), OUTPUT.clone().requires_grad_())


@pytest.mark.parametrize("variance", VARIANCES)
def test_gaussian_values(variance):
    loss, output = gaussian(variance)
    expected = -normal(loss, output).log_prob(TARGET).sum(1)
    torch.testing.assert_close(loss(output, TARGET), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(loss.mean(output), OUTPUT)
    assert loss.output_shape(Space((3,))).shape == ((6,) if variance == "predicted" else (3,))
    assert sum(p.numel() for p in loss.parameters()) == {"learned": 1, "per_feature": 3}.get(variance, 0)


@pytest.mark.parametrize("variance", VARIANCES)
def test_gaussian_gradients(variance):
    loss, output = gaussian(variance)
    held = list(loss.parameters())

    def of(output, *parameters):
        named = {"log_variance": parameters[0]} if parameters else {}
        return torch.func.functional_call(loss, named, (output, TARGET))

    assert torch.autograd.gradcheck(of, (output.clone().requires_grad_(), *held))


@pytest.mark.parametrize("variance", ["learned", "per_feature", "predicted"])
def test_the_variance_has_a_floor(variance):
    loss, output = gaussian(variance)
    output = output.clone()
    output[:, 3:] = -50
    for parameter in loss.parameters():
        parameter.data.fill_(-50)
    at_the_floor = GaussianNLL(1e-4)(OUTPUT, TARGET)
    torch.testing.assert_close(loss(output, TARGET), at_the_floor)


@pytest.mark.parametrize("below", [0.0, 1.0, 5.0])
def test_the_floor_of_the_variance_has_a_gradient(below):
    """d log σ² / ds = exp(s) / (f + exp(s)): a half at the floor, and above 0 below it."""
    loss = GaussianNLL("learned", min_variance=0.1).build(Space((3,))).double()
    loss.log_variance.data.fill_(math.log(0.1) - below)
    loss.moments(OUTPUT)[1].backward()
    assert loss.log_variance.grad.item() == pytest.approx(1 / (1 + math.exp(below)), rel=1e-12)


def test_a_learnt_variance_ends_at_the_mean_square():
    loss = GaussianNLL("learned").build(Space((3,))).double()
    optimizer = torch.optim.LBFGS(loss.parameters(), max_iter=50, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(OUTPUT, TARGET).mean()
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(1e-4 + loss.log_variance.exp()[0], (OUTPUT - TARGET).square().mean(), rtol=1e-5, atol=0)


def test_gaussian_needs_a_width():
    free, predicted = Space((4, None)), GaussianNLL("predicted")
    with pytest.raises(ShapeError, match="known width of the last axis"):
        GaussianNLL("per_feature").build(free)
    with pytest.raises(ShapeError, match="known width of the last axis"):
        predicted.output_shape(free)


@pytest.mark.parametrize(
    "loss", [SquaredError(), AbsoluteError(), BinaryCrossEntropy(), PoissonNLL(), GaussianNLL(1.0)]
)
def test_masks(loss):
    target = SHARES.round()
    cells = torch.tensor([[True, False, True]]).expand(4, 3)
    kept = loss(OUTPUT[:, [0, 2]], target[:, [0, 2]])
    torch.testing.assert_close(loss(OUTPUT, target, cells), kept)
    positions = torch.tensor([[True, True, False, False]])  # one sequence of four positions
    torch.testing.assert_close(loss(OUTPUT[None], target[None], positions), loss(OUTPUT[None, :2], target[None, :2]))


# ---------------------------------------------------------------------- predictions and draws


def test_what_is_a_likelihood():
    assert {loss.part_name() for loss in (GaussianNLL, BinaryCrossEntropy, PoissonNLL) if loss.is_likelihood} == {
        "gaussian_nll",
        "binary_cross_entropy",
        "poisson_nll",
    }
    assert not SquaredError.is_likelihood
    assert not AbsoluteError.is_likelihood


@pytest.mark.parametrize("rate", [0.05, 0.7, 4.0, 60.0])
def test_poisson_draws_have_the_poisson_distribution(rate):
    n = 40_000
    output = torch.full((n,), math.log(rate), dtype=torch.float64)
    draws = PoissonNLL().sample(output, seeded_noise(0))
    assert torch.equal(draws, draws.round())
    counts = torch.arange(int(draws.max()) + 1, dtype=torch.float64)
    expected = n * D.Poisson(rate).log_prob(counts).exp()
    usual = expected > 5
    seen = torch.bincount(draws.long(), minlength=len(counts))[usual]
    chi_square = ((seen - expected[usual]).square() / expected[usual]).sum()
    degrees = int(usual.sum())
    assert chi_square < degrees + 4 * math.sqrt(2 * degrees) + 4
    assert PoissonNLL().mean(output)[0] == pytest.approx(rate)


def test_poisson_draws_stay_possible_at_extreme_noise():
    output = torch.zeros(2)
    low, high = PoissonNLL().sample(output, lambda like: torch.tensor([-9.0, 6.0], dtype=like.dtype)).tolist()
    assert low == 0
    assert 9 <= high <= 13  # P(y > 12) is 6e-11 at rate 1; Φ(6) leaves 1e-9


def test_bernoulli_draws():
    output = torch.full((40_000,), 0.8, dtype=torch.float64)
    draws = BinaryCrossEntropy().sample(output, seeded_noise(0))
    p = float(BinaryCrossEntropy().mean(output)[0])
    assert set(draws.tolist()) == {0.0, 1.0}
    assert abs(float(draws.mean()) - p) < 4 * math.sqrt(p * (1 - p) / 40_000)


@pytest.mark.parametrize("variance", VARIANCES)
def test_gaussian_draws(variance):
    loss, output = gaussian(variance)
    many = output[:1].expand(40_000, -1)
    expected = normal(loss, output[:1])
    draws = loss.sample(many, seeded_noise(0))
    assert ((draws.mean(0) - expected.mean[0]).abs() < 4 * expected.stddev[0] / 200).all()
    torch.testing.assert_close(draws.std(0), expected.stddev.expand(1, 3)[0], rtol=0.02, atol=0)


def test_without_a_likelihood_a_draw_is_the_prediction():
    loss = SquaredError("sigmoid")
    assert torch.equal(loss.sample(OUTPUT), loss.mean(OUTPUT))
    assert torch.equal(loss.mean(OUTPUT), OUTPUT.sigmoid())
