"""The benchmark of the engine: its arithmetic, and a run of some seconds in which nothing is compiled."""

import json

import engine as bench
import pytest
import speed
import torch

from isthmus.training import compiled, rule
from isthmus.training.graph import replayed


@pytest.fixture
def small(monkeypatch):
    """Few rows, and what is "compiled" is replayed."""
    monkeypatch.setattr(speed, "N_ROWS", 64)
    monkeypatch.setattr(bench, "matrix_peak", lambda clock: 100.0)
    monkeypatch.setattr(compiled, "compiled", lambda graph, inputs: replayed(graph))
    monkeypatch.setenv("ISTHMUS_CACHE_DIR", "of the run")


@pytest.mark.usefixtures("small")
def test_a_short_run_leaves_figures(tmp_path):
    out, threads = tmp_path / "found.json", torch.get_num_threads()
    given = ["--minutes", "0", "--threads", str(threads), "--out", str(out)]
    bench.main([*given, "--cases", "table_32"])
    bench.main([*given, "--cases", "vae_128"])
    result = json.loads(out.read_text())
    assert list(result["cases"]) == ["table_32", "vae_128"]
    for name, found in result["cases"].items():
        assert found["rounds"] == 3
        assert {"isthmus", "isthmus_replay", "isthmus_compiled", "hand_written"} <= set(found["milliseconds_a_step"])
        assert found["apart"] == {"steps": 2 if name == "table_32" else 1, "objective": 0.0, "weights": 0.0}
        assert set(found["times_as_fast_as"]["isthmus_compiled"]) >= {"hand_written"}
        assert list(found["skipped"]) in ([], ["lightning"])
        assert result["marks"][name]["objective_alike"] is True


@pytest.mark.parametrize("name", ["table_32", "vae_128"])
def test_both_sides_have_the_same_weights_to_train(name, monkeypatch):
    monkeypatch.setattr(speed, "N_ROWS", 64)
    network = speed.HandTable() if name == "table_32" else speed.HandVAE()
    ours = bench.case_of(name).loop(False)
    assert sum(p.numel() for p in ours.parameters) == sum(p.numel() for p in network.parameters())


def test_pairs_of_one_length_are_batches_of_one_shape(monkeypatch):
    monkeypatch.setattr(bench.seq_speed, "WIDTH", 8)
    monkeypatch.setattr(bench.seq_speed, "POSITIONS", 64)
    data = bench.pairs(rows=8, size=20)
    monkeypatch.setattr(bench, "pairs", lambda: data)
    source = bench.case_of("gru").loop(True).source
    by_hand = bench.seq_speed.batches(data)
    assert source.one_shape
    assert source.steps_per_epoch == len(by_hand) == 2
    assert {len(batch[0]) for batch in by_hand} == {len(source.next().x)} == {4}


def test_auto_by_the_times_measured(monkeypatch):
    monkeypatch.setattr(rule, "A_CALL", 1e-3)
    monkeypatch.setattr(rule, "A_BYTE", 0.0)
    monkeypatch.setattr(rule, "BUILD", 9.5)
    monkeypatch.setattr(rule, "BUILD_AN_OPERATION", 0.5)
    found = bench.auto((1, 8), {"isthmus": 4e-3, "isthmus_replay": 3e-3, "isthmus_compiled": 2e-3}, 30.0, True)
    assert found["compiles_from"] == 20_001  # 2 · 10 s at a millisecond a step
    assert found["at"][100] == pytest.approx({"seconds": 0.304, "as_written": 0.4, "in_bounds": True})
    assert found["at"][20_001] == pytest.approx({"seconds": 70.002, "as_written": 80.004, "in_bounds": True})
    slow = bench.auto((1, 8), {"isthmus": 1e-3, "isthmus_replay": 1e-3, "isthmus_compiled": 1e-3}, 30.0, True)
    assert [point["in_bounds"] for point in slow["at"].values()] == [True, True, False]
    never = bench.auto((1, 8), {"isthmus": 1e-3, "isthmus_replay": 1e-3, "isthmus_compiled": 1e-3}, 30.0, False)
    assert never["compiles_from"] is None
    assert list(never["at"]) == [100, 1000]


def test_a_mark_is_a_share_of_the_study():
    case = {
        "times_as_fast_as": {"isthmus_compiled": {"hand_written": [3.27, 3.0, 3.5]}},  # 0.95 · 3.44 = 3.268
        "apart": {"objective": 1e-6},
        "auto": {"at": {100: {"in_bounds": True}}},
    }
    reached = {"as_fast_as_the_study": True, "objective_alike": True, "auto_in_bounds": True}
    assert bench.marks({"table_32": case}) == {"table_32": reached}
    case["times_as_fast_as"]["isthmus_compiled"]["hand_written"][0] = 3.26
    assert bench.marks({"table_32": case})["table_32"]["as_fast_as_the_study"] is False
