"""The convolutional bricks: what a signal comes to on its way through untrained ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isthmus.nn.conv import ConvBlock, ResidualBlock, Style, Upsample

ACTIVATIONS = ["relu", "gelu", "silu", "tanh"]


def mean_square(x: torch.Tensor) -> float:
    return float(x[..., 4:-4, 4:-4].square().mean())  # away from the padding


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_depth_neither_fades_nor_blows_up_a_signal(activation: str) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(*[ConvBlock(2, 32, 32, Style(3, None, activation)) for _ in range(8)])
    x = torch.randn(4, 32, 32, 32)
    with torch.no_grad():
        assert 0.01 < mean_square(layers(x)) < 4


def test_one_relu_block_keeps_the_mean_square() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 64, 24, 24)
    with torch.no_grad():
        assert mean_square(ConvBlock(2, 64, 256, Style())(x)) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("method", ["transposed", "resize"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_upsampling_keeps_the_mean_square(method: str, kernel_size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 64, 24, 24)
    with torch.no_grad():
        up = Upsample(2, 64, 128, kernel_size, 2, method)(x, (48, 48))
    assert up.shape == (8, 128, 48, 48)
    assert mean_square(up) == pytest.approx(1, rel=0.3)


def test_residual_blocks_without_normalisation_begin_near_the_identity() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(*[ResidualBlock(2, 32, Style()) for _ in range(16)])
    x = torch.randn(4, 32, 24, 24).relu()
    with torch.no_grad():
        assert mean_square(layers(x)) == pytest.approx(mean_square(x), rel=1)
