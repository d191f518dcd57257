"""The anomaly benchmark: its figures by hand, that it goes on where it stopped, and that the page shows it."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def load(path):
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


bench = load(ROOT / "benchmarks" / "anomalies.py")
maker = load(ROOT / "docs" / "make_anomalies.py")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two small tables, the last row of each an outlier."""
    folder = tmp_path / "adbench"
    folder.mkdir()
    for i, n in enumerate((30, 60)):
        X = np.random.default_rng(i).normal(size=(n, 3))
        X[-1] = 50
        np.savez(folder / f"{i}_table{i}.npz", X=X, y=np.arange(n) == n - 1)
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))
    return tmp_path


def counting(calls):
    def score(X, seed):
        calls.append((len(X), seed))
        return np.abs(X).sum(1)

    return score


def test_a_stopped_run_goes_on(data):
    out, calls = data / "out.json", []
    result = {"tables": {}, "skipped": {}}
    assert not bench.run(result, {"isthmus": counting(calls)}, 3, -math.inf, out)
    assert calls == []
    assert bench.run(result, {"isthmus": counting(calls)}, 2, math.inf, out)
    result = json.loads(out.read_text())
    assert bench.run(result, {"isthmus": counting(calls)}, 3, math.inf, out)
    assert calls == [(30, 0), (30, 1), (60, 0), (60, 1), (30, 2), (60, 2)]
    assert result["summary"]["isthmus"]["auroc"] == 1.0
    assert result["summary"]["isthmus"]["tables"] == 2


def test_a_peer_that_does_not_import_is_skipped_with_the_reason(data):
    result = {"tables": {}, "skipped": {}}
    absent = bench.pyod("no_such_detector", "Absent")
    assert bench.run(result, {"absent": absent, "isthmus": counting([])}, 1, math.inf, data / "out.json")
    assert "No module named" in result["skipped"]["absent"]
    assert "absent" not in result["summary"]


def test_margin_by_hand():
    """Three tables: 0.9, 0.8, 0.6 against 0.8, 0.8, 0.7, so +0.1, 0, −0.1."""
    ours, theirs = (0.9, 0.8, 0.6), (0.8, 0.8, 0.7)
    fits = [{"isthmus": [{"auroc": a}], "other": [{"auroc": b}]} for a, b in zip(ours, theirs, strict=True)]
    margin = bench.margin({"tables": {str(i): {"methods": methods} for i, methods in enumerate(fits)}}, "other")
    assert margin["mean"] == pytest.approx(0, abs=1e-4)
    assert margin["wins"] == 1
    assert margin["interval_90"] == pytest.approx([-0.1, 0.1], abs=0.04)


def test_pca_error_by_hand():
    """Two columns that agree but for the last row: the first direction holds over 90 %, the error is the other's."""
    X = np.repeat(np.arange(20.0)[:, None], 2, axis=1)
    X[-1] += [1, -1]
    Z = (X - X.mean(0)) / X.std(0)
    expected = np.square(Z[:, 0] - Z[:, 1]) / 2
    np.testing.assert_allclose(bench.pca_error(X, 0), expected, atol=1e-9)


def test_closed_form_knows_how_columns_go_together():
    """Two rows are as far out, column by column; the second breaks the relation of the four."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 1)) * np.full(4, 3) + 0.1 * rng.normal(size=(300, 4))
    X[:2] = [[12, 12, 12, 12], [12, -12, 12, -12]]
    alone, together = bench.columns_alone(X, 0), bench.closed_form(X, 0)
    assert alone[0] == pytest.approx(alone[1], rel=0.1)
    assert together[1] > 1.2 * together[0]
    assert together.argmax() == 1


def test_the_page_shows_the_result():
    text = maker.PAGE.read_text(encoding="utf-8")
    assert maker.page(text) == text, "run: python docs/make_anomalies.py"
    assert set(json.loads(maker.RESULT.read_text())["summary"]) >= {"isthmus", "pyod_iforest", "pca_error"}
