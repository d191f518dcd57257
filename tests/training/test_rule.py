"""compile="auto" compiles where that pays, by the record of a step alone, and a resumed run does as before."""

from __future__ import annotations

import logging

import pytest
import torch

from isthmus import SGD, Autoencoder, Callback, MLPEncoder
from isthmus.errors import CheckpointError
from isthmus.nn.dropout import kept
from isthmus.training import compiled, rule
from isthmus.training.checkpoint_files import newest
from isthmus.training.graph import Recorder, replayed
from toys import randn

X = randn(80, 5, dtype=torch.float32).numpy()


class Crash(Callback):
    def on_epoch_end(self, loop):
        raise RuntimeError("crash")


Crash.__module__ = "isthmus.tests"  # taken for one of the library's own


def fitted(resume=False, **settings):
    defaults = {"latent_dim": 2, "encoder": MLPEncoder((6,), dropout=0.1), "batch_size": 16, "max_epochs": 4}
    given = {**defaults, "validation_fraction": 0, "random_state": 0, **settings}
    return Autoencoder(**given).fit(X, resume=resume)


def assert_same(one, other):
    for (name, a), b in zip(one.module_.state_dict().items(), other.module_.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.fixture
def pays(monkeypatch):
    """Compiling costs nothing, and what is "compiled" is replayed: its bits are known."""
    monkeypatch.setattr(rule, "LEAST_TO_REPLAY", 1)
    monkeypatch.setattr(rule, "LEAST_TO_RECORD_AHEAD", 1)
    monkeypatch.setattr(rule, "BUILD", 0.0)
    monkeypatch.setattr(rule, "BUILD_AN_OPERATION", 0.0)
    monkeypatch.setattr(rule.shutil, "which", lambda name: name)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(compiled, "compiled", lambda graph, inputs: replayed(graph))


def recorded(*shape):
    """relu(x) @ x as a record: two calls, the first of which others can join."""
    x = torch.ones(shape)
    with Recorder([x]) as recorder:
        y = torch.relu(x) @ x
    return recorder.graph([y])


def test_compiled_where_the_saving_is_more_than_twice_the_cost(monkeypatch):
    monkeypatch.setattr(rule, "A_CALL", 1e-3)
    monkeypatch.setattr(rule, "A_BYTE", 1e-6)
    monkeypatch.setattr(rule, "BUILD", 20.0)
    monkeypatch.setattr(rule, "BUILD_AN_OPERATION", 0.5)
    graph = recorded(10, 10)  # saves 2 · 1 ms + 400 · 1 µs = 2.4 ms a step, and costs 20 + 2 · 0.5 = 21 s
    assert rule.by_the_record(graph, 17_499).way == rule.REPLAYED  # below 42 s
    assert rule.by_the_record(graph, 17_501).way == rule.COMPILED
    said = "since compiling would save about 24 s in 10000 steps and take about 21 s"
    assert rule.by_the_record(graph, 10_000) == (rule.REPLAYED, said)


def test_what_nobody_reads_is_not_counted():
    x = torch.ones(4, 4)
    with Recorder([x]) as recorder:
        unread = x * 2
        y = (x + 1).detach()
    del unread
    assert rule.size_of(recorder.graph([y])) == (1, 64)


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (lambda x: torch.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)[0], "batch normalisation"),
        (lambda x: torch.nn.functional.layer_norm(x, (4,)), "layer normalisation"),
        (lambda x: torch.gru_cell(x, x, torch.ones(12, 4), torch.ones(12, 4)), "recurrent cells"),
        (lambda x: kept(x, 0.5), "16-bit dropout"),
    ],
)
def test_what_was_measured_to_be_no_faster_is_replayed(operation, said):
    with Recorder([x := torch.ones(4, 4)]) as recorder:
        y = operation(x)
    decision = rule.by_the_record(recorder.graph([y]), 10**12)
    assert decision == (rule.REPLAYED, f"since compiled steps with {said} were measured to be no faster")


@pytest.mark.usefixtures("pays")
def test_the_first_step_is_taken_once(caplog):
    caplog.set_level(logging.INFO, "isthmus")
    model = fitted()
    assert model.compile_.way == rule.COMPILED
    assert model.compile_.reason.startswith("since compiling would save about 0 s in 20 steps")
    assert f"compile='auto': steps are compiled, {model.compile_.reason}" in caplog.text
    assert_same(fitted(compile=False), model)


@pytest.mark.usefixtures("pays")
def test_it_replays_where_compiling_does_not_pay(monkeypatch):
    monkeypatch.setattr(rule, "BUILD", 20.0)
    model = fitted()
    assert model.compile_.way == rule.REPLAYED
    assert_same(fitted(compile=False), model)


@pytest.mark.usefixtures("pays")
def test_without_a_compiler_it_replays_and_says_so(monkeypatch):
    monkeypatch.setattr(rule.shutil, "which", lambda name: None)
    assert fitted().compile_ == (rule.REPLAYED, "since there is no C++ compiler")


@pytest.mark.usefixtures("pays")
def test_without_vectors_it_replays_and_says_so(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert fitted().compile_ == (rule.REPLAYED, "since this processor has no vectors that compiling could use")


@pytest.mark.usefixtures("pays")
def test_where_the_compiler_fails_it_replays_and_says_why(monkeypatch, caplog):
    def broken(graph, inputs):
        raise OSError("disk full")

    monkeypatch.setattr(compiled, "compiled", broken)
    model = fitted()
    assert model.compile_ == (rule.REPLAYED, "since the step cannot be compiled: OSError: disk full")
    assert "the step cannot be compiled and is replayed: OSError: disk full" in caplog.text
    assert_same(fitted(compile=False), model)


@pytest.mark.usefixtures("pays")
def test_where_the_record_fails_it_runs_as_written_and_says_why(monkeypatch, caplog):
    said = property(lambda self: "a tensor is strange", lambda self, value: None)
    monkeypatch.setattr(Recorder, "obstacle", said, raising=False)
    model = fitted()
    assert model.compile_ == (rule.AS_WRITTEN, "since they cannot be recorded: a tensor is strange")
    assert "steps cannot be replayed and run as written: a tensor is strange" in caplog.text
    assert_same(fitted(compile=False), model)


@pytest.mark.parametrize(
    ("compile", "way"), [(False, rule.AS_WRITTEN), ("replay", rule.REPLAYED), (True, rule.COMPILED)]
)
@pytest.mark.usefixtures("pays")
def test_what_is_asked_for_is_done(compile, way):
    assert fitted(compile=compile, optimizer=SGD()).compile_ == (way, "as asked for")


@pytest.mark.usefixtures("pays")
def test_a_resumed_run_obeys_what_was_decided(tmp_path, monkeypatch):
    folder = {"checkpoint_dir": tmp_path, "checkpoint_every": 3}
    with pytest.raises(RuntimeError, match="crash"):
        fitted(callbacks=[Crash()], **folder)
    assert newest(tmp_path).head["decisions"]["compiled"] is True
    with pytest.raises(CheckpointError, match=r"compile must be 'auto' or True to go on with it, got False"):
        fitted(compile=False, resume=True, **folder)
    monkeypatch.setattr(rule, "BUILD", 1e9)
    assert fitted().compile_.way == rule.REPLAYED
    assert fitted(resume=True, **folder).compile_ == (rule.COMPILED, "as before the run was stopped")


@pytest.mark.usefixtures("pays")
def test_a_resumed_run_is_not_compiled_that_was_not(tmp_path, monkeypatch):
    folder = {"checkpoint_dir": tmp_path, "checkpoint_every": 3}
    monkeypatch.setattr(rule, "BUILD", 1e9)
    with pytest.raises(RuntimeError, match="crash"):
        fitted(callbacks=[Crash()], **folder)
    monkeypatch.setattr(rule, "BUILD", 0.0)
    assert fitted(resume=True, **folder).compile_ == (rule.REPLAYED, "as before the run was stopped")
