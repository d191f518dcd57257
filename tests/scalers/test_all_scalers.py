"""Every scaler: there and back, the volume it stretches, and the statistics it takes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from isthmus import spec
from isthmus.scalers import AutoScaler, MinMaxScaler, StandardScaler, UnitScaler
from isthmus.types import Space
from toys import randn

every_scaler = pytest.mark.parametrize("scaler", spec.registry("scaler").values(), ids=lambda cls: cls.__name__)


def fitted(scaler, x, mask=None):
    return scaler().build(Space(tuple(x.shape[1:]))).fit(x, mask)


@every_scaler
@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.floats(-1e3, 1e3), st.floats(1e-2, 1e3))
def test_there_and_back(scaler, shape, shift, scale):
    x = shift + scale * randn(9, *shape)
    part = fitted(scaler, x)
    y, _ = part(x)
    assert y.shape == x.shape
    torch.testing.assert_close(part.inverse(y), x, rtol=1e-9, atol=1e-9 * (abs(shift) + scale))


@every_scaler
@pytest.mark.parametrize("shape", [(3,), (4, 2)])
def test_log_volume_is_that_of_the_jacobian(scaler, shape):
    x = 5 + 3 * randn(6, *shape)
    part = fitted(scaler, x)
    volumes = []
    for row in x:
        jacobian = torch.autograd.functional.jacobian(lambda r: part(r[None])[0][0], row).reshape(row.numel(), -1)
        volumes.append(torch.linalg.slogdet(jacobian).logabsdet)
    torch.testing.assert_close(part.log_volume(x), torch.stack(volumes))


@every_scaler
def test_masked_cells_have_no_volume(scaler):
    x = 5 + 3 * randn(6, 4, 2)
    part, mask = fitted(scaler, x), torch.arange(4).expand(6, 4) < 3
    torch.testing.assert_close(part.log_volume(x, mask), part.log_volume(x[:, :3]))
    assert part(x, mask)[1] is mask


@every_scaler
@pytest.mark.parametrize("value", [0.0, 7.0, 1e9])
def test_constant_columns_stay_finite(scaler, value):
    x = torch.full((5, 2), value, dtype=torch.float64)
    part = fitted(scaler, x)
    assert part(x)[0].isfinite().all()
    assert part.log_volume(x).isfinite().all()
    torch.testing.assert_close(part.inverse(part(x)[0]), x)


@every_scaler
def test_large_offsets_lose_no_digits(scaler):
    x = (1.7e9 + torch.arange(50.0, dtype=torch.float64)).unsqueeze(1)  # seconds
    y = fitted(scaler, x)(x)[0].float()
    if scaler is not UnitScaler:
        assert len(y.unique()) == 50


@every_scaler
@pytest.mark.parametrize("unit", [1.0, 0.25])
@pytest.mark.parametrize("shape", [(2,), (4, 2)])
def test_a_row_of_weight_two_is_two_rows(scaler, unit, shape):
    x, times = 5 + 3 * randn(8, *shape), torch.tensor([1, 2, 1, 3, 1, 1, 2, 5])
    weighted = scaler().build(Space(shape)).fit(x, weight=unit * times)
    repeated = fitted(scaler, x.repeat_interleave(times, 0))
    for part, other in zip(weighted.buffers(), repeated.buffers(), strict=True):
        torch.testing.assert_close(part, other, rtol=1e-12, atol=1e-12)


@every_scaler
def test_a_row_of_no_weight_does_not_count(scaler):
    x, weight = 5 + 3 * randn(9, 2), torch.tensor([1.0] * 8 + [0.0])
    weighted, without = scaler().build(Space((2,))).fit(x, weight=weight), fitted(scaler, x[:8])
    for part, other in zip(weighted.buffers(), without.buffers(), strict=True):
        torch.testing.assert_close(part, other, rtol=1e-12, atol=1e-12)


def test_standard():
    x = 5 + 3 * randn(50, 4)
    y = fitted(StandardScaler, x)(x)[0]
    torch.testing.assert_close(y.mean(0), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(y.std(0, correction=0), torch.ones(4, dtype=torch.float64))


def test_standard_by_channel_and_without_padding():
    x, mask = 5 + 3 * randn(20, 6, 2), torch.arange(6).expand(20, 6) < 4
    padded = torch.where(mask.unsqueeze(-1), x, 1e6)
    part, alone = fitted(StandardScaler, padded, mask), fitted(StandardScaler, x[:, :4])
    torch.testing.assert_close(part.shift, alone.shift)
    torch.testing.assert_close(part.scale, alone.scale)


def test_min_max():
    y = fitted(MinMaxScaler, 5 + 3 * randn(50, 4))(5 + 3 * randn(50, 4))[0]
    assert torch.equal(y.amin(0), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(y.amax(0), torch.ones(4, dtype=torch.float64))


def test_auto():
    table = torch.stack([torch.linspace(0, 1, 11), torch.linspace(-5, 50, 11)], 1).double()
    scaled = fitted(AutoScaler, table)(table)[0]
    assert torch.equal(scaled[:, 0], table[:, 0])
    assert abs(float(scaled[:, 1].std(correction=0)) - 1) < 1e-12
    image = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    assert torch.equal(fitted(AutoScaler, image)(image)[0], image.double() / 255)
    signal = 5 + 3 * randn(10, 20, 2)
    torch.testing.assert_close(fitted(AutoScaler, signal).shift, signal.mean((0, 1)))


def test_auto_standardises_a_column_too_narrow_to_be_learnt():
    row = torch.arange(1000)
    narrow = torch.linspace(0.001, 0.004, 1000)
    small = torch.where(row < 640, 0.0, 1e-4 * (row % 7))  # mostly zeros, and the others hardly more
    rare = (row == 3).double()  # an indicator, of deviation 0.03
    background = 0.6 * rare  # mostly the lowest
    wide = torch.linspace(0.3, 0.5, 1000)  # a deviation of 0.06
    table = torch.stack([narrow, small, rare, background, wide], 1).double()
    scaled = fitted(AutoScaler, table)(table)[0]
    torch.testing.assert_close(scaled[:, :2].std(0, correction=0), torch.ones(2).double())
    assert torch.equal(scaled[:, 2:], table[:, 2:])
