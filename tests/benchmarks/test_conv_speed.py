"""The convolutional speed benchmark: the same network and the same work on both sides, and a run of some seconds."""

import json

import conv_speed as bench
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from isthmus import TrainStep
from isthmus.objective import Objective
from isthmus.types import Batch

SMALL = [bench.Case("conv_28", "conv", 12, 4, 8), bench.Case("unet_128", "unet", 16, 2, 4)]


@pytest.fixture(params=SMALL, ids=lambda case: case.kind)
def both(request):
    """Our module of one epoch, and the hand-written network with its weights."""
    case = request.param
    ours = bench.estimator(case, 1, False).fit(bench.images(case)).module_
    theirs = bench.network(case)
    line = torch.nn.Sequential(ours.encoder, ours.bottleneck, ours.decoder)
    with torch.no_grad():
        for to, value in zip(theirs.state_dict().values(), line.state_dict().values(), strict=True):
            to.copy_(value)
    return case, ours, theirs


def test_both_sides_have_the_same_network(both):
    case, ours, theirs = both
    x = torch.from_numpy(bench.images(case))
    with torch.no_grad():
        expected = theirs.eval()(x)
        found = ours.eval()(Batch(x.movedim(1, -1))).output.movedim(-1, 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_both_sides_do_the_same_work(both):
    case, ours, _ = both
    with FlopCounterMode(display=False) as counter:
        total, _ = TrainStep(ours.train(), Objective())(Batch(torch.zeros(2, case.side, case.side, 1)))
        total.backward()
    assert counter.get_total_flops() / 2 == bench.flops(case, bench.network)["fit"]


def test_the_hand_written_network_predicts_the_same_folded(both):
    case, _, theirs = both
    x = torch.from_numpy(bench.images(case))
    with torch.no_grad():
        expected = theirs.eval()(x)
        torch.testing.assert_close(bench.folded(theirs)(x), expected, rtol=1e-4, atol=1e-5)


def test_a_short_run_leaves_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "CASES", SMALL)
    monkeypatch.setattr(bench, "matrix_peak", lambda clock: 100.0)
    threads = torch.get_num_threads()
    bench.main(["--minutes", "0", "--threads", str(threads), "--out", str(tmp_path / "found.json")])
    result = json.loads((tmp_path / "found.json").read_text())
    assert list(result["cases"]) == ["conv_28", "unet_128"]
    for found in result["cases"].values():
        assert found["rounds"] == 3
        for what in ("fit", "predict"):
            ratios = found["times_as_fast_as"][what]["isthmus"]
            assert {"plain", "hand_written_contiguous", "hand_written_channels_last"} <= set(ratios)
            assert all(low <= middle <= high for middle, low, high in ratios.values())
    assert all(isinstance(reached, bool) for reached in result["marks"].values())


def test_equal_times_of_equal_networks_are_a_ratio_of_one():
    case = SMALL[0]
    rounds = [{name: {"fit": 2.0, "predict": 1.0} for name in (*bench.OURS, "plain")}] * 3
    found = bench.summary(case, rounds)
    assert found["times_as_fast_as"]["fit"]["isthmus"]["plain"] == [1.0, 1.0, 1.0]
    assert found["ms_a_batch"]["fit"]["plain"] == 1000  # two batches in two seconds
    per_image = bench.flops(case, bench.network)["fit"]
    assert found["gflops"]["fit"]["plain"] == pytest.approx(1e-9 * per_image * 8 / 2)


def test_a_mark_is_held_against_the_slowest_of_its_kind():
    row = {"hand_written_contiguous": [1.2] * 3, "hand_written_channels_last": [0.9] * 3, "plain": [1.5] * 3}
    faster = {name: [middle + 0.3] * 3 for name, (middle, *_) in row.items()}
    found = bench.marks({"conv_28": {"times_as_fast_as": {"fit": {"isthmus": row, "isthmus_replay": faster}}}})
    assert found == {"conv_28, fit, >= 1.0 hand_written": True, "conv_28, fit, >= 1.4 plain": True}
    found = bench.marks({"conv_28": {"times_as_fast_as": {"fit": {"isthmus": faster, "isthmus_replay": row}}}})
    assert found == {"conv_28, fit, >= 1.0 hand_written": False, "conv_28, fit, >= 1.4 plain": True}
