"""When rows are pictures, and how pictures lie side by side."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from isthmus.errors import ParameterError
from isthmus.report.layout import image_shape_of, mosaic, tiles


def test_digits_are_pictures_and_tables_are_not():
    rng = np.random.default_rng(0)
    assert image_shape_of(load_digits().data) == (8, 8)
    assert image_shape_of(rng.normal(size=(200, 64))) is None  # square, but neighbours are no more alike
    assert image_shape_of(rng.normal(size=(200, 30))) is None
    assert image_shape_of(np.ones((200, 64))) is None


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((9, 8, 7), (8, 7)),
        ((9, 1, 8, 7), (8, 7)),
        ((9, 3, 8, 7), (8, 7, 3)),
        ((9, 1, 5, 8, 7), (8, 7)),
        ((9, 3, 50), None),
    ],
)
def test_arrays_of_more_axes(shape, expected):
    rows = np.arange(np.prod(shape), dtype=float).reshape(shape)
    assert image_shape_of(rows) == expected
    if expected is not None:
        assert tiles(rows, expected).shape == (9, *expected)


def test_the_user_has_the_last_word():
    rows = np.zeros((5, 12))
    assert image_shape_of(rows, (3, 4)) == (3, 4)
    assert image_shape_of(load_digits().data, None) is None
    with pytest.raises(ParameterError, match="image_shape must hold 12 numbers"):
        image_shape_of(rows, (3, 5))


def test_colours_move_to_the_last_axis():
    rows = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(tiles(rows, (4, 5, 3))[1, 2, 3], rows[1, :, 2, 3])


def test_mosaic_of_three_in_two_columns():
    picture = mosaic(np.array([[[1.0]], [[2.0]], [[3.0]]]), columns=2)
    gap = np.nan
    np.testing.assert_array_equal(picture, [[1, gap, 2], [gap, gap, gap], [3, gap, gap]])
