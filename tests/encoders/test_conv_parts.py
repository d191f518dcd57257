"""The convolutional encoder and decoder: sizes, layers by hand, folding, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F

from isthmus.bottlenecks import Dense, Gaussian
from isthmus.decoders import ConvDecoder
from isthmus.encoders import ConvEncoder
from isthmus.errors import ParameterError, ShapeError
from isthmus.losses import SquaredError
from isthmus.model import EncoderDecoder
from isthmus.nn.conv import ConvBlock, SelfAttention, Style, Upsample, halvings, strided_mask
from isthmus.types import Batch, Bypass, Latent, Seen, Space
from toys import randn


def line(encoder, bottleneck, space, latent_dim=3):
    model = EncoderDecoder(encoder, bottleneck, ConvDecoder.mirror(encoder), SquaredError())
    return model.build(space, latent_dim=latent_dim)


def test_layers_by_hand():
    encoder = ConvEncoder((4, 6), pool=None, activation="tanh").build(Space((9, 7, 2))).double()
    x = randn(3, 9, 7, 2)
    first, second = (block.convolution for block in encoder.levels)
    h = F.conv2d(x.permute(0, 3, 1, 2), first.weight, first.bias, stride=2, padding=1).tanh()
    h = F.conv2d(h, second.weight, second.bias, stride=2, padding=1).tanh()
    torch.testing.assert_close(encoder(Seen(x)).h, h.permute(0, 2, 3, 1))
    assert encoder.out == Space((3, 2, 6))


def test_pools():
    x = randn(3, 9, 7, 2)
    maps = ConvEncoder((4, 6), pool=None).build(Space((9, 7, 2))).double()
    for pool, expected in (("flatten", lambda h: h.flatten(1)), ("mean", lambda h: h.mean((1, 2)))):
        pooled = ConvEncoder((4, 6), pool=pool).build(Space((9, 7, 2))).double()
        pooled.load_state_dict(maps.state_dict())
        torch.testing.assert_close(pooled(Seen(x)).h, expected(maps(Seen(x)).h))


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 13), min_size=1, max_size=3),
    channels=st.integers(1, 3),
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    kernel_size=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    pool=st.sampled_from(["flatten", "mean", None]),
    normalization=st.sampled_from([None, "group", "instance"]),
    residual_blocks=st.integers(0, 1),
)
def test_any_size_comes_back(sizes, channels, widths, kernel_size, stride, pool, normalization, residual_blocks):
    encoder = ConvEncoder(widths, kernel_size, stride, normalization, "relu", residual_blocks, pool)
    model = line(encoder, Gaussian(), Space((*sizes, channels)))
    x = torch.zeros(2, *sizes, channels)
    assert model(Batch(x)).output.shape == x.shape
    assert model.decode(model.bottleneck.sample(3)).shape == (3, *sizes, channels)


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("sizes", [(7,), (5, 8), (3, 5, 4)], ids=str)
def test_both_upsamplings_in_all_dimensions(sizes, upsampling):
    decoder = ConvDecoder((4, 3), upsampling=upsampling).build(Space((5,)), Space((*sizes, 2)))
    assert decoder(Latent(torch.zeros(2, 5))).shape == (2, *sizes, 2)


def test_a_free_size_with_a_mean_or_a_map():
    free = Space((None, None, 1))
    encoder = ConvEncoder((4, 8), pool="mean").build(free)
    assert encoder.out == Space((8,))
    model = line(ConvEncoder((4, 8), pool=None), Dense(), free)
    for sizes in ((9, 6), (16, 11)):
        trace = model(Batch(torch.zeros(2, *sizes, 1)))
        assert trace.output.shape == (2, *sizes, 1)
        assert trace.latent.z.shape == (2, -(-sizes[0] // 4), -(-sizes[1] // 4), 3)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_folded_batch_normalisation_is_the_same_function(dims):
    torch.manual_seed(0)
    block = ConvBlock(dims, 3, 5, Style(normalization="batch", activation="tanh")).double()
    x = randn(6, 3, *[5] * dims)
    for _ in range(20):
        block(x)
    with torch.no_grad():
        block.normalization.weight.uniform_(0.5, 2)
        block.normalization.bias.uniform_(-1, 1)
    block.eval()
    expected = block.activation(block.normalization(block.convolution(x)))
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


def test_instance_normalisation_of_one_position_is_no_error():
    model = line(ConvEncoder((4,), normalization="instance"), Dense(), Space((1, 1, 3)))
    assert model(Batch(torch.zeros(2, 1, 1, 3))).output.isfinite().all()


def test_what_the_model_is_told_reaches_every_position():
    encoder = ConvEncoder((4,), pool=None).build(Space((5, 5, 1), condition=2))
    x, told = torch.zeros(2, 5, 5, 1), torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    h = encoder(Seen(x, Bypass(condition=told))).h
    assert not torch.equal(h[0], h[1])
    decoder = ConvDecoder((4,)).build(encoder.out, Space((5, 5, 1)))
    assert decoder(Latent(h, Bypass(condition=told))).shape == (2, 5, 5, 1)


def test_a_mask_follows_the_positions_of_the_map():
    mask = torch.ones(1, 7, 9, dtype=torch.bool)
    mask[:, 4:] = False
    encoder = ConvEncoder((2, 2), pool=None).build(Space((7, 9, 1)))
    found = encoder(Seen(torch.zeros(1, 7, 9, 1), Bypass(mask=mask))).bypass.mask
    assert torch.equal(found, mask[:, ::4, ::4])
    assert found.shape[1:] == encoder.out.shape[:2]
    assert strided_mask(None, 2) is None


def test_upsampling_by_hand():
    layer = Upsample(1, 1, 1, 3, 2, "resize").double()
    x = randn(1, 1, 4)
    expected = layer.layer(x.repeat_interleave(2, -1))[..., :7]
    torch.testing.assert_close(layer(x, [7]), expected)


def test_attention_by_hand():
    torch.manual_seed(0)
    attention = SelfAttention(6, 2).double()
    x = randn(2, 6, 3, 4)
    h = attention.normalization(x.flatten(2).transpose(1, 2))
    q, k, v = attention.project(h).chunk(3, -1)
    heads = []
    for part in (slice(0, 3), slice(3, 6)):
        weights = (q[..., part] @ k[..., part].transpose(1, 2) / 3**0.5).softmax(-1)
        heads.append(weights @ v[..., part])
    expected = x + attention.out(torch.cat(heads, -1)).transpose(1, 2).reshape(2, 6, 3, 4)
    torch.testing.assert_close(attention(x), expected)


def test_long_voxels_are_halved_later():
    assert halvings(4, 3, None) == [(2, 2, 2)] * 3
    assert halvings(4, 3, (4.0, 1.0, 1.0)) == [(1, 2, 2), (1, 2, 2), (2, 2, 2)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvEncoder(()).build(Space((8, 8, 1))), "channels must be a sequence of at least one"),
        (lambda: ConvEncoder((4,), kernel_size=4).build(Space((8, 8, 1))), "kernel_size must be an odd"),
        (lambda: ConvEncoder((4,), dims=4).build(Space((8, 8, 1))), "dims must be None or 1"),
        (lambda: ConvEncoder((4,), normalization="layer").build(Space((8, 8, 1))), "normalization must be"),
        (lambda: ConvDecoder(upsampling="bilinear").build(Space((4,)), Space((8, 8, 1))), "upsampling must be"),
    ],
)
def test_refused_arguments(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvEncoder((4,)).build(Space((8,))), "conv encoder needs 1 to 3 axes of positions"),
        (lambda: ConvEncoder((4,), dims=1).build(Space((8, 8, 1))), "needs 1 axes"),
        (lambda: ConvEncoder((4,)).build(Space((8, 8), classes=3)), "conv encoder needs real inputs"),
        (lambda: ConvEncoder((4,)).build(Space((None, 8, 1))), "pool=None or encoder='unet'"),
        (lambda: ConvDecoder((4,)).build(Space((5,)), Space((None, 8, 1))), "the code must be a map"),
        (lambda: ConvDecoder((4,)).build(Space((3, 3, 5)), Space((8, 8, 1))), "expects a map"),
        (lambda: ConvDecoder((4,)).build(Space((4, 5)), Space((8, 8, 1))), "reads a vector or a map of 2 axes"),
        (lambda: ConvDecoder((4,)).build(Space((4,), skips=(Space((8, 8, 1)),)), Space((8, 8, 1))), "0 skips"),
    ],
)
def test_refused_shapes(make, message):
    with pytest.raises(ShapeError, match=message):
        make()
