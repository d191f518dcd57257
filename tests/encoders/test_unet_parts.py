"""The U-Net: sizes, skips, the residual round the whole, supervision at several levels, refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from isthmus.bottlenecks import Dense, Gaussian, Identity
from isthmus.decoders import UNetDecoder
from isthmus.encoders import UNetEncoder
from isthmus.errors import ParameterError, ShapeError
from isthmus.losses import SquaredError
from isthmus.model import EncoderDecoder
from isthmus.types import Batch, Bypass, Seen, Space
from toys import randn


def unet(encoder, space, bottleneck=None, **changes):
    decoder = UNetDecoder.mirror(encoder).set_params(**changes)
    return EncoderDecoder(encoder, bottleneck or Identity(), decoder, SquaredError()).build(space)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 13), min_size=1, max_size=3),
    channels=st.integers(1, 3),
    levels=st.integers(2, 4),
    blocks=st.integers(1, 2),
    residual=st.booleans(),
    normalization=st.sampled_from([None, "group", "instance"]),
    downsampling=st.sampled_from(["conv", "max"]),
    upsampling=st.sampled_from(["transposed", "resize"]),
    merge=st.sampled_from(["concat", "add"]),
    heads=st.sampled_from([0, 2]),
)
def test_any_size_comes_back(
    sizes, channels, levels, blocks, residual, normalization, downsampling, upsampling, merge, heads
):
    widths = tuple(2 + 2 * level for level in range(levels))
    encoder = UNetEncoder(
        widths, blocks, residual, normalization=normalization, downsampling=downsampling, attention_heads=heads
    )
    x = torch.zeros(2, *sizes, channels)
    for space in (Space(x.shape[1:]), Space((*[None] * len(sizes), channels))):
        assert unet(encoder, space, upsampling=upsampling, merge=merge)(Batch(x)).output.shape == x.shape


def test_all_levels_but_the_last_are_skips():
    encoder = UNetEncoder((4, 6, 8)).build(Space((9, 7, 2)))
    assert encoder.out == Space((3, 2, 8), skips=(Space((9, 7, 4)), Space((5, 4, 6))))
    features = encoder(Seen(torch.zeros(2, 9, 7, 2)))
    assert [tuple(skip.shape[1:]) for skip in features.bypass.skips] == [(9, 7, 4), (5, 4, 6)]


@pytest.mark.parametrize("merge", ["concat", "add"])
def test_every_skip_and_the_neck_reach_the_output(merge):
    model = unet(UNetEncoder((4, 6, 8), normalization=None, activation="tanh"), Space((8, 8, 1)), merge=merge)
    with torch.no_grad():
        latent = model.encode(Batch(randn(1, 8, 8, 1).float()))[2]
    leaves = [tensor.requires_grad_() for tensor in (latent.z, *latent.bypass.skips)]
    gradients = torch.autograd.grad(model.decode(latent).square().sum(), leaves)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_a_network_that_learns_the_difference_starts_as_the_identity():
    model = unet(UNetEncoder((4, 8), global_residual=True), Space((7, 5, 2)))
    x = randn(3, 7, 5, 2).float()
    torch.testing.assert_close(model(Batch(x)).output, x, rtol=0, atol=0)


def test_a_decoder_without_widths_takes_those_of_the_skips():
    encoder = UNetEncoder((4, 6, 8), global_residual=True).build(Space((9, 7, 2)))
    decoder = UNetDecoder(None, global_residual=True, deep_supervision=2).build(encoder.out, Space((9, 7, 4)))
    assert [end.in_channels for end in decoder.ends] == [6, 4]


def test_bottlenecks_work_on_its_map():
    for bottleneck, width in ((Dense(), 3), (Gaussian(), 3)):
        encoder = UNetEncoder((4, 8))
        model = EncoderDecoder(encoder, bottleneck, UNetDecoder.mirror(encoder), SquaredError())
        model.build(Space((6, 6, 1)), latent_dim=width)
        assert model(Batch(torch.zeros(2, 6, 6, 1))).latent.z.shape == (2, 3, 3, width)


def test_volumes_of_long_voxels():
    encoder = UNetEncoder((4, 6, 8), spacing=(4.0, 1.0, 1.0), dims=3)
    model = unet(encoder, Space((5, 9, 8, 1)))
    assert encoder.out.shape == (5, 3, 2, 8)
    mask = torch.ones(2, 5, 9, 8, dtype=torch.bool)
    assert encoder(Seen(torch.zeros(2, 5, 9, 8, 1), Bypass(mask=mask))).bypass.mask.shape == (2, 5, 3, 2)
    assert model(Batch(torch.zeros(2, 5, 9, 8, 1))).output.shape == (2, 5, 9, 8, 1)


def test_supervised_levels_predict_at_full_size():
    encoder = UNetEncoder((4, 6, 8, 8)).build(Space((9, 7, 1)))
    decoder = UNetDecoder((8, 6, 4), deep_supervision=3).build(encoder.out, Space((9, 7, 6)))
    features = encoder(Seen(randn(2, 9, 7, 1).float()))
    output = decoder(Identity().build(encoder.out)(features))
    assert output.shape == (2, 9, 7, 6)
    fine, middle, coarse = output.split(2, -1)
    for found, side in ((coarse, 4), (middle, 2)):
        torch.testing.assert_close(found[:, :side, :side], found[:, :1, :1].expand(-1, side, side, -1))
        assert not torch.equal(found[:, 0], found[:, side])
    assert not torch.equal(fine[:, 0], fine[:, 1])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: UNetEncoder((4,)).build(Space((8, 8, 1))), ParameterError, "at least 2 levels"),
        (lambda: UNetEncoder((4, 6), attention_heads=4).build(Space((8, 8, 1))), ParameterError, "attention_heads"),
        (lambda: UNetEncoder((4, 6), spacing=(1.0,)).build(Space((8, 8, 1))), ParameterError, "spacing must have 2"),
        (lambda: UNetEncoder((4, 6), spacing=(1.0, -1)).build(Space((8, 8, 1))), ParameterError, "spacing must be"),
        (lambda: UNetEncoder().build(Space((8,))), ShapeError, "unet encoder needs 1 to 3 axes"),
        (lambda: UNetDecoder((4,)).build(Space((4, 4, 8)), Space((8, 8, 1))), ShapeError, "expects 1 skips"),
        (lambda: UNetDecoder(None).build(Space((4, 4, 8)), Space((8, 8, 1))), ShapeError, "expects 1 skips"),
        (lambda: unet(UNetEncoder((4, 6)), Space((8, 8, 1)), deep_supervision=2), ShapeError, "DeepSupervision"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_learning_the_difference_needs_as_many_channels():
    encoder = UNetEncoder((4, 6), global_residual=True)
    with pytest.raises(ShapeError, match="equally many channels"):
        EncoderDecoder(encoder, Identity(), UNetDecoder.mirror(encoder), SquaredError()).build(
            Space((8, 8, 3)), Space((8, 8, 1))
        )
