"""Several processes: the model of one, each its rows, and what happens when one is gone."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
import together
from isthmus import Autoencoder
from isthmus.errors import ContactError, ParameterError, TrainingError, UnsupportedError
from isthmus.nn.share import Share, drawn, n_rows, own_rows, sharing
from isthmus.nn.shared_layers import batch_norm
from isthmus.nn.statistics import batch_mean
from isthmus.training.processes import Processes
from isthmus.types import Batch
from toys import randn

TESTS = Path(__file__).resolve().parents[1]
several = pytest.mark.skipif(
    find_spec("lightning_fabric") is None, reason="Lightning Fabric, which starts the processes, is not installed"
)


def assert_close(one, other):
    (weights, history), (their_weights, their_history) = one, other
    for name, value in weights.items():
        assert (value - their_weights[name]).abs().max() <= 1e-5, name
    assert len(history) == len(their_history) == 3
    for row, their_row in zip(history, their_history, strict=True):
        assert row == pytest.approx(their_row, rel=1e-4, abs=1e-5)


# ---------------------------------------------------------------------- shares, in one process


def test_shares_cover_a_batch_once():
    found = [share for rank in range(3) for share in Processes(rank, 3).shares(20, parts=2)]
    rows = sorted(row for share in found for row in range(share.start, share.stop))
    assert rows == list(range(20))
    assert {(share.first, share.last) for share in found} == {(0, 10), (10, 20)}


def test_a_process_without_a_row_has_one_of_weight_zero():
    batch = Batch(randn(1, 2))
    for rank, weight in [(0, 0.0), (1, 1.0)]:
        (share,) = Processes(rank, 2).shares(1)
        mine = share.weighed(batch.map(share.own))
        assert mine.x.shape == (1, 2)
        assert mine.weight.tolist() == [weight]


@pytest.mark.parametrize("shape", [(6, 3), (12, 4, 5)])  # as many rows as the batch has, and two for each
def test_draws_are_the_rows_of_those_for_the_whole_batch(shape):
    torch.manual_seed(0)
    whole = torch.randn_like(torch.empty(shape))
    times = shape[0] // 6
    torch.manual_seed(0)
    with sharing(Share(2, 5, 0, 6, 6)):
        found = drawn(torch.empty(3 * times, *shape[1:]), torch.randn_like)
        assert n_rows(found) == shape[0]
        torch.testing.assert_close(own_rows(whole), found, rtol=0, atol=0)
    torch.testing.assert_close(found, whole[2 * times : 5 * times], rtol=0, atol=0)


def test_draws_for_channels_last_maps_follow_memory_as_in_one_piece():
    x = torch.empty(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    torch.manual_seed(0)
    whole = torch.randn_like(x)
    torch.manual_seed(0)
    with sharing(Share(1, 3, 0, 4, 4)):
        torch.testing.assert_close(drawn(x[1:3], torch.randn_like), whole[1:3], rtol=0, atol=0)


def test_means_add_up_what_the_others_have():
    values, others = torch.tensor([1.0, 2.0]), 7.0
    with sharing(Share(0, 2, 0, 4, 4, 2, lambda total: total + others)):
        assert float(batch_mean(values)) == (1 + 2 + 7) / 4


def test_shared_batch_norm_is_pytorchs():
    layers = nn.BatchNorm1d(3, dtype=torch.float64), nn.BatchNorm1d(3, dtype=torch.float64)
    x = randn(5, 3, 7)
    torch.testing.assert_close(batch_norm(layers[0], x), layers[1](x))
    for name, value in layers[1].state_dict().items():
        torch.testing.assert_close(layers[0].state_dict()[name], value)


@pytest.mark.parametrize("name", ["noise-free", "noisy"])
def test_a_batch_in_parts_is_the_step_of_the_whole(name):
    """18 rows in 4 parts of 4, 5, 4 and 5."""
    one, parts = (together.told(together.models(accumulate=k)[name].fit(together.X)) for k in (1, 4))
    assert_close(one, parts)


def test_parts_weigh_what_their_rows_weigh():
    weight = np.random.default_rng(0).uniform(0.5, 2, 90)
    fits = [together.models(accumulate=k)["noisy"].fit(together.X, sample_weight=weight) for k in (1, 3)]
    assert_close(*map(together.told, fits))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulate": 0}, "accumulate must be a whole number of at least 1, got 0"),
        ({"accumulate": 4, "batch_size": 2}, "batch_size must be at least 4, a row for each process and part, got 2"),
        ({"accumulate": 2, "compile": True}, "compile must be 'auto' or False with accumulate"),
        ({"accumulate": 2, "optimizer": "lbfgs"}, "accumulate must be 1 with optimizer LBFGS, got 2"),
    ],
)
def test_accumulate_refuses(settings, message):
    with pytest.raises(ParameterError, match=message):
        Autoencoder(max_epochs=1, **settings).fit(together.X)


# ---------------------------------------------------------------------- launch


def test_launch_alone_is_a_call():
    assert isthmus.launch(divmod, 7, 2) == isthmus.launch(divmod, 7, 2, processes=1) == (3, 1)
    with pytest.raises(ParameterError, match="processes must be None or a whole number of at least 1, got 0"):
        isthmus.launch(divmod, 7, 2, processes=0)


def test_launch_asks_for_where_to_meet(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(ParameterError, match="must be MASTER_ADDR, MASTER_PORT"):
        isthmus.launch(divmod, 7, 2)


def test_launch_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(UnsupportedError, match=r"several processes need Lightning Fabric: pip install 'isthmus\[dist"):
        isthmus.launch(divmod, 7, 2, processes=2)


@several
def test_two_processes_give_the_model_of_one_and_compute_half_each():
    by_two, counts, refused = isthmus.launch(together.fit_and_count, processes=2)
    for name, told in together.fit_all().items():
        assert_close(told, by_two[name])
    assert counts == [36, 36]  # of 4 steps of 18 rows
    assert "processes 0 and 1 differ in the data" in refused


@several
@pytest.mark.slow
def test_three_processes_with_uneven_shares_and_parts():
    by_three, parts = isthmus.launch(together.fit_in_parts, processes=3)
    for name, told in together.fit_all(batch_size=20).items():
        assert_close(told, by_three[name])
    assert_close(parts, together.told(together.models(batch_size=20)["noisy"].fit(together.X)))


@several
@pytest.mark.slow
def test_two_processes_with_a_part_of_the_weights_each(tmp_path):
    by_two, share = isthmus.launch(together.fit_cut, tmp_path / "two", processes=2, strategy="fsdp")
    by_one, whole = together.fit_cut(tmp_path / "one")
    assert by_two.keys() == by_one.keys() >= {"in parts", "proximal", "resumed"}
    for name, told in by_one.items():
        assert_close(told, by_two[name])
    assert whole == 1.0
    assert 0.4 < share < 0.6


@several
@pytest.mark.slow
def test_maps_and_unequal_series():
    by_two = isthmus.launch(together.fit_shapes, processes=2)
    for name, told in together.fit_shapes().items():
        assert_close(told, by_two[name])


@several
@pytest.mark.slow
def test_errors_come_back():
    with pytest.raises(ParameterError, match="optimizer must be 'adam', 'adamw' or 'sgd' with several processes"):
        isthmus.launch(Autoencoder(optimizer="lbfgs").fit, together.X, processes=2)
    with pytest.raises(TrainingError, match="of 2 failed: ZeroDivisionError"):
        isthmus.launch(divmod, 1, 0, processes=2)
    with pytest.raises(ParameterError, match="must be what a new process can import"):
        isthmus.launch(lambda: None, processes=2)


# ---------------------------------------------------------------------- processes that end


def by_launcher(*codes):
    """Processes with what a launcher tells them (as PyTorchJob does): each one's exit status and stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(TESTS), str(Path(isthmus.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    told = {**os.environ, "WORLD_SIZE": str(len(codes)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", f"import isthmus, together\n{code}"],
            env={**told, "RANK": str(rank), "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, code in enumerate(codes)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, error) for process, error in zip(started, errors, strict=True)]


@several
def test_a_killed_process_is_named_by_the_other(tmp_path):
    begun = time.monotonic()
    (status, told), (killed, _) = by_launcher(*[f"isthmus.launch(together.fit_in, {str(tmp_path)!r}, 2)"] * 2)
    assert killed == -signal.SIGKILL
    assert status == 1
    assert "ContactError: process 0 of 2 has lost another one" in told
    assert time.monotonic() - begun < 60
    with (tmp_path / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


@several
@pytest.mark.slow
def test_a_process_that_does_not_answer_is_named_after_the_timeout():
    begun = time.monotonic()
    with pytest.raises(ContactError, match="process 0 of 2 has lost another one"):
        isthmus.launch(together.fit_and_sleep, processes=2, timeout=3)
    assert time.monotonic() - begun < 60


@several
@pytest.mark.slow
def test_the_run_goes_on(tmp_path):
    """By two processes to the same bits, by one to the same weights but for rounding."""
    never = isthmus.launch(together.fit_in, tmp_path / "never", processes=2)
    for processes in (2, 1):
        folder = tmp_path / str(processes)
        with pytest.raises(ContactError):
            isthmus.launch(together.fit_in, folder, 2, processes=2)
        resumed = isthmus.launch(together.fit_in, folder, None, True, processes=processes)
        assert_close(never, resumed)
        if processes == 2:
            assert all(map(torch.equal, never[0].values(), resumed[0].values()))


@several
@pytest.mark.slow
def test_torchrun_of_the_command_line(tmp_path):
    np.save(tmp_path / "X.npy", together.X)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "isthmus", "fit"]
    settings = ["--set", "max_epochs=3", "--set", "batch_size=18", "--seed", "0"]
    path = os.pathsep.join([str(Path(isthmus.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, "autoencoder", "X.npy", "--out", "model", "--checkpoint-dir", "run", *settings],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model: Autoencoder") == 1
    one = Autoencoder(max_epochs=3, batch_size=18, random_state=0).fit(together.X)
    assert_close(together.told(one), together.told(isthmus.load(tmp_path / "model")))
    assert len(list((tmp_path / "run").glob("step-*.safetensors"))) in (1, 2)
