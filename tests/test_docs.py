"""The documents: their code runs, their links lead somewhere, their generated parts are up to date."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from isthmus import Batch, BinaryCrossEntropy, EncoderDecoder, KLPrior, Objective, Seen, TrainStep, estimators, spec
from isthmus.estimators.parameters import Parameters

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(language):
    """Every block of a language, with the page and line where it stands."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        matches = [match for match in BLOCK.finditer(text) if match[1] == language]
        lines = [text.count("\n", 0, match.start()) + 1 for match in matches]
        found += [pytest.param(match[2], id=f"{page.name}:{line}") for match, line in zip(matches, lines, strict=True)]
    return found


def script(name):
    """A file of docs/ as a module."""
    description = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "block", "exec"), {"__name__": "__main__"})


def test_command_lines_run(tmp_path):
    np.save(tmp_path / "digits.npy", load_digits().data[:300])
    lines = [line for block in blocks("sh") for line in block.values[0].splitlines() if line.startswith("isthmus ")]
    assert lines
    for line in lines:
        command = [sys.executable, "-m", *shlex.split(line)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        found = (page.parent / target) if target else page
        assert found.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            titles = re.findall(r"(?m)^#+ (.+)$", found.read_text(encoding="utf-8"))
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, f"{page.name} links to {target}#{anchor}; there are {sorted(slugs)}"


def test_index_lists_every_page():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, f"docs/index.md does not list {page.name}"


def test_parts_page_is_what_the_docstrings_give():
    make = script("make_parts")
    assert make.PAGE.read_text(encoding="utf-8") == make.page(), "docs/parts.md is out of date: run `make docs`"


def test_parts_page_shows_everything():
    page = script("make_parts").page()
    for entry in spec.catalogue():
        assert f"### {entry.cls.__name__}\n" in page
        assert f'`"{entry.name}"`' in page
        assert entry.formula in page
    for name in estimators.__all__:
        assert f"### {name}\n" in page


@pytest.mark.parametrize("entry", spec.catalogue(), ids=lambda entry: entry.cls.__name__)
def test_parts_page_describes_every_parameter(entry):
    known = script("make_parts").described(entry.cls)
    for name in entry.cls().get_params(deep=False):
        assert any(known.get(name, ())), f"{entry.cls.__name__} does not describe {name}"


@pytest.mark.parametrize(
    ("docstring", "papers"),
    [
        ("Noise (Vincent et al. 2010, section 3.3).", "Vincent et al. 2010, section 3.3"),
        (
            "Kingma & Welling, Auto-Encoding Variational Bayes, 2014.",
            "Kingma & Welling, Auto-Encoding Variational Bayes, 2014",
        ),
        ("As Burbidge, Magee & Robb (1988) do.", "Burbidge, Magee & Robb, 1988"),
        ("A line search (Nocedal & Wright, ch. 7).", "Nocedal & Wright, ch. 7"),
        ("Twice (Ng 2011), and again (Ng 2011).", "Ng 2011"),
        ("Nothing of 2010 values.", ""),
    ],
)
def test_papers_are_read_from_docstrings(docstring, papers):
    assert script("make_parts").papers(type("Part", (), {"__doc__": docstring})) == papers


@pytest.mark.parametrize("parameter", ["scale", "optimizer", "schedule"])
def test_names_in_the_common_parameters_resolve(parameter):
    kind, _ = script("make_parts").described(Parameters)[parameter]
    names = re.findall(r'"(\w+)"', kind)
    assert names
    for name in names:
        spec.resolve({"scale": "scaler"}.get(parameter, parameter), name)


def test_figures_are_what_the_benchmarks_left():
    make = script("make_figures")
    for path, names in make.PAGES.items():
        text = path.read_text(encoding="utf-8")
        assert make.page(text, names) == text, f"the figures of {path.name} are out of date: run `make docs`"


def test_a_missing_result_says_so(tmp_path, monkeypatch):
    make = script("make_figures")
    monkeypatch.setattr(make, "RESULTS", tmp_path)
    assert make.block().count("not measured yet") == len(make.BENCHMARKS)


def test_every_result_has_its_row():
    make = script("make_figures")
    assert {path.stem for path in make.RESULTS.glob("*.json")} <= set(make.BENCHMARKS)


@pytest.mark.parametrize(
    ("name", "result", "rows"),
    [
        (
            "mnist",
            {
                "published_nats": 86.76,
                "training_minutes": 120.2,
                "final": {"nll_nats": 86.254, "nll_standard_error": 0.21, "importance_samples": 5000, "images": 10000},
            },
            ["120 min of training, 5,000 samples, 10,000 images | 86.25 ± 0.21 nats | 86.76 (Burda et al. 2016)"],
        ),
        (
            "anomalies",
            {
                "summary": {
                    "isthmus": {"auroc": 0.8, "average_precision": 0.4, "tables": 20},
                    "pyod_vae": {
                        "auroc": 0.7512,
                        "average_precision": 0.3,
                        "isthmus_minus_this": {"mean": 0.0488, "interval_90": [-0.01, 0.1]},
                    },
                }
            },
            [
                "20 tables",
                "0.800 (0.400)",
                "`pyod_vae` | 0.751 (0.300) | ours minus it: +0.049 (90 % -0.010 to +0.100)",
            ],
        ),
        (
            "mnist_pythae",
            {
                "isthmus": {"minutes_to_90_nats": 3.21, "curve": []},
                "pythae": {"minutes_to_90_nats": None, "curve": [{"nats": 91.0, "minutes": 30.0}]},
            },
            ["`isthmus` | 3.2 min", "`pythae` | not reached: 91.00 nats after 30.0 min"],
        ),
        (
            "sparse_patches",
            {
                "gabor_shares": [0.8, 0.88],
                "gabor_share_mean": 0.84,
                "pca_gabor_shares": [0.0, 0.04],
                "gabor_share_mark": 0.8,
                "rho_hat_furthest_from_rho": 0.051,
                "rho_hat_mark": 0.2,
            },
            ["2 seeds | 84% (80% to 88%) | at least 80%; PCA's components 0% to 4%", "5.1% of ρ | at most 20%"],
        ),
        (
            "defaults",
            {"a": {"error_over_pca": 0.9}, "b (default)": {"error_over_pca": 0.5}, "c": {"error_over_pca": 0.4}},
            ["with the defaults | 0.500 | 0.400 with c, the best of 2 other settings"],
        ),
        (
            "conv_speed",
            {
                "threads": 1,
                "cases": {
                    "unet_128": {
                        "times_as_fast_as": {
                            "fit": {"isthmus": {"plain": [1.1, 1.0, 1.2]}, "isthmus_replay": {"plain": [1.2, 1.1, 1.3]}}
                        }
                    }
                },
            },
            ["unet_128, one thread: × as fast, `fit`, eager / replay | plain 1.10 / 1.20 | see docs/speed.md"],
        ),
        (
            "engine",
            {
                "threads": 1,
                "clock": "cpu",
                "cases": {
                    "table_32": {
                        "times_as_fast_as": {
                            "isthmus": {"hand_written": [0.9, 0.8, 1.0]},
                            "isthmus_replay": {"hand_written": [2.5, 2.4, 2.6], "fabric": [5.5, 5.4, 5.6]},
                            "isthmus_compiled": {"hand_written": [5.02, 4.9, 5.4]},
                        },
                        "share_of_peak": {"isthmus_compiled": 0.08},
                        "build_seconds": {"cold": 12.3, "warm": 0.14},
                        "apart": {"objective": 2.7e-7, "steps": 256},
                        "apart_by_rounding": {"objective": 1.1e-7},
                        "auto": {"compiles_from": 400_000},
                    }
                },
            },
            [
                "a step of table_32, one thread: × as fast as the best eager loop by hand | "
                "5.02 (4.90 to 5.40) compiled, 8% of the matrix peak; 2.50 replayed; 0.90 as written | "
                "replayed beside Lightning's: fabric 5.50",
                "processor time | 12 s, again 0.1 s | `auto` compiles from 400,000 steps on; "
                "objectives 3e-07 apart after 256 steps, 1e-07 by rounding",
            ],
        ),
        (
            "many",
            {
                "threads": 1,
                "clock": "cpu",
                "models": 16,
                "rounds": 5,
                "steps_of_a_long_fit": 4608,
                "mark": 2.5,
                **{
                    way: {
                        "milliseconds_a_step_of_one_model": {"together": 0.0412, "one after the other": 0.1304},
                        "build_seconds": {"together": 0.91, "one after the other": 1.32},
                        "times_as_fast": {"steps": [3.16, 3.02, 3.31], "whole_fit": [2.9, 2.8, 3.0]},
                    }
                    for way in ("compiled", "replayed")
                },
            },
            [
                "batch 32, compiled, one thread, processor time | 0.041 ms a step of one model, 3.2 × as fast as one",
                "0.130 ms; 3.0 to 3.3 × over 5 rounds; at least 2.5 × |",
                "from a warm cache | 0.9 s, and 1.3 s one after the other | with it, 4,608 steps: 2.9 × as fast |",
            ],
        ),
        (
            "speed",
            {
                "threads": 2,
                "import_seconds": 0.0012,
                "loop_beyond_step": {"microseconds": 55.3},
                "cases": {
                    "vae_128": {
                        "times_as_fast_as": {
                            "isthmus": {"hand_written": 0.98, "hand_written_epochs": 1.05},
                            "isthmus_replay": {"hand_written": 1.13, "hand_written_epochs": 1.3},
                        }
                    }
                },
            },
            [
                "vae_128, 2 threads: × as fast, eager / replay | hand_written 0.98 / 1.13 |",
                "55 µs | below 20 µs",
                "0.001 s | below 0.15 s",
            ],
        ),
    ],
)
def test_figures_by_hand(name, result, rows, tmp_path, monkeypatch):
    make = script("make_figures")
    monkeypatch.setattr(make, "RESULTS", tmp_path)
    (tmp_path / f"{name}.json").write_text(json.dumps(result))
    for row in rows:
        assert row in make.block()


def test_loop_page_shows_the_script():
    shown = re.search(
        r"<!-- docs/loop.py: begin -->\n```python\n(.*?)```", (ROOT / "docs/loop.md").read_text(), re.DOTALL
    )
    assert shown[1] == (ROOT / "docs/loop.py").read_text()


def test_loop_learns_and_agrees_with_the_objective():
    """Better than each pixel by its own frequency; and −ELBO as the library's own objective takes it."""
    x = torch.from_numpy(load_digits().data > 8).float()
    frequency = x.mean(0).clamp(1e-6, 1 - 1e-6)
    entropy = -(frequency * frequency.log() + (1 - frequency) * (1 - frequency).log()).sum()
    with torch.random.fork_rng():
        parts, history = script("loop").train(epochs=10)
    assert history[-1] < 0.9 * entropy
    model = EncoderDecoder(parts["encoder"], parts["bottleneck"], parts["decoder"], BinaryCrossEntropy())
    total, _ = TrainStep(model, Objective([KLPrior()]))(Batch(x), torch.zeros_like)
    latent = parts["bottleneck"](parts["encoder"](Seen(x)), torch.zeros_like)
    by_hand = (BinaryCrossEntropy()(parts["decoder"](latent), x) + latent.kl.sum(1)).mean()
    torch.testing.assert_close(total, by_hand)
