"""The sparse patches benchmark: its filter, its scaling, its objective against the notes', its Gabor fit."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sparse_patches.py"
SPEC = importlib.util.spec_from_file_location("sparse_patches", SCRIPT)
bench = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bench)


def test_the_filter_scales_a_grating_by_its_gain():
    wave = np.cos(2 * np.pi * np.arange(32) * 4 / 32)  # f = 1/8 cycles a pixel
    image = np.tile(wave, (32, 1))[None] + 7.0  # f = 0 has no gain
    gain = 0.125 * np.exp(-((0.125 / 0.4) ** 4))
    np.testing.assert_allclose(bench.whiten(image)[0], gain * np.tile(wave, (32, 1)), atol=1e-12)


def test_patches_lie_in_the_range_of_the_notes():
    patches = np.random.default_rng(0).standard_normal((500, 64)) + 3
    squeezed = bench.squeeze(patches)
    assert squeezed.min() == pytest.approx(0.1)
    assert squeezed.max() == pytest.approx(0.9)
    row = (patches - patches.mean(1, keepdims=True))[0]
    limit = 3 * (patches - patches.mean(1, keepdims=True)).std()
    assert squeezed[0, 0] == pytest.approx(0.5 + 0.4 * row[0] / limit)


def test_patches_are_cut_out_of_the_images():
    images = np.arange(2 * 20 * 30).reshape(2, 20, 30)
    patch = bench.sample_patches(images, 50, seed=0).reshape(50, 8, 8)
    corner = patch[:, 0, 0]
    np.testing.assert_array_equal(
        patch - corner[:, None, None], np.tile(np.arange(8) + 30 * np.arange(8)[:, None], (50, 1, 1))
    )
    which, rest = np.divmod(corner, 600)
    row, column = np.divmod(rest, 30)
    assert row.min() >= 4
    assert (row + 8).max() <= 16
    assert column.min() >= 4
    assert (column + 8).max() <= 26
    assert set(which) == {0, 1}


def notes_objective(model, x):
    """CS294A, pages 5 and 16, written out: (1/m) Σ ½‖x̂ − x‖² + λ/2 Σ W² + β Σ KL(ρ ‖ ρ̂)."""
    first, second = model.module_.bottleneck.linear, model.module_.decoder.end
    w1, b1, w2, b2 = (p.detach().numpy() for p in (first.weight, first.bias, second.weight, second.bias))
    a2 = 1 / (1 + np.exp(-(x @ w1.T + b1)))
    a3 = 1 / (1 + np.exp(-(a2 @ w2.T + b2)))
    rho, rho_hat = 0.01, a2.mean(0)
    kl = rho * np.log(rho / rho_hat) + (1 - rho) * np.log((1 - rho) / (1 - rho_hat))
    return 0.5 * np.square(a3 - x).sum() / len(x) + 1e-4 / 2 * (np.sum(w1**2) + np.sum(w2**2)) + 3 * kl.sum()


def test_our_objective_is_twice_the_one_of_the_notes():
    x = bench.squeeze(np.random.default_rng(0).standard_normal((300, 64)))
    model = bench.sparse_autoencoder(20, 100, [bench.NotesStart(0)]).fit(x)
    assert model.history_[-1]["objective"] == pytest.approx(2 * notes_objective(model, x), rel=1e-9)


def gabor(row, column, angle, frequency, along, across, phase):
    parts = bench.gabor_parts(np.array([row, column, angle, frequency, along, across]))
    return np.cos(phase) * parts[0] - np.sin(phase) * parts[1]


@pytest.mark.parametrize("angle", [0.3, 1.2, 2.8])
@pytest.mark.parametrize("phase", [0.0, 1.1])
def test_the_fit_recovers_a_gabor_function_under_noise(angle, phase):
    clean = gabor(2.7, 4.4, angle, 0.17, 1.3, 2.1, phase)
    noise = np.random.default_rng(1).standard_normal(64)
    image = clean + 0.2 * noise * np.linalg.norm(clean) / np.linalg.norm(noise)  # R² about 1 / (1 + 0.04)
    found = bench.fit_gabor(image, 6)
    assert found["r2"] == pytest.approx(1 / 1.04, abs=0.02)
    assert found["gabor"]
    assert found["sigma"] == pytest.approx(1.3, abs=0.3)
    assert found["frequency"] == pytest.approx(0.17, abs=0.03)


def test_noise_and_a_grating_are_no_gabor_units():
    assert not bench.fit_gabor(np.random.default_rng(0).standard_normal(64), 6)["gabor"]
    grating = np.cos(2 * np.pi * 0.25 * np.arange(8) + 0.4)
    assert bench.fit_gabor(np.tile(grating, (8, 1)).ravel(), 6)["sigma"] > 2.5


def test_a_centred_start_begins_at_rho_whatever_the_mean_of_the_patches():
    x = bench.squeeze(np.random.default_rng(0).standard_normal((300, 64)))

    class Look(bench.Callback):
        def on_fit_start(self, loop):
            with bench.torch.no_grad():
                trace = loop.step.model(loop.source.rows, scaled=True)
            self.rho_hat = trace.latent.z.mean(0).numpy()

    look = Look()
    bench.sparse_autoencoder(20, 100, [bench.CentredStart(0), look]).fit(x)
    np.testing.assert_allclose(look.rho_hat, 0.01, rtol=1e-3)


def test_the_page_shows_what_the_benchmark_left():
    page, result = SCRIPT.parents[1] / "docs" / "sparse_patches.md", SCRIPT.parent / "results" / "sparse_patches.json"
    shown = bench.BLOCK.search(page.read_text(encoding="utf-8"))
    assert shown
    assert bench.table(json.loads(result.read_text())) in shown[0]
