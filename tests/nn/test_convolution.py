"""The gradient of a kernel as products of matrices, against PyTorch's own."""

import pytest
import torch
from torch import nn

from isthmus.nn import convolution
from isthmus.nn.conv import ConvBlock, Style, channels_first_view
from isthmus.nn.convolution import Conv2d, ConvTranspose2d, kernel_gradient


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Whatever this processor and the layer's size."""
    monkeypatch.setattr(convolution, "SLOW_KERNEL_GRADIENT", True)
    monkeypatch.setattr(convolution, "LEAST_POSITIONS", 1)
    monkeypatch.setattr(convolution, "LEAST_CHANNELS", 1)


LAYERS = [
    (Conv2d, nn.Conv2d, {"kernel_size": 3, "padding": 1, "bias": False}),
    (Conv2d, nn.Conv2d, {"kernel_size": 3, "padding": 1, "stride": 2}),
    (Conv2d, nn.Conv2d, {"kernel_size": 5, "padding": 2, "stride": (1, 3)}),
    (Conv2d, nn.Conv2d, {"kernel_size": 1}),
    (ConvTranspose2d, nn.ConvTranspose2d, {"kernel_size": 2, "stride": 2}),
    (ConvTranspose2d, nn.ConvTranspose2d, {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}),
    (ConvTranspose2d, nn.ConvTranspose2d, {"kernel_size": (2, 1), "stride": (2, 1), "bias": False}),
]


@pytest.mark.parametrize(("ours", "theirs", "how"), LAYERS)
def test_the_gradients_are_those_of_pytorch(ours, theirs, how):
    torch.manual_seed(0)
    layer, like = ours(3, 4, **how).double(), theirs(3, 4, **how).double()
    like.load_state_dict(layer.state_dict())
    x = torch.randn(2, 7, 10, 3, dtype=torch.float64).movedim(-1, 1).requires_grad_()  # channels last in memory
    outputs = [layer(x), like(x)]
    assert type(outputs[0].grad_fn).__name__ == "_ConvolutionBackward"
    torch.testing.assert_close(*outputs, rtol=0, atol=0)
    weights = torch.randn_like(outputs[0])
    mine = torch.autograd.grad(outputs[0], [x, *layer.parameters()], weights)
    own = torch.autograd.grad(outputs[1], [x, *like.parameters()], weights)
    for found, expected in zip(mine, own, strict=True):
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_gradient_has_a_gradient():
    layer = Conv2d(2, 3, 3, padding=1, bias=False).double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, x)


def test_the_gradient_of_one_position_is_what_the_kernel_saw():
    large = torch.arange(16.0).view(1, 1, 4, 4)
    small = torch.zeros(1, 1, 2, 2)
    small[0, 0, 1, 0] = 1.0  # at stride 2 and padding 1 the kernel's corner lies at row 2 · 1 − 1, column −1
    expected = torch.tensor([[0.0, 4, 5], [0, 8, 9], [0, 12, 13]])
    torch.testing.assert_close(kernel_gradient(large, small, (3, 3), (2, 2), (1, 1))[0, 0], expected)


def test_images_are_taken_some_at_a_time(monkeypatch):
    large, small = torch.randn(5, 3, 6, 6), torch.randn(5, 4, 6, 6)
    how = ((3, 3), (1, 1), (1, 1))
    together = kernel_gradient(large, small, *how)
    monkeypatch.setattr(convolution, "AT_ONCE", 2 * 3 * 3 * 36)  # two images' windows
    torch.testing.assert_close(kernel_gradient(large, small, *how), together)


def test_small_layers_autocast_and_prediction_are_left_to_pytorch(monkeypatch):
    layer, x = Conv2d(3, 4, 3, padding=1), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert layer(x).grad_fn is None
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    for name, least in (("LEAST_POSITIONS", 65), ("LEAST_CHANNELS", 4)):
        with monkeypatch.context() as patch:
            patch.setattr(convolution, name, least)
            assert type(layer(x).grad_fn).__name__ == "ConvolutionBackward0"


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_channels_last_in_memory_however_they_come(channels):
    images = torch.randn(2, channels, 6, 5)
    for x in (images.movedim(1, -1), images.movedim(1, -1).clone(memory_format=torch.contiguous_format)):
        view = channels_first_view(x)
        assert view.stride() == (30 * channels, 1, 5 * channels, channels)
        assert nn.Conv2d(channels, 4, 3)(view).is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(view, images, rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 2, 15])
def test_a_strided_kernel_of_one_position_reads_what_it_needs_alone(channels):
    """oneDNN's own gradient of such a kernel writes past its memory on channels-last maps."""
    torch.manual_seed(0)
    layer = Conv2d(channels, 3, 1, stride=(2, 3))
    x = torch.randn(2, 87, 86, channels).movedim(-1, 1).requires_grad_()
    y = layer(x)
    assert y.grad_fn._saved_stride == (1, 1)
    y.square().sum().backward()
    weight, bias = (value.detach().double().requires_grad_() for value in (layer.weight, layer.bias))
    wide = x.detach().double().contiguous().requires_grad_()
    expected = torch.nn.functional.conv2d(wide, weight, bias, (2, 3))
    expected.square().sum().backward()
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    for found, true in ((layer.weight, weight), (layer.bias, bias), (x, wide)):
        torch.testing.assert_close(found.grad.double(), true.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("normalization", [None, "batch"])
@pytest.mark.parametrize(("dims", "kernel", "stride"), [(1, 3, 1), (2, 3, 1), (2, 5, 2), (2, 1, 2), (3, 3, 2)])
def test_a_block_predicts_in_fewer_passes_what_its_layers_give(normalization, dims, kernel, stride):
    torch.manual_seed(0)
    block = ConvBlock(dims, 3, 5, Style(kernel, normalization), stride)
    x = torch.randn(4, 3, *[9] * dims)
    for _ in range(3):
        block(x)  # moves the statistics
    block.eval()
    layers = block.activation(block.normalization(block.convolution(x)))
    before = x.clone()
    with torch.no_grad():
        torch.testing.assert_close(block(x), layers, rtol=1e-5, atol=1e-6)
    assert torch.equal(x, before)
    if normalization is None:
        with torch.no_grad():
            assert torch.equal(block(x), layers)
