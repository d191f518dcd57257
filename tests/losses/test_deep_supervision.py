"""The loss at several levels: weights, prediction, and a U-Net trained with it."""

from __future__ import annotations

import pytest
import torch

from isthmus.bottlenecks import Identity
from isthmus.decoders import UNetDecoder
from isthmus.encoders import UNetEncoder
from isthmus.errors import ParameterError
from isthmus.losses import CrossEntropy, DeepSupervision, SquaredError
from isthmus.model import EncoderDecoder
from isthmus.types import Batch, Space
from toys import randn


def test_levels_weigh_half_of_the_finer_one():
    loss = DeepSupervision(SquaredError(), levels=3).build(Space((4, 2)))
    output, target = randn(5, 4, 6), randn(5, 4, 2)
    each = [(level - target).square().sum((1, 2)) for level in output.split(2, -1)]
    torch.testing.assert_close(loss(output, target), (4 * each[0] + 2 * each[1] + each[2]) / 7)
    torch.testing.assert_close(loss.mean(output), output[..., :2])
    torch.testing.assert_close(loss.sample(output), output[..., :2])


def test_a_unet_supervised_at_two_levels():
    encoder = UNetEncoder((4, 6, 8))
    decoder = UNetDecoder((6, 4), deep_supervision=2)
    loss = DeepSupervision(CrossEntropy(), levels=2)
    model = EncoderDecoder(encoder, Identity(), decoder, loss).build(Space((9, 7, 1)), Space((9, 7), classes=3))
    trace = model(Batch(randn(2, 9, 7, 1).float(), torch.zeros(2, 9, 7, dtype=torch.long)))
    assert trace.output.shape == (2, 9, 7, 6)
    assert model.prediction(trace.output).shape == (2, 9, 7, 3)
    gradients = torch.autograd.grad(loss(trace.output, trace.target).sum(), list(decoder.ends.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_refused_arguments():
    with pytest.raises(ParameterError, match="levels must be"):
        DeepSupervision(SquaredError(), levels=0).build(Space((4,)))
    with pytest.raises(ParameterError, match="loss must be"):
        DeepSupervision("dice").build(Space((4,)))
