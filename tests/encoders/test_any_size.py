"""Any size: what goes in comes out as large, and gradients reach every parameter.

Sizes of 9 to 97 positions an axis in one and two dimensions, 9 to 33 in three; every convolutional encoder and
decoder, every bottleneck. The parts are found in the registry.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn import functional as F

from isthmus import spec
from isthmus.encoders import BackboneEncoder, ConvEncoder, UNetEncoder
from isthmus.losses import SquaredError
from isthmus.model import EncoderDecoder
from isthmus.objective import Objective, TrainStep
from isthmus.penalties import KLPrior
from isthmus.types import Batch, Space

BOTTLENECKS = spec.registry("bottleneck")
CONVOLUTIONAL = ("conv", "unet")
LARGEST = {1: 97, 2: 97, 3: 33}


class TwoMaps(nn.Module):
    """Maps of strides 2 and 4."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        fine = F.silu(self.first(x))
        return [fine, F.silu(self.second(fine))]


@st.composite
def conv(draw):
    return ConvEncoder(
        draw(st.lists(st.integers(2, 4), min_size=1, max_size=3)),
        kernel_size=draw(st.sampled_from([1, 3, 5])),
        stride=draw(st.integers(1, 3)),
        normalization=draw(st.sampled_from([None, "batch", "group"])),
        activation="silu",  # no unit is dead, so that a gradient of zero is a fault
        residual_blocks=draw(st.integers(0, 1)),
        pool=draw(st.sampled_from(["flatten", "mean", None])),
    ), {"upsampling": draw(st.sampled_from(["transposed", "resize"]))}


@st.composite
def unet(draw):
    return UNetEncoder(
        draw(st.sampled_from([(2, 4), (3, 2, 4), (2, 2, 2, 4)])),
        blocks=draw(st.integers(1, 2)),
        residual=draw(st.booleans()),
        normalization=draw(st.sampled_from([None, "batch", "group"])),
        activation="silu",
        attention_heads=draw(st.sampled_from([0, 2])),
        downsampling=draw(st.sampled_from(["conv", "max"])),
    ), {
        "upsampling": draw(st.sampled_from(["transposed", "resize"])),
        "merge": draw(st.sampled_from(["concat", "add"])),
    }


@st.composite
def backbone(draw):
    return BackboneEncoder(TwoMaps(), stem=draw(st.integers(2, 3))), {"activation": "silu"}


ENCODERS = {"conv": (conv, (1, 2, 3)), "unet": (unet, (1, 2, 3)), "backbone": (backbone, (2,))}
CASES = [
    (name, dims, neck) for name, (_, possible) in ENCODERS.items() for dims in possible for neck in sorted(BOTTLENECKS)
]


def test_every_convolutional_part_is_here():
    encoders, decoders = spec.registry("encoder"), spec.registry("decoder")
    assert set(ENCODERS) == {name for name, cls in encoders.items() if cls.decoder_name() in CONVOLUTIONAL}
    assert set(CONVOLUTIONAL) == {name for name, cls in decoders.items() if "upsampling" in cls.parameter_names()}


@pytest.mark.parametrize(("name", "dims", "neck"), CASES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_the_size_comes_back_and_gradients_reach_every_parameter(name, dims, neck, data):
    sizes = data.draw(st.tuples(*[st.integers(9, LARGEST[dims])] * dims), label="sizes")
    channels = 1 if name == "backbone" else data.draw(st.integers(1, 2), label="channels")
    encoder, of_decoder = data.draw(ENCODERS[name][0](), label="encoder")
    if neck == "identity" and dims > 1 and name == "conv" and encoder.pool == "flatten":
        encoder.set_params(pool="mean")  # a matrix of all positions by all positions would be large
    decoder = spec.registry("decoder")[encoder.decoder_name()].mirror(encoder).set_params(**of_decoder)
    free = name != "conv" or encoder.pool is None
    free = free and data.draw(st.booleans(), label="free")
    space = Space((*[None] * dims, channels) if free else (*sizes, channels))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bottleneck = BOTTLENECKS[neck]()
        model = EncoderDecoder(encoder, bottleneck, decoder, SquaredError())
        model.build(space, latent_dim=None if neck == "identity" else 3)
        penalties = [KLPrior().build(Space(()))] if hasattr(bottleneck, "posterior") else []
        step = TrainStep(model, Objective(penalties)).train()
        x = torch.randn(2, *sizes, channels)
        assert model(Batch(x)).output.shape == x.shape
        step(Batch(x))[0].backward()
    for which, parameter in step.named_parameters():
        assert parameter.grad is not None, which
        assert parameter.grad.isfinite().all(), which
        shifted_back = which.endswith("up.layer.bias") and decoder.normalization == "batch"  # by the mean's subtraction
        assert shifted_back or parameter.grad.abs().sum() > 0, which
