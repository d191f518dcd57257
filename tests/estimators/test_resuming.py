"""A run that is stopped anywhere and goes on ends as one that never was; what is another run is named."""

import numpy as np
import pytest
from sklearn.base import clone

from isthmus import (
    LBFGS,
    SGD,
    AnomalyDetector,
    Autoencoder,
    Callback,
    ConvEncoder,
    DenoisingAutoencoder,
    Elastic,
    Flip,
    MLPEncoder,
    RNNEncoder,
    ScheduledSampling,
    Segmenter,
    Seq2Seq,
    SparseAutoencoder,
    TransformerEncoder,
    UNetEncoder,
    VariationalAutoencoder,
    WeightAverage,
    WeightSchedule,
)
from isthmus.errors import CheckpointError, ParameterError
from isthmus.training.checkpoint_files import newest
from stopped import Crash, X, assert_same, table

rng = np.random.default_rng(0)
IMAGES = rng.random((12, 20, 20), dtype=np.float32)
SERIES = [rng.normal(size=(length, 2)) for length in rng.integers(3, 12, 60)]
WORDS = ["".join(rng.choice(list("abcde"), length)) for length in rng.integers(2, 7, 80)]
WAVE = np.sin(np.arange(300) / 5) + 0.1 * rng.normal(size=300)
SHORT = {"max_epochs": 4, "random_state": 0}

CASES = {
    "table: noise, dropout, validation": (table(), (X,)),
    "table: replayed steps": (table(compile="replay"), (X,)),
    "table: a sparsity that warms up, averaged weights": (
        SparseAutoencoder(
            callbacks=[WeightSchedule("kl_sparsity", epochs=4), WeightAverage()],
            validation_fraction=0, batch_size=32, **SHORT,
        ),
        (X,),
    ),
    "table: trimmed, SGD": (
        Autoencoder(optimizer=SGD(0.9), learning_rate=0.01, trim=0.1, batch_size=48, **SHORT), (X,),
    ),
    "table: L-BFGS": (
        Autoencoder(encoder=MLPEncoder((8,)), optimizer=LBFGS(3), precision="64-true", **SHORT), (X,),
    ),
    "table: anomalies": (
        AnomalyDetector(Autoencoder(batch_size=32, max_epochs=4), contamination=0.1, random_state=0), (X,),
    ),
    "images: patches, elastic": (
        DenoisingAutoencoder(
            encoder=ConvEncoder((4,), pool=None), patch_size=8, augmentations=[Elastic(), Flip()], batch_size=8, **SHORT
        ),
        (IMAGES,),
    ),
    "images: masks, patches": (
        Segmenter(encoder=UNetEncoder((4, 8)), patch_size=8, augmentations=[Flip()], batch_size=8, **SHORT),
        (IMAGES, (IMAGES > 0.5).astype(int)),
    ),
    "series of several lengths": (Autoencoder(encoder=RNNEncoder(8, dropout=0.1), batch_size=9, **SHORT), (SERIES,)),
    "texts": (
        VariationalAutoencoder(encoder=TransformerEncoder(8, 2, 1), tokenizer="char", batch_size=9, **SHORT), (WORDS,),
    ),
    "texts to texts: sampled, stopped by an error rate": (
        Seq2Seq(
            encoder=RNNEncoder(8, pool=None), tokenizer="char", batch_tokens=40,
            callbacks=[ScheduledSampling(epochs=4)],
            validation_metrics=["error_rate"], monitor="val_error_rate", **SHORT,
        ),
        (WORDS, [word[::-1] for word in WORDS]),
    ),
    "forecasts": (Seq2Seq(window=20, horizon=5, **SHORT), (WAVE,)),
}  # fmt: skip


def owned(model, **params):
    """The model with these parameters; a detector's are its estimator's."""
    detects = isinstance(model, AnomalyDetector)
    return clone(model).set_params(
        **{("estimator__" if detects else "") + name: value for name, value in params.items()}
    )


@pytest.mark.parametrize("case", CASES)
def test_a_crash_and_a_resumed_run_give_the_bits_of_one_that_was_never_stopped(case, tmp_path):
    model, data = CASES[case]
    inner = model.estimator if isinstance(model, AnomalyDetector) else model
    by_epochs = isinstance(inner.optimizer, LBFGS)
    checkpoints = {"checkpoint_dir": tmp_path, "checkpoint_every": 2 if by_epochs else 5}
    with pytest.raises(RuntimeError, match="crash"):
        owned(model, callbacks=[*inner.callbacks, Crash(3)], **checkpoints).fit(*data)
    saved = newest(tmp_path)
    assert bool(saved.state["log"]) is not by_epochs, "it must stand within an epoch"
    resumed = owned(model, **checkpoints).fit(*data, resume=True)
    whole = clone(model).fit(*data)
    if isinstance(model, AnomalyDetector):
        assert resumed.offset_ == whole.offset_
        whole, resumed = whole.members_[0], resumed.members_[0]
    assert_same(whole, resumed)


def test_steps_may_go_on_replayed_that_began_as_written(tmp_path):
    for compile, callbacks in ((False, [Crash(3)]), ("replay", [])):
        model = table(compile=compile, callbacks=callbacks, checkpoint_dir=tmp_path, checkpoint_every=5)
        if callbacks:
            with pytest.raises(RuntimeError):
                model.fit(X)
    assert_same(table().fit(X), model.fit(X, resume=True))


def test_a_finished_run_is_not_trained_again(tmp_path, caplog):
    caplog.set_level("INFO", "isthmus")
    first = table(checkpoint_dir=tmp_path).fit(X)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("step-*")}
    again = table(checkpoint_dir=tmp_path).fit(X, resume=True)
    assert again.history_ == first.history_  # the seconds too
    assert_same(first, again)
    assert "going on at step" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("step-*")} == files


def test_a_missing_folder_starts_afresh_and_a_drawn_seed_is_kept(tmp_path):
    drawn, folder = np.random.RandomState(5), tmp_path / "not" / "yet"  # each fit draws another seed
    with pytest.raises(RuntimeError):
        table(random_state=drawn, checkpoint_dir=folder, checkpoint_every=4, callbacks=[Crash(2)]).fit(X, resume=True)
    seed = newest(folder).head["seed"]
    resumed = table(random_state=drawn, checkpoint_dir=folder).fit(X, resume=True)
    assert_same(table(random_state=seed).fit(X), resumed)


def test_early_stopping_counts_on(tmp_path):
    settings = {"learning_rate": 0.05, "max_epochs": 60}
    whole = table(**settings).fit(X)
    assert whole.n_iter_ < 60, "it must stop by itself"
    with pytest.raises(RuntimeError):
        table(**settings, checkpoint_dir=tmp_path, checkpoint_every=4, callbacks=[Crash(whole.n_iter_ - 1)]).fit(X)
    assert newest(tmp_path).state["best_epoch"] == whole.n_iter_ - 3
    assert_same(whole, table(**settings, checkpoint_dir=tmp_path).fit(X, resume=True))


def test_a_strength_that_a_callback_moved_once_is_kept(tmp_path):
    class Weaken(Callback):
        def on_epoch_end(self, loop):
            if loop.state.epoch == 1:
                loop.step.objective.penalties[0].strength.fill_(0.25)

    def model(*callbacks):
        return table(
            callbacks=[Weaken(), *callbacks], checkpoint_dir=tmp_path / str(len(callbacks)), checkpoint_every=4
        )

    with pytest.raises(RuntimeError):
        model(Crash(3)).fit(X)
    resumed = model().set_params(checkpoint_dir=tmp_path / "1").fit(X, resume=True)
    assert_same(model().fit(X), resumed)


def test_rows_in_another_order_are_the_same_run(tmp_path):
    stopped(tmp_path)
    resumed = table(checkpoint_dir=tmp_path).fit(X[::-1], resume=True)
    assert_same(table().fit(X), resumed)


def test_a_fit_that_fails_leaves_no_model_and_lets_go_of_the_folder(tmp_path):
    model = table(checkpoint_dir=tmp_path, callbacks=[Crash(1)])
    with pytest.raises(RuntimeError):
        model.fit(X)
    assert not hasattr(model, "module_")
    table(checkpoint_dir=tmp_path).fit(X, resume=True)


# ---------------------------------------------------------------------- refused by name


def stopped(folder, **more):
    with pytest.raises(RuntimeError, match="crash"):
        table(**{"callbacks": [Crash(2)]} | more, checkpoint_dir=folder, checkpoint_every=4).fit(X)


def test_a_run_that_stands_is_not_overwritten(tmp_path):
    stopped(tmp_path)
    with pytest.raises(CheckpointError, match="holds a run at step 12: pass resume=True"):
        table(checkpoint_dir=tmp_path).fit(X)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"beta": 2.0}, r"beta \(was 1.0, is 2.0\)"),
        ({"random_state": 1}, r"random_state \(was 0, is 1\)"),
        ({"batch_size": 16, "max_epochs": 7}, r"batch_size \(was 32, is 16\), max_epochs \(was 6, is 7\)"),
        ({"callbacks": [WeightAverage()]}, r"callbacks \(was none, is WeightAverage\(decay=0.9\)\)"),
    ],
)
def test_another_parameter_is_named(changed, told, tmp_path):
    stopped(tmp_path)
    before = set(tmp_path.glob("step-*"))
    with pytest.raises(CheckpointError, match=f"it differs in {told}: give what it was fitted with"):
        table(checkpoint_dir=tmp_path, **changed).fit(X, resume=True)
    assert set(tmp_path.glob("step-*")) == before


def test_a_callback_of_another_parameter_is_named(tmp_path):
    stopped(tmp_path, callbacks=[WeightSchedule(epochs=4), Crash(2)])
    with pytest.raises(CheckpointError, match=r"epochs=4\), is WeightSchedule\(.*epochs=5\)"):
        table(checkpoint_dir=tmp_path, callbacks=[WeightSchedule(epochs=5)]).fit(X, resume=True)


@pytest.mark.parametrize(
    "given",
    [
        {"X": np.vstack([X[:-1], X[-1:] + 1e-6])},
        {"X": X[:-1]},
        {"X": X, "sample_weight": np.linspace(0.5, 1, len(X))},
        {"X": X, "validation_data": X[:20]},
    ],
    ids=["a value", "a row less", "weights", "held-out rows"],
)
def test_other_data_are_named(given, tmp_path):
    stopped(tmp_path)
    with pytest.raises(CheckpointError, match="it differs in the data: give what it was fitted with"):
        table(checkpoint_dir=tmp_path).fit(**given, resume=True)


def test_resume_needs_a_folder():
    with pytest.raises(ParameterError, match="resume=True needs a checkpoint_dir"):
        table().fit(X, resume=True)


@pytest.mark.parametrize(("folder", "told"), [(5, "None or a path, got 5"), ("a\0b", "null"), (b"run", "got b'run'")])
def test_what_is_no_folder_is_named(folder, told):
    with pytest.raises((ParameterError, CheckpointError), match=f"checkpoint_dir must be .*{told}"):
        table(checkpoint_dir=folder).fit(X)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    class Second(Callback):
        def on_epoch_end(self, loop):
            table(checkpoint_dir=tmp_path).fit(X)

    with pytest.raises(CheckpointError, match="is held by another run"):
        table(checkpoint_dir=tmp_path, callbacks=[Second()]).fit(X)
