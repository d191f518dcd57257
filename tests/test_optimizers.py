"""The optimisers' updates have the bits of `torch.optim`."""

from __future__ import annotations

import pytest
import torch

from isthmus.errors import ParameterError
from isthmus.optimizers import LBFGS, OPTIMIZERS, SGD, Adam, AdamW, clip_gradients
from toys import randn

PAIRS = [
    (Adam(), torch.optim.Adam, {}),
    (Adam(0.8, 0.9, 1e-6, 0.1), torch.optim.Adam, {"betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}),
    (AdamW(), torch.optim.AdamW, {}),
    (SGD(), torch.optim.SGD, {}),
    (SGD(0.9), torch.optim.SGD, {"momentum": 0.9}),
    (SGD(0.9, nesterov=True), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (SGD(0.5, weight_decay=0.1), torch.optim.SGD, {"momentum": 0.5, "weight_decay": 0.1}),
    (SGD(weight_decay=0.1), torch.optim.SGD, {"weight_decay": 0.1}),
]
IDS = ["adam", "adam-decay", "adamw", "sgd", "momentum", "nesterov", "momentum-decay", "sgd-decay"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("ours", "theirs", "arguments"), PAIRS, ids=IDS)
def test_the_bits_of_torch(ours, theirs, arguments, dtype):
    mine = [randn(33, 17, dtype=dtype), randn(17, seed=1, dtype=dtype)]
    peers = [tensor.clone().requires_grad_() for tensor in mine]
    fused = theirs(peers, lr=0.01, fused=True, **arguments)
    memory, rate = ours.state(mine), torch.tensor(0.01, dtype=torch.float64)
    for i in range(12):
        gradients = [randn(*tensor.shape, seed=10 * i + j, dtype=dtype) for j, tensor in enumerate(mine)]
        for peer, gradient in zip(peers, gradients, strict=True):
            peer.grad = gradient.clone()
        if i == 6:  # a schedule moves the rate
            rate.fill_(0.003)
            fused.param_groups[0]["lr"] = 0.003
        fused.step()
        ours.update(mine, gradients, memory, rate)
    for tensor, peer in zip(mine, peers, strict=True):
        assert torch.equal(tensor, peer)


@pytest.mark.parametrize("ours", [pair[0] for pair in PAIRS], ids=IDS)
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)], ids=str)
def test_how_a_gradient_lies_in_memory_does_not_matter(ours, axes):
    back = [axes.index(axis) for axis in range(4)]
    ends = []
    for shuffled in (False, True):
        kernel = [randn(6, 5, 3, 2, dtype=torch.float32)]
        memory = ours.state(kernel)
        for i in range(3):
            gradient = randn(6, 5, 3, 2, seed=i + 1, dtype=torch.float32)
            if shuffled:
                gradient = gradient.permute(axes).contiguous().permute(back)
            ours.update(kernel, [gradient], memory, torch.tensor(0.01, dtype=torch.float64))
        ends.append(kernel[0])
    assert torch.equal(*ends)


@pytest.mark.parametrize("momentum", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=repr)
def test_sgd_has_the_bits_of_torch_unfused_too(momentum):
    mine = [randn(33, 17, dtype=torch.float32)]
    peers = [mine[0].clone().requires_grad_()]
    plain, ours = torch.optim.SGD(peers, lr=0.01, foreach=False, **momentum), SGD(**momentum)
    memory = ours.state(mine)
    for i in range(5):
        peers[0].grad = randn(33, 17, seed=i, dtype=torch.float32)
        plain.step()
        ours.update(mine, [peers[0].grad], memory, torch.tensor(0.01, dtype=torch.float64))
    assert torch.equal(mine[0], peers[0])


@pytest.mark.parametrize("limit", [0.1, 1.0, 1e6])
def test_clipping_is_that_of_torch(limit):
    gradients = [randn(5, 3), randn(7, seed=1)]
    peers = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for peer, gradient in zip(peers, gradients, strict=True):
        peer.grad = gradient.clone()
    norm = torch.nn.utils.clip_grad_norm_(peers, limit)
    clipped = clip_gradients(gradients, limit)
    for peer, gradient in zip(peers, clipped, strict=True):
        torch.testing.assert_close(gradient, peer.grad, rtol=1e-12, atol=0)
    joint = torch.cat([gradient.flatten() for gradient in clipped]).norm()
    torch.testing.assert_close(joint, norm.clamp(max=limit), rtol=1e-5, atol=0)


def test_lbfgs_finds_a_minimum():
    w = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    matrix, goal = randn(6, 4), randn(6, seed=1)
    optimizer = LBFGS(iterations=30).torch_optimizer([w])

    def closure():
        optimizer.zero_grad()
        value = (matrix @ w - goal).square().sum()
        value.backward()
        return value

    optimizer.step(closure)
    exact = torch.linalg.lstsq(matrix, goal.unsqueeze(1)).solution[:, 0]
    torch.testing.assert_close(w.detach(), exact, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("cls", OPTIMIZERS.values())
def test_arguments(cls):
    optimizer = cls()
    params = optimizer.get_params()
    assert cls(**params).get_params() == params
    assert optimizer.set_params(**params) is optimizer
    with pytest.raises(ParameterError, match=f"{cls.__name__} has no parameter 'speed'; it has"):
        optimizer.set_params(speed=1)


@pytest.mark.parametrize(
    ("optimizer", "name"), [(Adam(beta1=1.0), "beta1"), (SGD(momentum=-0.1), "momentum"), (LBFGS(0), "iterations")]
)
def test_arguments_are_checked(optimizer, name):
    with pytest.raises(ParameterError, match=f"{name} must be"):
        optimizer.check()
