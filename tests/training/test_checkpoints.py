"""A run that is stopped anywhere ends as one that was not."""

import errno
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import isthmus
from isthmus import (
    LBFGS,
    Autoencoder,
    Callback,
    Flip,
    GaussianNoise,
    MLPEncoder,
    RNNEncoder,
    Segmenter,
    Seq2Seq,
    SparseAutoencoder,
    UNetEncoder,
    VariationalAutoencoder,
    WeightAverage,
    WeightSchedule,
)
from isthmus.errors import CheckpointError, ParameterError, TrainingError
from isthmus.training import checkpoints
from isthmus.training.checkpoint_files import newest

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 6)).astype(np.float32)
IMAGES = rng.random((12, 20, 20), dtype=np.float32)
SERIES = [rng.normal(size=(length, 2)) for length in rng.integers(3, 12, 60)]
WORDS = ["".join(rng.choice(list("abcde"), length)) for length in rng.integers(2, 7, 80)]
WAVE = np.sin(np.arange(300) / 5) + 0.1 * rng.normal(size=300)


class Crash(Callback):
    """An end that nobody planned."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, loop):
        if loop.state.epoch == self.epoch:
            raise RuntimeError("crash")


class Call(Callback):
    def __init__(self, epoch, number):
        self.epoch, self.number = epoch, number

    def on_epoch_end(self, loop):
        if loop.state.epoch == self.epoch:
            os.kill(os.getpid(), self.number)


def table(**more):
    return VariationalAutoencoder(
        encoder=MLPEncoder((16,), dropout=0.2),
        corruption=GaussianNoise(0.1),
        batch_size=32,
        max_epochs=6,
        patience=3,
        random_state=0,
        **more,
    )


def weights(model):
    return [value.clone() for value in model.module_.state_dict().values()]


def history(model):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in model.history_]


def assert_same(a, b):
    assert all(map(torch.equal, weights(a), weights(b)))
    assert history(a) == history(b)


CASES = {
    "table, with noise, dropout and validation": (table, (X,)),
    "replayed": (lambda **more: table(compile="replay", **more), (X,)),
    "penalties and a schedule of their weight": (
        lambda callbacks=(), **more: SparseAutoencoder(
            callbacks=[*callbacks, WeightSchedule("kl_sparsity", epochs=4), WeightAverage()], max_epochs=6,
            validation_fraction=0, random_state=0, batch_size=32, **more
        ),
        (X,),
    ),
    "sgd": (lambda **more: Autoencoder(optimizer=isthmus.SGD(0.9), learning_rate=0.01, max_epochs=6, batch_size=48,
                                       random_state=0, **more), (X,)),
    "l-bfgs": (lambda **more: Autoencoder(optimizer=LBFGS(3), precision="64-true", max_epochs=6, random_state=0,
                                          **more), (X,)),
    "patches, augmented": (
        lambda **more: Segmenter(encoder=UNetEncoder((4, 8)), patch_size=8, augmentations=[Flip()], batch_size=8,
                                 max_epochs=4, random_state=0, **more),
        (IMAGES, (IMAGES > 0.5).astype(int)),
    ),
    "series of several lengths": (
        lambda **more: Autoencoder(encoder=RNNEncoder(8, dropout=0.1), batch_size=9, max_epochs=4, random_state=0,
                                   **more),
        (SERIES,),
    ),
    "texts": (
        lambda **more: Seq2Seq(encoder=RNNEncoder(8, pool=None), tokenizer="char", batch_tokens=40, max_epochs=4,
                               random_state=0, **more),
        (WORDS, [word[::-1] for word in WORDS]),
    ),
    "forecasts": (lambda **more: Seq2Seq(window=20, horizon=5, max_epochs=4, random_state=0, **more), (WAVE,)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_crash_and_a_resumed_run_give_the_bits_of_one_that_was_never_stopped(case, tmp_path):
    make, data = CASES[case]
    whole = make().fit(*data)
    every = 7 if case != "l-bfgs" else 2
    with pytest.raises(RuntimeError, match="crash"):
        make(checkpoint_dir=tmp_path, checkpoint_every=every, callbacks=[Crash(3)]).fit(*data)
    stood = newest(tmp_path).head["step"]
    assert stood > 0
    resumed = make(checkpoint_dir=tmp_path, checkpoint_every=every).fit(*data, resume=True)
    assert_same(whole, resumed)


def test_a_finished_run_is_not_trained_again(tmp_path, caplog):
    caplog.set_level("INFO", "isthmus")
    first = table(checkpoint_dir=tmp_path).fit(X)
    seconds = [row["seconds"] for row in first.history_]
    again = table(checkpoint_dir=tmp_path).fit(X, resume=True)
    assert [row["seconds"] for row in again.history_] == seconds
    assert_same(first, again)
    assert "going on at step" in caplog.text


def test_an_empty_folder_starts_afresh_and_a_drawn_seed_is_kept(tmp_path):
    drawn = np.random.RandomState(5)  # each fit draws another
    with pytest.raises(RuntimeError):
        table(checkpoint_dir=tmp_path, checkpoint_every=4, callbacks=[Crash(2)]).set_params(random_state=drawn).fit(
            X, resume=True
        )
    seed = newest(tmp_path).head["seed"]
    resumed = table(checkpoint_dir=tmp_path).set_params(random_state=drawn).fit(X, resume=True)
    assert_same(table().set_params(random_state=seed).fit(X), resumed)


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)], ids=["sigterm", "ctrl-c"]
)
def test_a_signal_writes_a_last_checkpoint_and_says_how_to_go_on(number, ends, tmp_path, caplog):
    before = signal.getsignal(number)
    with pytest.raises(ends):
        table(checkpoint_dir=tmp_path, checkpoint_every=1000, callbacks=[Call(2, number)]).fit(X)
    assert signal.getsignal(number) is before
    assert "fit(..., resume=True) or `isthmus fit --resume` goes on" in caplog.text
    assert newest(tmp_path).head["step"] == 12
    assert_same(table().fit(X), table(checkpoint_dir=tmp_path).fit(X, resume=True))


# ---------------------------------------------------------------------- refused by name


def stopped(folder, **more):
    with pytest.raises(RuntimeError, match="crash"):
        table(checkpoint_dir=folder, checkpoint_every=4, callbacks=[Crash(2)], **more).fit(X)


def test_a_run_that_stands_is_not_overwritten(tmp_path):
    stopped(tmp_path)
    with pytest.raises(CheckpointError, match="holds a run at step 12: pass resume=True"):
        table(checkpoint_dir=tmp_path).fit(X)


def test_another_parameter_is_named(tmp_path):
    stopped(tmp_path)
    with pytest.raises(TrainingError, match=r"it differs in beta \(was 1.0, is 2.0\): give what it was fitted with"):
        table(checkpoint_dir=tmp_path, beta=2.0).fit(X, resume=True)


def test_other_data_are_named(tmp_path):
    stopped(tmp_path)
    with pytest.raises(TrainingError, match="it differs in the data"):
        table(checkpoint_dir=tmp_path).fit(X + 1, resume=True)


def test_a_callback_with_a_state_must_be_there_again(tmp_path):
    stopped(tmp_path)
    with pytest.raises(TrainingError, match=r"callbacks with a state \(was , is WeightAverage\)"):
        table(checkpoint_dir=tmp_path, callbacks=[WeightAverage()]).fit(X, resume=True)


def test_resume_needs_a_folder():
    with pytest.raises(ParameterError, match="resume=True needs a checkpoint_dir"):
        table().fit(X, resume=True)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    class Second(Callback):
        def on_epoch_end(self, loop):
            table(checkpoint_dir=tmp_path).fit(X)

    with pytest.raises(CheckpointError, match="is held by another run"):
        table(checkpoint_dir=tmp_path, callbacks=[Second()]).fit(X)


def test_a_full_disk_stops_training_and_leaves_the_last_good_one(tmp_path, monkeypatch):
    write, calls = checkpoints.write, []

    def full(folder, head, state):
        calls.append(head["step"])
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(folder, head, state)

    monkeypatch.setattr(checkpoints, "write", full)
    with pytest.raises(CheckpointError, match=r"cannot be written \(No space left on device\), so training stops"):
        table(checkpoint_dir=tmp_path, checkpoint_every=4).fit(X)
    assert newest(tmp_path).head["step"] == 8
    monkeypatch.undo()
    assert_same(table().fit(X), table(checkpoint_dir=tmp_path).fit(X, resume=True))


def test_a_fit_that_fails_leaves_no_model_and_lets_go_of_the_folder(tmp_path):
    model = table(checkpoint_dir=tmp_path, callbacks=[Crash(1)])
    with pytest.raises(RuntimeError):
        model.fit(X)
    assert not hasattr(model, "module_")
    table(checkpoint_dir=tmp_path).fit(X, resume=True)


# ---------------------------------------------------------------------- when one is due


class Clock:
    def __init__(self):
        self.now = 1e9

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(("cost", "due"), [(0.1, 5.0), (0.5, 25.0), (10.0, 60.0)])
def test_one_is_due_at_fifty_times_its_cost_and_after_a_minute(cost, due, tmp_path, monkeypatch):
    clock, written = Clock(), []
    monkeypatch.setattr(checkpoints, "time", clock)

    def write(folder, head, state):
        written.append(clock.now)
        clock.now += cost

    class Second(Callback):
        def on_epoch_end(self, loop):
            loop.checkpoints._join()  # so that what it cost is known
            clock.now += 1.0

    monkeypatch.setattr(checkpoints, "write", write)
    Autoencoder(
        max_epochs=200, batch_size=200, validation_fraction=0, checkpoint_dir=tmp_path, callbacks=[Second()],
        encoder=MLPEncoder((2,)), random_state=0,
    ).fit(X)  # fmt: skip
    between = np.diff(written)[1:-1]
    assert len(between) > 1
    assert ((between >= due) & (between <= due + cost + 2)).all()


# ---------------------------------------------------------------------- killed


SCRIPT = """
import sys
import numpy as np
sys.path[:0] = {paths!r}
from test_checkpoints import X, table
model = table(checkpoint_dir=sys.argv[1], checkpoint_every=3).set_params(max_epochs=60, patience=None)
model.fit(X, resume=True)
model.save(sys.argv[2])
"""


def test_a_killed_process_loses_nothing(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(paths=[os.path.dirname(__file__)]))
    folder, draw = tmp_path / "run", random.Random(0)
    command = [sys.executable, script, folder, tmp_path / "model"]
    for _ in range(2):
        earlier = sorted(folder.glob("step-*.safetensors"))
        process = subprocess.Popen(command)
        while sorted(folder.glob("step-*.safetensors")) == earlier and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.1 * draw.random())
        assert process.poll() is None, "it ended before it was killed"
        process.kill()
        process.wait()
    subprocess.run(command, check=True)
    whole = table().set_params(max_epochs=60, patience=None).fit(X)
    assert_same(whole, isthmus.load(tmp_path / "model"))
