"""The Jacobian's norm against its closed form for one sigmoid layer, exact and by probes."""

from __future__ import annotations

import pytest
import torch

from isthmus.bottlenecks import Dense, Gaussian
from isthmus.encoders import MLPEncoder
from isthmus.errors import UnsupportedError
from isthmus.objective import Objective
from isthmus.penalties import Contractive
from isthmus.types import Batch
from toys import line, randn, train_step

X = randn(4, 5)


def one_layer():
    return line(5, 3, encoder=MLPEncoder(()), bottleneck=Dense("sigmoid"))


def closed_form(model):
    """Σⱼ (hⱼ (1 − hⱼ))² Σᵢ Wⱼᵢ² (Rifai et al. 2011)."""
    layer = model.bottleneck.linear
    h = (X @ layer.weight.T + layer.bias).sigmoid()
    return (h * (1 - h)).square() @ layer.weight.square().sum(1)


def test_exact_is_the_closed_form():
    model = one_layer()
    trace = model(Batch(X), input_grad=True)
    value, expected = Contractive()(trace, model), closed_form(model)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    weight = model.bottleneck.linear.weight
    (slope,), (by_hand,) = (torch.autograd.grad(sum_.sum(), weight) for sum_ in (value, expected))
    torch.testing.assert_close(slope, by_hand, rtol=1e-12, atol=1e-12)


def test_probes_are_unbiased():
    model, generator = one_layer(), torch.Generator().manual_seed(0)
    rows = model(Batch(X.repeat(5000, 1)), input_grad=True)

    def noise(like):
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    draws = Contractive(n_probes=1)(rows, model, noise).detach().view(5000, 4)
    error = draws.std(0) / 5000**0.5
    assert ((draws.mean(0) - closed_form(model)).abs() < 4 * error).all()


def test_it_differentiates_the_trace_as_it_was():
    model = line(5, 3, encoder=MLPEncoder((4,), "tanh"), bottleneck=Dense("tanh"))
    trace = model(Batch(X), input_grad=True)
    jacobian = torch.autograd.functional.jacobian(lambda x: model(Batch(x)).latent.z.sum(0), X)  # (D, B, d)
    torch.testing.assert_close(Contractive()(trace, model), jacobian.square().sum((0, 2)))


def test_what_it_refuses():
    model = one_layer()
    with pytest.raises(UnsupportedError, match="call the model with input_grad=True"):
        Contractive()(model(Batch(X)), model)
    objective = Objective([Contractive().build(())])
    objective.n_samples = 2
    with pytest.raises(UnsupportedError, match="one sample a row"):
        train_step(line(5, bottleneck=Gaussian()), objective=objective)(Batch(X))
