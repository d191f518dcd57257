"""RobustScaler: hand-worked values, its inverse, its volume, and what outliers do to it."""

import math

import numpy as np
import pytest
import torch

from isthmus.scalers import RobustScaler


def fitted(x):
    return RobustScaler().build(x.shape[1:]).fit(x)


def test_hand_worked():
    """0 … 8: median 4, quartiles 2 and 6, so scale = 4 / 1.349; the second column is constant, the third
    has equal quartiles and takes its deviation, √(8/81)·10 with one 10 among nine."""
    x = torch.zeros(9, 3, dtype=torch.float64)
    x[:, 0], x[:, 1], x[0, 2] = torch.arange(9), 5.0, 10.0
    scaler = fitted(x)
    assert scaler.shift.tolist() == [4.0, 5.0, 0.0]
    assert scaler.scale.tolist() == pytest.approx([4 / 1.349, 1.0, 10 * math.sqrt(8 / 81)])
    y, mask = scaler(x)
    assert mask is None
    assert float(y[8, 0]) == pytest.approx(math.asinh(4 / (4 / 1.349)))
    assert y[:, 1].abs().max() == 0


def test_inverse_of_extremes():
    x = torch.randn(200, 4, dtype=torch.float64) * torch.tensor([1e-6, 1.0, 1e6, 3.0])
    x[0] = 1e12
    scaler = fitted(x)
    torch.testing.assert_close(scaler.inverse(scaler(x)[0]), x, rtol=1e-9, atol=1e-12)


def test_volume_is_the_log_of_the_jacobian():
    x = torch.randn(50, 3, dtype=torch.float64).cumsum(1)
    scaler = fitted(x)
    for row in x[:5]:
        jacobian = torch.autograd.functional.jacobian(lambda value: scaler(value[None])[0][0], row)
        expected = torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(scaler.log_volume(row[None])[0], expected, rtol=1e-12, atol=1e-12)


def test_a_fifth_of_outliers_hardly_moves_it():
    clean = torch.from_numpy(np.random.default_rng(0).normal(size=(1000, 1)))
    dirty = torch.cat([clean, torch.full((200, 1), 1e6, dtype=torch.float64)])
    before, after = fitted(clean), fitted(dirty)
    assert abs(float(after.shift - before.shift)) < 0.4
    assert 1 <= float(after.scale / before.scale) < 1.5


def test_masked_rows_do_not_count():
    x = torch.randn(20, 6, 2, dtype=torch.float64)
    mask = torch.ones(20, 6, dtype=torch.bool)
    mask[:, 4:] = False
    scaler, expected = RobustScaler().build((6, 2)).fit(x, mask), fitted(x[:, :4])
    torch.testing.assert_close(scaler.shift, expected.shift)
    torch.testing.assert_close(scaler.scale, expected.scale)
