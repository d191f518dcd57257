"""When checkpoints are written, and what happens where they cannot be."""

import errno
import os
import resource

import numpy as np
import pytest

from isthmus import Autoencoder, Callback, MLPEncoder
from isthmus.errors import CheckpointError, ParameterError
from isthmus.training import checkpoints
from isthmus.training.checkpoint_files import newest
from stopped import X, assert_same, table


class Clock:
    """The only clock that is asked: one that counts on, whatever the time of day jumps to."""

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


def test_steps_are_counted_where_their_number_is_given(tmp_path, monkeypatch):
    steps, write = [], checkpoints.write

    def noted(folder, head, state):
        steps.append(head["step"])
        return write(folder, head, state)

    monkeypatch.setattr(checkpoints, "write", noted)
    table(patience=None, checkpoint_dir=tmp_path, checkpoint_every=7).fit(X)
    assert steps == [7, 14, 21, 28, 35, 36]


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


def test_a_file_that_may_not_grow_is_told_the_same_way(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Limit(Callback):
        def on_epoch_end(self, loop):
            if loop.state.epoch == 2:
                loop.checkpoints._join()
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))

    try:
        with pytest.raises(CheckpointError, match=r"cannot be written \(File too large\), so training stops"):
            table(checkpoint_dir=tmp_path, checkpoint_every=4, callbacks=[Limit()]).fit(X)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert newest(tmp_path).head["step"] == 12
    assert not list(tmp_path.glob("*.part"))
    assert_same(table().fit(X), table(checkpoint_dir=tmp_path).fit(X, resume=True))


def test_what_a_callback_remembers_must_be_data(tmp_path):
    class Odd(Callback):
        def state_dict(self):
            return {"seen": np.zeros(2)}

    with pytest.raises(ParameterError, match=r"callbacks: state_dict must hold tensors, .* got a ndarray"):
        table(checkpoint_dir=tmp_path, checkpoint_every=4, callbacks=[Odd()]).fit(X)


def test_another_processor_or_torch_is_warned_of(tmp_path, monkeypatch, caplog):
    first = table(checkpoint_dir=tmp_path).fit(X)
    monkeypatch.setattr(
        checkpoints, "versions", lambda device: {"torch": "0.1", "processor": "Z80", "device": device.type}
    )
    assert_same(first, table(checkpoint_dir=tmp_path).fit(X, resume=True))
    assert "and is 0.1: the run goes on, its last bits may differ" in caplog.text
    assert "and is Z80" in caplog.text
    assert "device" not in caplog.text


def test_a_run_goes_on_with_its_own_threads_and_precision(tmp_path, monkeypatch):
    import torch

    with pytest.raises(RuntimeError):
        table(checkpoint_dir=tmp_path, checkpoint_every=4, callbacks=[Stop()]).fit(X)
    saved = newest(tmp_path).head["decisions"]
    assert saved == {"precision": "32-true", "threads": 1, "compiled": False}
    monkeypatch.setattr(checkpoints, "newest", lambda folder: other(newest(folder)))

    def other(found):
        return found._replace(head={**found.head, "decisions": {"precision": "bf16-mixed", "threads": 3}})

    seen, before = [], torch.get_num_threads()

    class See(Callback):
        def on_epoch_end(self, loop):
            seen.append((loop.precision, torch.get_num_threads()))

    table(checkpoint_dir=tmp_path, callbacks=[See()]).fit(X, resume=True)
    assert set(seen) == {("bf16-mixed", 3)}
    assert torch.get_num_threads() == before


class Stop(Callback):
    def on_epoch_end(self, loop):
        raise RuntimeError("stop")
