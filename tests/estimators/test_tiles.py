"""Tiles give the prediction of the whole picture, with memory bounded by the tile."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from isthmus import ConvEncoder, DenoisingAutoencoder, Segmenter, UNetEncoder
from isthmus.estimators.pictures import PictureEstimator
from isthmus.estimators.tiling import _windows
from isthmus.types import Batch


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


def segmenter(encoder, shape):
    X = noise(6, *shape)
    model = Segmenter(encoder=encoder, max_epochs=3, learning_rate=1e-2, random_state=0)
    return model.fit(X, X > 100)


def reach(model, dims, size):
    """The greatest distance, along an axis, between a position of x and one of the output that it changes."""
    line, total_stride = model.module_, model.module_.encoder.total_stride[0]
    x = torch.rand(1, *[size] * dims, 1)
    middle = size // 2 // total_stride * total_stride

    def output(x):
        with torch.no_grad():
            return line(Batch(x), corrupt=False, noise=torch.zeros_like, scaled=True).output

    found, before = 0, output(x)
    for place in range(middle, middle + total_stride):
        changed = x.clone()
        changed[(0, *[place] * dims)] += 9
        touched = (output(changed) != before).any(-1).nonzero()[:, 1:]
        found = max(found, int((touched - place).abs().max()))
    return found


CASES = {
    "signals": (UNetEncoder((4, 6, 6), dims=1), (64,), (999,), 256),
    "images": (UNetEncoder((4, 6), blocks=1), (24, 24), (151, 130), 56),
    "images, three levels": (UNetEncoder((4, 6, 6), blocks=1), (24, 24), (331, 217), 128),
    "pooled by the maximum": (UNetEncoder((4, 6), blocks=1, downsampling="max"), (24, 24), (151, 130), 56),
    "odd tiles": (UNetEncoder((4, 6), blocks=1), (24, 24), (151, 30), (57, 61)),
    "volumes": (UNetEncoder((4, 6), blocks=1, dims=3), (8, 8, 8), (60, 71, 57), 56),
    "long voxels": (UNetEncoder((4, 6), blocks=1, dims=3, spacing=(3, 1, 1)), (8, 8, 8), (60, 61, 57), 56),
}


@pytest.mark.parametrize("case", CASES)
def test_tiles_give_the_prediction_of_the_whole(case):
    encoder, small, large, tile = CASES[case]
    model = segmenter(encoder, small)
    shortest = tile if isinstance(tile, int) else min(tile)
    assert reach(model, len(small), 64) <= 3 / 32 * shortest  # the margin, 3/8 of the overlap of a quarter
    X = noise(1, *large, seed=1)
    whole = model.set_params(tile_size=None).predict_proba(X)
    tiles = model.set_params(tile_size=tile).predict_proba(X)
    assert np.ptp(whole) > 0.01
    np.testing.assert_allclose(tiles, whole, rtol=0, atol=1e-5)


def test_a_map_of_codes_too():
    encoder = ConvEncoder((4, 6), pool=None, normalization="batch")
    model = DenoisingAutoencoder(encoder=encoder, latent_dim=5, patch_size=16, max_epochs=3, random_state=0)
    model.fit(noise(6, 24, 24))
    assert reach(model, 2, 64) <= 9
    X = noise(1, 201, 130, seed=1)
    whole = model.set_params(tile_size=None).reconstruct(X)
    np.testing.assert_allclose(model.set_params(tile_size=96).reconstruct(X), whole, rtol=0, atol=1e-3)  # of 255


def test_the_default_network_reads_less_than_the_default_tile_leaves_out():
    assert reach(segmenter("unet", (16, 16)), 2, 128) == 44 < 3 / 32 * 512


@pytest.mark.parametrize("change", [{"normalization": "group"}, {"normalization": "instance"}, {"attention_heads": 2}])
def test_statistics_over_the_whole_map_are_named_as_not_exact(change):
    model = segmenter(UNetEncoder((4, 6), blocks=1, **change), (24, 24))
    X = noise(1, 151, 130, seed=1) // np.linspace(1, 9, 130).astype(np.uint8)  # darker to the right
    whole = model.set_params(tile_size=None).predict_proba(X)
    tiles = model.set_params(tile_size=56).predict_proba(X)
    assert np.abs(tiles - whole).max() > 1e-4
    documented = " ".join((PictureEstimator.__doc__ or "").split())
    assert all(word in documented for word in ("Not exact", '"group"', '"instance"', "attention"))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(2, 80), st.integers(1, 79), st.integers(1, 32))
def test_weights_of_an_axis(length, tile, overlap, stride):
    overlap = min(overlap, tile - 1)
    windows, total = _windows(length, tile, overlap, stride), torch.zeros(length)
    margin = overlap * 3 // 8
    for start, weights in windows:
        stop = start + len(weights)
        assert stop <= length
        assert len(weights) <= tile
        assert start % stride == 0 or stride > tile - overlap
        assert weights.min() >= 0
        assert start == 0 or (weights[:margin] == 0).all()
        assert stop == length or (weights[len(weights) - margin :] == 0).all()
        total[start:stop] += weights
    torch.testing.assert_close(total, torch.ones(length))
    assert [start for start, _ in windows] == sorted({start for start, _ in windows})


LARGE = """
import re, threading, time
import numpy as np
from isthmus import Segmenter, UNetEncoder

def megabytes(name):
    with open("/proc/self/status") as file:
        return int(re.search(name + r":\\s+(\\d+) kB", file.read())[1]) / 1024

X = np.random.default_rng(0).integers(0, 255, (4, 64, 64), dtype=np.uint8)
model = Segmenter(encoder=UNetEncoder((8, 16)), tile_size=512, max_epochs=1, random_state=0).fit(X, X > 100)
large = np.random.default_rng(1).integers(0, 255, (1, 4096, 4096), dtype=np.uint8)
model.predict(large[:, :64, :64])
before, peak, done = megabytes("RssAnon"), 0.0, threading.Event()

def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, megabytes("RssAnon"))

watcher = threading.Thread(target=watch)
watcher.start()
found = model.predict(large)
done.set()
watcher.join()
assert found.shape == large.shape
print(peak - before, megabytes("VmHWM") - megabytes("RssFile") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads memory from /proc")
def test_a_large_image_takes_less_than_a_gigabyte():
    """4096 × 4096 bytes above the process just before: sampled, and the kernel's own peak."""
    ran = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    sampled, peak = map(float, ran.stdout.split())
    assert 128 < sampled < 1000, ran.stdout
    assert peak < 1000, ran.stdout
