"""The fully connected encoder and decoder, and dropout's two faces."""

from __future__ import annotations

import pytest
import torch

from isthmus.decoders import MLPDecoder
from isthmus.encoders import MLPEncoder
from isthmus.errors import ParameterError, ShapeError
from isthmus.types import Bypass, Latent, Seen, Space
from toys import randn


def test_dropout_scales_in_training_and_is_the_identity_in_prediction():
    p = 0.3
    encoder = MLPEncoder((2000,), "identity", dropout=p).build(Space((4,))).double()
    seen = Seen(randn(5, 4))
    encoder.eval()
    h = encoder(seen).h
    linear = encoder.layers[0]
    torch.testing.assert_close(h, seen.x @ linear.weight.T + linear.bias)
    encoder.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = encoder(seen).h
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], h[kept] / (1 - p))
    assert abs(float((~kept).double().mean()) - p) < 4 * (p * (1 - p) / 10_000) ** 0.5


def test_layers_by_hand():
    encoder = MLPEncoder((3, 3), "tanh", residual=True).build(Space((2,))).double()
    x = randn(4, 2)
    first, second = (module for module in encoder.modules() if isinstance(module, torch.nn.Linear))
    h = (x @ first.weight.T + first.bias).tanh()
    expected = h + (h @ second.weight.T + second.bias).tanh()
    torch.testing.assert_close(encoder(Seen(x)).h, expected)


def test_no_layers_give_the_flattened_input():
    encoder = MLPEncoder(()).build(Space((2, 3)))
    x = randn(4, 2, 3)
    assert torch.equal(encoder(Seen(x)).h, x.flatten(1))
    assert encoder.out == Space((6,))


def test_the_decoder_gives_the_shape_asked_for():
    decoder = MLPDecoder(()).build(Space((2,), condition=1), Space((3, 4))).double()
    z, told = randn(5, 2), randn(5, 1, seed=1)
    output = decoder(Latent(z, Bypass(condition=told)))
    flat = torch.cat([z, told], 1) @ decoder.end.weight.T + decoder.end.bias
    torch.testing.assert_close(output, flat.view(5, 3, 4))


def test_a_mirror_reverses_the_widths():
    decoder = MLPDecoder.mirror(MLPEncoder((9, 5), "tanh", "layer", 0.1, True))
    assert decoder.get_params() == {**MLPEncoder((5, 9), "tanh", "layer", 0.1, True).get_params()}


@pytest.mark.parametrize(
    ("space", "message"),
    [(Space((None, 3)), "fixed size"), (Space((4,), classes=3), "real inputs")],
)
def test_spaces_the_encoder_cannot_read(space, message):
    with pytest.raises(ShapeError, match=message):
        MLPEncoder().build(space)


@pytest.mark.parametrize(
    ("space", "out", "message"),
    [
        (Space((4, 3)), Space((2,)), "reads one vector a sample"),
        (Space((4,)), Space((None, 2)), "gives a fixed size"),
        (Space((4,), skips=(Space((8,)),)), Space((2,)), "mlp decoder expects 0 skips, encoder gives 1"),
    ],
)
def test_spaces_the_decoder_cannot_read(space, out, message):
    with pytest.raises(ShapeError, match=message):
        MLPDecoder().build(space, out)


@pytest.mark.parametrize("wrong", [{"hidden_dims": 5}, {"hidden_dims": (0,)}, {"activation": "cube"}, {"dropout": 1.0}])
def test_arguments_are_checked_when_built(wrong):
    with pytest.raises(ParameterError, match=f"MLPEncoder: {next(iter(wrong))} must be"):
        MLPEncoder(**wrong).build(Space((4,)))
