"""The trimmed objective: by hand, weighted, traced, and against outliers."""

import pytest
import torch

from isthmus import Autoencoder
from isthmus.bottlenecks import Gaussian
from isthmus.decoders import MLPDecoder
from isthmus.encoders import MLPEncoder
from isthmus.errors import ParameterError
from isthmus.losses import GaussianNLL
from isthmus.model import EncoderDecoder
from isthmus.objective import Objective, TrainStep, Trimmed
from isthmus.optimizers import Adam
from isthmus.penalties import KLPrior
from isthmus.training.step import eager_step, replayed_step
from isthmus.types import Batch, Space


def step_of(objective):
    torch.manual_seed(0)
    model = EncoderDecoder(MLPEncoder((5,), "tanh"), Gaussian(), MLPDecoder((5,), "tanh"), GaussianNLL())
    return TrainStep(model.build((4,), latent_dim=2), objective).train()


def kl():
    return KLPrior(0.5).build(Space(()))


def row_totals(step, batch):
    """Loss + ½ KL of each row with the noise of zeros."""
    trace = step.model(batch, noise=torch.zeros_like, scaled=True)
    return step.model.loss(trace.output, trace.target) + 0.5 * trace.latent.kl.sum(1)


@pytest.mark.parametrize(("fraction", "kept"), [(0.0, 10), (0.19, 9), (0.2, 8), (0.25, 8), (0.99, 1)])
def test_mean_of_the_best_rows(fraction, kept):
    step, batch = step_of(Trimmed(fraction, [kl()])), Batch(torch.randn(10, 4) * 3)
    total, terms = step(batch, torch.zeros_like)
    torch.testing.assert_close(total, row_totals(step, batch).sort().values[:kept].mean())
    assert set(terms) == {"loss", "kl_prior", "objective"}
    torch.testing.assert_close(terms["objective"], terms["loss"] + 0.5 * terms["kl_prior"])


def test_a_weight_of_two_is_the_row_twice():
    x, weight = torch.randn(6, 4) * 3, torch.tensor([1.0, 2.0, 1.0, 3.0, 0.0, 1.0])
    step = step_of(Trimmed(0.25, [kl()]))
    weighted, _ = step(Batch(x, weight=weight), torch.zeros_like)
    totals = row_totals(step, Batch(x)).repeat_interleave(weight.long()).sort().values
    order = totals.unique(sorted=True)
    before = torch.stack([(totals < value).sum() for value in order])
    kept = totals[torch.isin(totals, order[before < 0.75 * len(totals)])]
    torch.testing.assert_close(weighted, kept.mean())


def test_neither_warm_up_nor_evaluation_trims():
    step, plain, batch = step_of(Trimmed(0.5, [kl()], after=2)), step_of(Objective([kl()])), Batch(torch.randn(8, 4))
    whole, _ = plain(batch, torch.zeros_like)
    totals = [step(batch, torch.zeros_like)[0] for _ in range(3)]
    torch.testing.assert_close(torch.stack(totals[:2]), torch.stack([whole, whole]))
    assert totals[2] < whole
    step.eval()
    torch.testing.assert_close(step(batch, torch.zeros_like)[0], whole)
    assert int(step.objective.steps) == 3


def test_traces_to_the_bits_of_eager():
    """Through the end of the warm-up: one graph serves both phases."""
    weights = []
    for replay in (False, True):
        step, adam, rate = step_of(Trimmed(0.3, [kl()], after=2)), Adam(), torch.tensor(1e-2, dtype=torch.float64)
        memory = adam.state(list(step.parameters()))
        batches = [Batch(torch.randn(10, 4, generator=torch.Generator().manual_seed(i))) for i in range(5)]
        run = (replayed_step if replay else eager_step)(step, adam, memory, None)
        torch.manual_seed(1)
        for batch in batches:
            run(batch, rate)
        assert int(step.objective.steps) == 5
        weights.append([parameter.detach().clone() for parameter in step.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_outliers_do_not_bend_a_trimmed_line():
    """Rows on the diagonal, a tenth of them moved to (±6, 0): the direction of most variance turns by 30°,
    and the error of the others from it is 2 sin² 30° = 0.5; without the worst fifth it is the diagonal."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 1, generator=generator) * torch.tensor([[1.0, 1.0]])
    x[:20] = torch.tensor([6.0, 0.0]) * torch.randn(20, 1, generator=generator).sign()
    settings = {"latent_dim": 1, "encoder": MLPEncoder(()), "scale": None, "validation_fraction": 0, "random_state": 0}
    error = []
    for trim in (0.0, 0.2):
        model = Autoencoder(trim=trim, learning_rate=1e-2, max_epochs=150, **settings).fit(x.numpy())
        error.append(-model.score(x[20:].numpy()))
    assert error[0] > 0.3
    assert error[1] < 0.05


@pytest.mark.parametrize("trim", [-0.1, 1.0, "half"])
def test_range_of_trim(trim):
    with pytest.raises(ParameterError, match="trim must be"):
        Autoencoder(trim=trim).fit([[0.0], [1.0]])


@pytest.mark.parametrize(("argument", "value"), [("fraction", 1), ("fraction", -0.5), ("after", -1), ("after", 0.5)])
def test_range_of_arguments(argument, value):
    with pytest.raises(ParameterError, match=f"Trimmed: {argument} must be"):
        Trimmed(**{"fraction": 0.1, argument: value})
