"""The denoising benchmark: its noise, its measure, and a run of a few seconds."""

import json
import os

import denoise
import numpy as np
import pytest

IMAGES = {"a": np.full((64, 80), 100, np.uint8), "b": np.full((50, 60), 30, np.uint8)}


def test_noise_is_fixed_and_of_the_strength_asked_for():
    first, second = denoise.noisy(IMAGES, 25), denoise.noisy(IMAGES, 50)
    np.testing.assert_allclose(first[0] - 100, (second[0] - 100) / 2, atol=1e-4)
    assert abs(np.std(first[0] - 100.0) - 25) < 4 * 25 / (2 * 64 * 80) ** 0.5
    np.testing.assert_array_equal(denoise.noisy({"b": IMAGES["b"]}, 25)[0].shape, (50, 60))


def test_the_score_is_the_mean_of_the_images_decibels():
    class Nothing:
        def reconstruct(self, images):
            return images

    expected = [
        10 * np.log10(255**2 / np.square(damaged.clip(0, 255) - clean).mean())
        for damaged, clean in zip(denoise.noisy(IMAGES, 25), IMAGES.values(), strict=True)
    ]
    assert denoise.score(Nothing(), IMAGES, 25) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.skipif(not os.environ.get("ISTHMUS_DATA"), reason="ISTHMUS_DATA is not set")
def test_a_short_run_leaves_figures_and_a_checkpoint(tmp_path):
    small = ["--minutes", "0.02", "--every", "0.01", "--choose", "--images", "4", "--channels", "4", "6"]
    places = ["--out", str(tmp_path / "found.json"), "--checkpoint", str(tmp_path / "run.pt")]
    denoise.main([*small, *places])
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["psnr"]) == {"15", "25", "50"}
    assert (tmp_path / "run.pt").exists()
