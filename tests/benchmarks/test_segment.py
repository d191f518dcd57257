"""The segmentation benchmark: its slices and its figures."""

import os

import numpy as np
import pytest
import segment

needs_data = pytest.mark.skipif(not os.environ.get("ISTHMUS_DATA"), reason="ISTHMUS_DATA is not set")


def test_no_slice_is_used_twice():
    used = [number for part in (segment.TRAIN, segment.CHOOSE, segment.TEST) for number in range(30)[part]]
    assert sorted(used) == list(range(30))


@needs_data
def test_figures_of_the_truth_and_of_inside_everywhere():
    _, labels = segment.load()
    perfect = segment.figures(lambda _: labels[segment.TEST], segment.TEST)
    assert perfect == {"dice": 1, "boundary_f1": 1, "pixel_error": 0, "dice_inside": 1}
    inside = segment.figures(lambda images: np.ones_like(images), segment.TEST)
    assert inside["dice"] == 0
    assert inside["dice_inside"] == pytest.approx(0.88, abs=0.02)
    assert inside["pixel_error"] == pytest.approx((labels[segment.TEST] == 0).mean())
