"""The compiled step gives the numbers of the one as written."""

import numpy as np
import pytest
import torch

from isthmus import (
    SGD,
    Adam,
    AdamW,
    Autoencoder,
    Callback,
    ConvEncoder,
    MLPEncoder,
    Seq2Seq,
    UNetEncoder,
    VariationalAutoencoder,
)
from isthmus.errors import ParameterError
from isthmus.nn.dropout import kept
from isthmus.training import compiled
from isthmus.training.graph import Recorder
from isthmus.training.rule import COMPILED

X = np.random.default_rng(0).normal(size=(96, 5)).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_CACHE_DIR", str(tmp_path_factory.mktemp("code")))
        yield


def fitted(compile, resume=False, **more):
    settings = {"encoder": MLPEncoder((8,), dropout=0.2), "max_epochs": 4, "batch_size": 32, "random_state": 0} | more
    return VariationalAutoencoder(**settings, compile=compile).fit(X, resume=resume)


def largest_difference(a, b):
    pairs = zip(a.module_.state_dict().values(), b.module_.state_dict().values(), strict=True)
    return max(float((p - q).abs().max()) for p, q in pairs)


def test_where_it_cannot_compile_it_replays_and_says_why(monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch._inductor, "standalone_compile", broken)
    assert largest_difference(fitted(True), fitted("replay")) == 0
    assert "the step cannot be compiled and is replayed: RuntimeError: no C++ compiler" in caplog.text


def test_batches_of_many_shapes_are_refused():
    with pytest.raises(ParameterError, match=r"compile must be 'auto' or False for sequences, .* got True"):
        Seq2Seq(max_epochs=1, compile=True).fit(["a b", "a", "b a b"] * 9, ["b", "a b", "a"] * 9)


@pytest.mark.parametrize(
    "optimizer",
    [
        Adam(weight_decay=0.01),
        AdamW(weight_decay=0.1),
        SGD(0.9, nesterov=True, weight_decay=0.01),
        SGD(),
    ],
    ids=["adam", "adamw", "sgd", "sgd without a memory"],
)
def test_the_optimiser_written_out_is_the_fused_one(optimizer, monkeypatch):
    def read_by_torch(module, inputs, **_):
        return module.forward  # the graph as it goes to the compiler, run by PyTorch

    monkeypatch.setattr(torch._inductor, "standalone_compile", read_by_torch)
    settings = {"optimizer": optimizer, "learning_rate": 0.01, "encoder": MLPEncoder((8,)), "precision": "64-true"}
    assert 0 < largest_difference(fitted(True, **settings), fitted(False, **settings)) < 1e-12


def dropped():
    """Half of some numbers, twice, as a record."""
    x = torch.ones(1000)
    with torch.random.fork_rng(), Recorder([x]) as recorder:
        y = [kept(x, 0.5), kept(x, 0.5)]
    return recorder.graph(y), x


def assert_draws_are_those_of_torch(run, x):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = [kept(x, 0.5), kept(x, 0.5)]
        torch.manual_seed(0)
        found = run(x)
    assert all(map(torch.equal, found, expected))
    assert not torch.equal(*found)


def test_draws_of_16_bits_can_be_written_down(monkeypatch):
    monkeypatch.setattr(torch._inductor, "standalone_compile", lambda module, inputs, **_: module.forward)
    graph, x = dropped()
    assert_draws_are_those_of_torch(compiled.compiled(graph, [x]), x)


@pytest.mark.slow
def test_draws_of_16_bits_compile():
    graph, x = dropped()
    assert_draws_are_those_of_torch(compiled.compiled(graph, [x]), x)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_compiled_steps_give_the_numbers_of_steps_as_written(optimizer):
    rate = 0.01 if optimizer == "sgd" else 0.003
    as_written, found = (fitted(way, optimizer=optimizer, learning_rate=rate) for way in (False, True))
    assert found.compile_.way == COMPILED
    assert largest_difference(as_written, found) < 1e-5
    assert found.history_[-1]["objective"] == pytest.approx(as_written.history_[-1]["objective"], rel=1e-5)


@pytest.mark.slow
def test_a_compiled_run_resumes_to_its_bits(tmp_path):
    class Crash(Callback):
        def on_epoch_end(self, loop):
            raise RuntimeError("crash")

    whole, folder = fitted(True), {"checkpoint_dir": tmp_path, "checkpoint_every": 2}
    with pytest.raises(RuntimeError, match="crash"):
        fitted(True, callbacks=[Crash()], **folder)
    assert whole.compile_.way == COMPILED
    assert largest_difference(whole, fitted(True, resume=True, **folder)) == 0


@pytest.mark.slow
def test_convolutions_compile(caplog):
    images = np.random.default_rng(0).random((40, 12, 12), dtype=np.float32)

    def of(way):
        settings = {"encoder": ConvEncoder((4, 8)), "max_epochs": 3, "batch_size": 8, "random_state": 0}
        return Autoencoder(**settings, compile=way).fit(images)

    assert largest_difference(of(False), of(True)) < 1e-5
    assert "cannot be compiled" not in caplog.text


@pytest.mark.slow
def test_a_unet_compiles_to_the_same_numbers():
    """In 64 bits: in 32, batch normalisation and Adam make much of the last bit (`benchmarks/engine.py`)."""
    images = np.random.default_rng(0).random((16, 16, 16))

    def of(way):
        line = {"encoder": UNetEncoder((4, 8)), "bottleneck": "identity", "precision": "64-true"}
        return Autoencoder(**line, max_epochs=2, batch_size=4, random_state=0, compile=way).fit(images)

    found = of(True)
    assert found.compile_.way == COMPILED
    assert largest_difference(of(False), found) < 1e-9


def test_every_fused_optimiser_is_known():
    assert {str(name) for name in compiled._OPTIMIZERS} == {
        "aten._fused_adam_.tensor_lr",
        "aten._fused_adamw_.tensor_lr",
        "aten._fused_sgd_.tensor_lr",
    }
