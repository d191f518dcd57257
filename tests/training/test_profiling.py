"""`profile`: what it tells, and that it touches nothing. No test looks at a time."""

from __future__ import annotations

import pytest
import torch
from sklearn.base import clone

import isthmus
from isthmus import AnomalyDetector, Autoencoder, MLPEncoder, Seq2Seq, VariationalAutoencoder
from isthmus.errors import DataError, ParameterError
from isthmus.training import compiled, profiling
from isthmus.training.graph import replayed
from toys import randn

X = randn(80, 5, dtype=torch.float32).numpy()
TEXTS = ["a b", "a", "b a b"] * 9


def model(**more):
    given = {"encoder": MLPEncoder((6,)), "latent_dim": 2, "batch_size": 16, "max_epochs": 2, "random_state": 0} | more
    return Autoencoder(**given)


def profiled(estimator, *data, **more):
    return isthmus.profile(estimator, *(data or (X,)), **{"seconds": 1e-3, "compile": False, **more})


def test_it_times_every_alternative(monkeypatch):
    monkeypatch.setattr(compiled, "compiled", lambda graph, inputs: replayed(graph))
    monkeypatch.setattr(profiling.os, "cpu_count", lambda: 2)
    found = profiled(model(), compile=True)
    rows = [(row.compile, row.threads, row.precision) for row in found.timings if row.keeps_freed_memory]
    number = found.timings[-1].threads
    last = [("replay", number, "bf16-mixed"), (True, number, "32-true")]
    assert rows == [(way, n, "32-true") for n in (1, 2) for way in (False, "replay")] + last
    assert all(row.milliseconds > 0 and row.note == "" for row in found.timings)
    assert found.best in found.timings


def test_freed_memory_is_given_back_first_where_that_can_still_be(monkeypatch):
    kept = iter([False, False, *[True] * 20])
    monkeypatch.setattr(profiling, "keep_freed_memory", lambda: next(kept))
    found = profiled(model())
    assert [row.keeps_freed_memory for row in found.timings[:2]] == [False, True]


def test_the_parts_of_a_step_and_its_operators():
    found = profiled(model())
    assert list(found.parts) == ["data", "forward", "backward", "optimizer"]
    assert min(found.parts.values()) > 0
    assert {"aten::addmm", "aten::mm"} <= set(found.operators)
    assert len(found.operators) == 10


def test_the_arithmetic_of_a_step():
    found = profiled(model())
    weights, first = 5 * 6 + 6 * 2 + 2 * 6 + 6 * 5, 5 * 6  # 6 FLOPs a weight and row, 4 of the first layer
    assert found.gigaflops == pytest.approx(1e-9 * 16 * (6 * weights - 2 * first))
    expected = found.gigaflops / (1e-3 * found.best.milliseconds) / found.matrix_peak
    assert found.share_of_peak == pytest.approx(expected)


def row(compile, milliseconds, threads=1, build=0.0):
    return profiling.Timing(compile, threads, "32-true", True, milliseconds, build)


@pytest.mark.parametrize(
    ("timings", "said"),
    [
        (
            [row(False, 4.0), row("replay", 2.0), row(True, 1.0, build=10.0)],
            "use compile='replay', precision='32-true' and one thread: 2 ms a step, 2.00 × as fast as written"
            "; compile=True takes 1 ms and pays from 10,000 steps on",
        ),
        (
            [row(False, 3.0, 2), row("replay", 4.0, 2)],
            "use compile=False, precision='32-true' and 2 threads: 3 ms a step",
        ),
    ],
)
def test_the_advice(timings, said):
    assert profiling._advice(timings, min(timings, key=lambda one: one.milliseconds)) == said


def test_a_way_that_fails_has_no_time_and_says_why(monkeypatch):
    def broken(graph, inputs):
        raise OSError("no C++ compiler")

    monkeypatch.setattr(compiled, "compiled", broken)
    found = profiled(model(), compile=True)
    assert found.timings[-1].milliseconds is None
    assert found.timings[-1].note == "since the step cannot be compiled: OSError: no C++ compiler"
    assert found.best.compile is not True


def test_the_estimator_is_not_touched(tmp_path):
    fitted = model(checkpoint_dir=tmp_path / "run").fit(X)
    before = {name: value.clone() for name, value in fitted.module_.state_dict().items()}
    files, rng, threads = sorted(tmp_path.rglob("*")), torch.get_rng_state(), torch.get_num_threads()
    profiled(fitted)
    assert all(torch.equal(value, before[name]) for name, value in fitted.module_.state_dict().items())
    assert sorted(tmp_path.rglob("*")) == files
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.get_num_threads() == threads
    assert fitted.callbacks == ()


def test_an_unfitted_estimator_stays_so():
    unfitted = model()
    profiled(unfitted)
    assert vars(unfitted).keys() == vars(clone(unfitted)).keys()


def test_sequences_of_many_lengths_are_timed_as_written():
    found = profiled(Seq2Seq(max_epochs=1, batch_size=4), TEXTS, TEXTS[::-1], compile=True)
    assert {row.compile for row in found.timings} == {False}


def test_a_detector_is_timed_by_its_estimator():
    assert profiled(AnomalyDetector(model())).best.milliseconds > 0


def test_other_kinds_are_timed():
    assert profiled(VariationalAutoencoder(max_epochs=1, latent_dim=2)).best.milliseconds > 0
    assert {row.precision for row in profiled(model(precision="64-true")).timings} == {"64-true"}


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (lambda: profiled(object()), ParameterError, "estimator must be one of this library"),
        (lambda: profiled(AnomalyDetector()), ParameterError, "estimator must be one of this library"),
        (lambda: profiled(model(optimizer="lbfgs")), ParameterError, "optimizer must be 'adam', 'adamw' or 'sgd'"),
        (lambda: profiled(model(), seconds=0), ParameterError, "seconds must be"),
        (lambda: profiled(model(), compile="no"), ParameterError, "compile must be"),
        (lambda: profiled(model(), X[:, 0]), DataError, "X: Expected 2D array"),
        (lambda: profiled(model(batch_size=0)), ParameterError, "batch_size must be"),
    ],
)
def test_bad_input_is_named(given, error, said):
    with pytest.raises(error, match=said):
        given()
