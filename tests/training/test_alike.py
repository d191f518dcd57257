"""Recorded steps of several models as one graph."""

import pytest
import torch

from isthmus.bottlenecks import Gaussian
from isthmus.corruptions import GaussianNoise, Masking
from isthmus.encoders import MLPEncoder
from isthmus.errors import UnsupportedError
from isthmus.optimizers import Adam
from isthmus.part import Corruption
from isthmus.training.alike import record, united
from isthmus.training.loop import Loop
from isthmus.training.resident import Resident
from isthmus.types import Batch
from toys import line, train_step


def loop_of(corruption=None, optimizer=None, **more):
    rows = Batch(torch.randn(12, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    step = train_step(line(corruption=corruption, **more))
    return Loop(step, Resident(rows, 4, 0), optimizer or Adam(), learning_rate=0.1, compile="replay")


def form(loop, moves=True):
    return record(loop, moves).form


def test_a_record_leaves_the_model_as_it_was():
    loop = loop_of()
    before = {name: value.clone() for name, value in loop.state.state_dict()["step"].items()}
    record(loop, moves=True)
    torch.testing.assert_close(dict(loop.step.state_dict()), before, rtol=0, atol=0)
    assert all(not tensor.any() for tensors in loop.state.memory.values() for tensor in tensors)


def test_numbers_may_differ_and_operations_may_not():
    assert form(loop_of(GaussianNoise(0.1))) == form(loop_of(GaussianNoise(1)))
    assert form(loop_of(GaussianNoise(0.1))) != form(loop_of(GaussianNoise((0.1, 0.2))))
    assert form(loop_of(GaussianNoise(0.1))) != form(loop_of(Masking(0.1)))
    assert form(loop_of(latent_dim=2)) != form(loop_of(latent_dim=3))
    assert form(loop_of(encoder=MLPEncoder((5,), "relu"))) != form(loop_of())
    assert form(loop_of(optimizer=Adam(weight_decay=0.0))) == form(loop_of(optimizer=Adam(weight_decay=0.1)))
    assert form(loop_of(optimizer=Adam(beta1=0.5))) != form(loop_of(optimizer=Adam(beta1=0.8)))
    assert form(loop_of(optimizer=Adam(beta1=0.5)), False) == form(loop_of(optimizer=Adam(beta1=0.8)), False)


def test_only_the_numbers_that_differ_are_arguments():
    records = [record(loop_of(GaussianNoise(std), Adam(weight_decay=decay)), True) for std, decay in ((0.1, 0), (2, 0))]
    graph, numbers = united(records)
    assert numbers == [[0.1], [2.0]]
    names = [node.name for node in graph.nodes if node.op == "placeholder"]
    assert names[-2:] == ["number_0", "draw_0"]
    assert not [node for node in graph.nodes if node.target is torch.ops.aten.randn_like.default]


def test_draws_are_those_of_the_step_in_its_order():
    loop = loop_of(GaussianNoise(0.1), bottleneck=Gaussian(), encoder=MLPEncoder((5,), dropout=0.5))
    draws = record(loop, True).draws
    assert [tuple(draw.shape) for draw in draws] == [(4, 6), (4, 5), (4, 2)]
    torch.manual_seed(3)
    expected = [torch.randn(4, 6), torch.empty(4, 5).bernoulli_(0.5), torch.randn(4, 2)]
    generator = torch.Generator().manual_seed(3)
    for draw, values in zip(draws, expected, strict=True):
        found = torch.empty(draw.shape)
        draw.fill(found, generator)
        torch.testing.assert_close(found, values, rtol=0, atol=0)


class Drawn(Corruption):
    """Noise by an operation of its own."""

    def forward(self, seen, noise=None):
        return seen._replace(x=seen.x + torch.rand(seen.x.shape, dtype=seen.x.dtype))


class Looks(Corruption):
    """Branches on a value."""

    def forward(self, seen, noise=None):
        return seen._replace(x=seen.x + 1 if seen.x.sum() > 0 else seen.x)


@pytest.mark.parametrize(
    ("part", "said"), [(Drawn(), "draws in a way of its own"), (Looks(), "looks at a tensor's val")]
)
def test_what_cannot_be_drawn_ahead_or_recorded_is_told(part, said):
    with pytest.raises(UnsupportedError, match=said):
        record(loop_of(part), True)
