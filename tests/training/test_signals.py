"""SIGTERM and Ctrl-C: a last checkpoint, and then what they do anyway."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import isthmus
from isthmus import Callback
from isthmus.cli import app
from isthmus.training.checkpoint_files import newest
from isthmus.training.signals import Deferred
from stopped import X, assert_same, table

ENDS = [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
both = pytest.mark.parametrize(("number", "ends"), ENDS, ids=["sigterm", "ctrl-c"])


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C as it is at a terminal: what a shell starts behind it is told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Send(Callback):
    """Sends signals at the end of an epoch."""

    def __init__(self, epoch, *numbers):
        self.epoch, self.numbers = epoch, numbers

    def on_epoch_end(self, loop):
        if loop.state.epoch == self.epoch:
            for number in self.numbers:
                os.kill(os.getpid(), number)


@both
def test_a_signal_writes_a_last_checkpoint_and_says_how_to_go_on(number, ends, tmp_path, caplog):
    before = signal.getsignal(number)
    with pytest.raises(ends) as ended:
        table(checkpoint_dir=tmp_path, checkpoint_every=1000, callbacks=[Send(2, number)]).fit(X)
    assert number == signal.SIGINT or ended.value.code == 143
    assert signal.getsignal(number) is before
    assert "fit(..., resume=True) or `isthmus fit --resume` goes on" in caplog.text
    assert newest(tmp_path).head["step"] == 12
    assert_same(table().fit(X), table(checkpoint_dir=tmp_path).fit(X, resume=True))


@both
def test_a_signal_in_the_last_moment_is_not_lost(number, ends, tmp_path, caplog):
    class AtTheEnd(Callback):
        def on_fit_end(self, loop):
            os.kill(os.getpid(), number)

    with pytest.raises(ends):
        table(checkpoint_dir=tmp_path, callbacks=[AtTheEnd()]).fit(X)
    assert f"stopped by {number.name} after step 36" in caplog.text
    assert_same(table().fit(X), table(checkpoint_dir=tmp_path).fit(X, resume=True))


@both
def test_what_waits_takes_effect_at_the_end(number, ends):
    before = signal.getsignal(number)
    with pytest.raises(ends), Deferred():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


@both
def test_a_second_one_does_not_wait(number, ends, tmp_path):
    with pytest.raises(ends):
        table(checkpoint_dir=tmp_path, checkpoint_every=1000, callbacks=[Send(2, number, number)]).fit(X)
    assert newest(tmp_path) is None


def test_a_handler_of_the_users_own_is_called(tmp_path):
    heard, before = [], signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(newest(tmp_path).head["step"]))
    try:
        model = table(checkpoint_dir=tmp_path, callbacks=[Send(2, signal.SIGTERM)]).fit(X)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [12]
    assert_same(table().fit(X), model)


def test_an_ignored_signal_stays_so(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        table(checkpoint_dir=tmp_path, callbacks=[Send(2, signal.SIGINT)]).fit(X)
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_the_handlers_alone():
    seen = []

    def run():
        with Deferred():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_a_command_is_ended_and_goes_on(tmp_path):
    np.save(tmp_path / "X.npy", X)
    settings = ["latent_dim=2", "max_epochs=500", "patience=None", "encoder=MLPEncoder((8,), dropout=0.1)"]
    command = ["fit", "variational_autoencoder", tmp_path / "X.npy", "--seed", "0", "--quiet"]
    command += [word for setting in settings for word in ("--set", setting)]
    command += ["--set", "checkpoint_every=20", "--checkpoint-dir", tmp_path / "run", "--out", tmp_path / "model"]
    first = subprocess.Popen([sys.executable, "-m", "isthmus", *command], stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "run").glob("step-*.safetensors")):
        time.sleep(0.005)
    first.send_signal(signal.SIGTERM)
    _, told = first.communicate()
    assert first.returncode == 143
    assert "stopped by SIGTERM after step" in told
    assert not (tmp_path / "model").exists()
    assert CliRunner().invoke(app, [*map(str, command), "--resume"]).exit_code == 0
    whole = isthmus.VariationalAutoencoder(
        encoder=isthmus.MLPEncoder((8,), dropout=0.1), latent_dim=2, max_epochs=500, patience=None, random_state=0
    )
    assert_same(whole.fit(X), isthmus.load(tmp_path / "model"))
