"""Many estimators at once: each ends as its own `fit` leaves it, and what goes alone says why."""

import logging
import re
from inspect import isfunction

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA

import isthmus
from isthmus import (
    SGD,
    Adam,
    AdamW,
    AnomalyDetector,
    Autoencoder,
    Callback,
    ContractiveAutoencoder,
    ConvEncoder,
    DenoisingAutoencoder,
    GaussianNLL,
    GaussianNoise,
    L1Weights,
    L2Weights,
    Masking,
    MLPEncoder,
    Penalty,
    SaltAndPepper,
    Segmenter,
    SparseAutoencoder,
    Stream,
    VariationalAutoencoder,
    WeightAverage,
    WeightSchedule,
    fit_many,
)
from isthmus.errors import DataError, ParameterError, TrainingError
from isthmus.training import slots

X = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
SMALL = {"encoder": MLPEncoder((8,), activation="tanh"), "batch_size": 32, "max_epochs": 4, "compile": "replay"}


def several(kind=Autoencoder, n=3, **settings):
    """Estimators of a kind with a seed each; a setting may be a function of the seed."""
    chosen = SMALL | settings
    return [
        kind(random_state=seed, **{key: of(seed) if isfunction(of) else of for key, of in chosen.items()})
        for seed in range(n)
    ]


def groups_told(caplog):
    return [re.findall(r"\d+", record.message) for record in caplog.records if "trained together" in record.message]


def assert_as_alone(models, *data, tolerance=1e-5, **arguments):
    """The weights and the history of each are those of a lone fit."""
    lone = [clone(model).fit(*data, **arguments) for model in models]
    assert fit_many(models, *data, **arguments) == models
    for one, other in zip(lone, models, strict=True):
        mine, theirs = (dict(model.module_.state_dict()) for model in (one, other))
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
        assert one.n_iter_ == other.n_iter_ == len(other.history_)
        for mine, theirs in zip(one.history_, other.history_, strict=True):
            assert {**theirs, "seconds": 0} == pytest.approx({**mine, "seconds": 0}, rel=1e-4, abs=1e-6)


@pytest.fixture
def told(caplog):
    """The log at INFO; at the end all must have been trained together."""
    with caplog.at_level(logging.INFO, "isthmus"):
        yield caplog


CASES = {
    "rates and schedules": several(
        learning_rate=lambda s: 0.01 * (s + 1), schedule=lambda s: ("linear", None, "cosine")[s]
    ),
    "epochs": several(max_epochs=lambda s: 5 - s),
    "adam's decay": several(optimizer=lambda s: Adam(weight_decay=0.1 * s)),
    "adamw's decay": several(optimizer=lambda s: AdamW(beta1=0.8 + 0.05 * s, weight_decay=0.1 * s)),
    "momentum": several(optimizer=lambda s: SGD(0.5 + 0.1 * s, nesterov=True), learning_rate=0.01),
    "weights of penalties": several(penalties=lambda s: [L2Weights(0.01 * s), L1Weights(0.02 * s)]),
    "a step of the penalty's own": several(penalties=lambda s: [L1Weights(0.3 * s, proximal=True)], learning_rate=0.01),
    "clipping": several(clip_norm=lambda s: 0.5 + s),
    "trimming": several(trim=0.2),
    "dropout": several(encoder=lambda s: MLPEncoder((8,), dropout=0.1 + 0.1 * s)),
    "layer normalisation": several(encoder=lambda s: MLPEncoder((8, 8), normalization="layer", residual=True)),
    "doubles": several(precision="64-true"),
    "beta": several(VariationalAutoencoder, beta=lambda s: 0.5 * s),
    "free bits": several(VariationalAutoencoder, free_bits=lambda s: 0.1 + 0.2 * s),
    "variance": several(VariationalAutoencoder, loss=lambda s: GaussianNLL(variance=0.5 + s)),
    "strength of noise": several(DenoisingAutoencoder, corruption=lambda s: GaussianNoise(0.5 * (s + 1))),
    "range of noise": several(DenoisingAutoencoder, corruption=lambda s: GaussianNoise((0.1, 0.5 * (s + 1)))),
    "masking": several(DenoisingAutoencoder, corruption=lambda s: Masking(0.1 * (s + 1))),
    "salt and pepper": several(DenoisingAutoencoder, corruption=lambda s: SaltAndPepper(0.1 + 0.1 * s, low=-s - 1)),
    "rho": several(SparseAutoencoder, rho=lambda s: 0.05 + 0.1 * s, sparsity_weight=lambda s: 1.0 + s),
    "contraction": several(ContractiveAutoencoder, contraction=lambda s: 0.1 * s),
    "probes": several(ContractiveAutoencoder, n_probes=2),
    "average of weights": several(callbacks=lambda s: [WeightAverage(0.5)], validation_fraction=0.0),
    "warm-up": several(VariationalAutoencoder, callbacks=lambda s: [WeightSchedule(epochs=3)]),
}


@pytest.mark.parametrize("case", CASES)
def test_each_ends_as_a_lone_fit(case, told):
    assert_as_alone([clone(model) for model in CASES[case]], X)
    assert groups_told(told) == [["0", "1", "2"]]


def test_images_go_together(told):
    images = np.random.default_rng(0).random((40, 8, 8), dtype=np.float32)
    settings = {"encoder": ConvEncoder((4, 8), normalization=None), "batch_size": 8, "max_epochs": 3}
    assert_as_alone(several(learning_rate=lambda s: 0.001 * (s + 1), **settings), images)
    assert groups_told(told) == [["0", "1", "2"]]


def test_targets_weights_and_validation_go_along(told):
    weight, held = np.random.default_rng(1).random(100), (X[:20] + 1, X[:20])
    assert_as_alone(several(DenoisingAutoencoder), X + 1, X, sample_weight=weight, validation_data=held)
    assert groups_told(told) == [["0", "1", "2"]]


@pytest.mark.parametrize("together", [2, 3, 16])
def test_who_stops_early_keeps_its_best_weights_and_the_rest_go_on(together, told, monkeypatch):
    shrunk = []
    shrink = slots.Slots.shrink
    monkeypatch.setattr(slots.Slots, "shrink", lambda self: (shrink(self), shrunk.append(len(self.members))))
    settings = {"learning_rate": 0.05, "max_epochs": 40}
    models = several(n=6, patience=lambda s: 1 + s, **settings)
    lone = [clone(model).fit(X) for model in models]
    fit_many(models, X, together=together)
    assert groups_told(told) == [[str(number) for number in range(6)]]
    ends = [model.n_iter_ for model in models]
    assert ends == [model.n_iter_ for model in lone]
    assert len(set(ends)) > 3
    assert min(ends) < max(ends) == 40 or max(ends) < 40
    for one, other in zip(lone, models, strict=True):
        np.testing.assert_allclose(one.transform(X), other.transform(X), rtol=1e-4, atol=1e-4)
        best = min(figures["val_objective"] for figures in other.history_)
        assert best < other.history_[-1]["val_objective"] or other.n_iter_ == 40
    assert shrunk  # where nobody waits, and half have ended


def test_rows_that_differ_by_one_fill_their_batches_with_rows_of_weight_zero(told):
    settings = {"validation_fraction": lambda s: 0.1 + 0.011 * s, "batch_size": 500, "max_epochs": 20}
    encoder = MLPEncoder((8,), activation="tanh", dropout=0.1)
    models = several(VariationalAutoencoder, encoder=encoder, **settings)
    assert_as_alone(models, X)
    assert groups_told(told) == [["0", "1", "2"]]


def test_other_shapes_are_other_groups(told):
    models = several(n=5, latent_dim=lambda s: 2 + s % 2) + several(n=1, batch_size=16)
    assert_as_alone(models, X)
    assert groups_told(told) == [["0", "2", "4"], ["1", "3"]]


class Ours(Callback):
    """Does nothing."""


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        (several(optimizer="lbfgs", max_epochs=2), "since LBFGS evaluates all rows several times a step"),
        (several(callbacks=lambda s: [Ours()]), "since callback Ours may need a loop of its own"),
        (several(compile=False), "as asked for"),
        (several(compile="auto"), "since 12 steps are few"),
        (
            several(encoder=lambda s: MLPEncoder((8,), normalization="batch")),
            "since its normalisation leaves a bias no",
        ),
    ],
    ids=["lbfgs", "callback", "as written", "few steps", "batch normalisation"],
)
def test_what_must_be_alone_is_and_says_why(models, reason, told):
    assert_as_alone(models, X, tolerance=0)
    assert groups_told(told) == []
    assert [f"estimators[{number}] is trained alone, {reason}" in told.text for number in range(3)] == [True] * 3


def test_wide_convolutions_are_trained_alone(told):
    images = np.random.default_rng(0).random((20, 8, 8), dtype=np.float32)
    assert_as_alone(several(n=2, encoder=ConvEncoder((32,), normalization=None), max_epochs=1), images, tolerance=0)
    assert "estimators[1] is trained alone, since wide convolutions gain nothing by company" in told.text


def test_sequences_are_trained_alone(told):
    series = [np.random.default_rng(n).normal(size=(5 + n % 3, 2)) for n in range(12)]
    assert_as_alone(several(encoder="rnn", compile="auto", max_epochs=1), series, tolerance=0)
    assert "since Buckets makes batches of many kinds" in told.text


def test_series_of_one_length_go_together(told):
    series = np.random.default_rng(0).normal(size=(40, 5, 2))
    assert_as_alone(several(encoder="rnn", max_epochs=1), series)
    assert groups_told(told) == [["0", "1", "2"]]


class Renormed(Penalty):
    """An operation that `torch.vmap` has no rule for."""

    def forward(self, trace, model, noise=None):
        return torch.renorm(trace.latent.z, 2, 0, 1.0).square().sum()


def test_an_operation_that_takes_no_stacked_tensors_is_told(told):
    assert_as_alone(several(penalties=lambda s: [Renormed(0.1)]), X, tolerance=0)
    assert "are trained alone, since an operation of the step does not take stacked tensors" in told.text


def test_what_has_a_fit_of_its_own_uses_it(told, tmp_path):
    kept = Autoencoder(**SMALL, random_state=0, checkpoint_dir=tmp_path / "run")
    models = [PCA(2), AnomalyDetector(kept, random_state=0), *several(n=2)]
    fit_many(models, X)
    assert groups_told(told) == [["2", "3"]]
    assert "estimators[0] is fitted alone, since PCA has a fit of its own" in told.text
    assert models[0].components_.shape == (2, 6)
    assert list((tmp_path / "run").glob("step-*"))


def test_a_stream_is_read_by_each(told, tmp_path):
    np.save(tmp_path / "rows.npy", X)
    fit_many(models := several(n=2, max_epochs=1), Stream(tmp_path / "rows.npy", block=16, window=32))
    assert [model.n_iter_ for model in models] == [1, 1]
    assert "estimators[1] is fitted alone, since X is a Stream" in told.text


def test_the_results_are_estimators_like_any(tmp_path):
    models = fit_many(several(VariationalAutoencoder, latent_dim=2), X)
    for number, model in enumerate(models):
        model.save(tmp_path / str(number))
        again = isthmus.load(tmp_path / str(number))
        np.testing.assert_array_equal(again.transform(X), model.transform(X))
        assert not model.module_.training
        assert np.isfinite(model.sample(3)).all()
    models[0].report(X[:30], tmp_path / "report.html")
    models[0].partial_fit(X)
    storages = {tensor.untyped_storage().data_ptr() for model in models for tensor in model.module_.parameters()}
    assert len(storages) == sum(len(list(model.module_.parameters())) for model in models)


def test_the_caller_s_random_numbers_are_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fit_many(several(VariationalAutoencoder), X)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_error_leaves_all_as_they_were():
    fitted = Autoencoder(**SMALL, random_state=7).fit(X)
    history, codes = fitted.history_, fitted.transform(X)
    unfit = several(n=1)[0]
    with pytest.raises(TrainingError, match=r"estimators\[2\]: the objective is (nan|inf) in epoch \d"):
        fit_many([fitted, unfit, *several(n=1, optimizer=SGD(), learning_rate=1e9)], X)
    assert fitted.history_ is history
    np.testing.assert_array_equal(fitted.transform(X), codes)
    assert not hasattr(unfit, "module_")


@pytest.mark.parametrize(
    ("estimators", "arguments", "kind", "said"),
    [
        ([Autoencoder], {}, ParameterError, r"estimators\[0\] must be an estimator, got <class"),
        (Autoencoder(), {}, ParameterError, r"estimators must be a list of estimators, got Autoencoder\(\)"),
        ([3], {}, ParameterError, r"estimators\[0\] must be an estimator, got 3"),
        ([CASES["epochs"][0]] * 2, {}, ParameterError, "estimators must be different objects, got one twice"),
        (CASES["epochs"], {"together": 0}, ParameterError, "together must be a whole number of at least 1, got 0"),
        ([*several(n=1), Autoencoder(max_epochs=0)], {}, ParameterError, r"estimators\[1\]: .*max_epochs must be"),
        (
            several(n=2),
            {"sample_weight": [1.0]},
            DataError,
            r"estimators\[0\]: sample_weight must have one number a row",
        ),
    ],
)
def test_what_is_wrong_is_named_before_training(estimators, arguments, kind, said):
    with pytest.raises(kind, match=said):
        fit_many(estimators, X, **arguments)


def test_no_estimators_are_none():
    assert fit_many([], X) == []


def test_masks_go_together(told):
    pictures = np.random.default_rng(0).random((12, 8, 8))
    settings = {"encoder": isthmus.UNetEncoder((2, 4), normalization=None), "batch_size": 4, "max_epochs": 2}
    assert_as_alone(several(Segmenter, learning_rate=3e-4, **settings), pictures, (pictures > 0.5).astype(int))
    assert groups_told(told) == [["0", "1", "2"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (VariationalAutoencoder, {"beta": lambda s: 0.5 * s, "optimizer": lambda s: Adam(weight_decay=0.1 * s)}),
        (
            DenoisingAutoencoder,
            {"corruption": lambda s: Masking(0.1 * (s + 1)), "optimizer": AdamW(), "clip_norm": lambda s: 1.0 + s},
        ),
        (Autoencoder, {"optimizer": SGD(0.5), "learning_rate": lambda s: 0.01 * (s + 1)}),
    ],
    ids=["adam", "adamw", "sgd"],
)
def test_compiled_steps_end_as_lone_ones(kind, settings, told):
    assert_as_alone(several(kind, compile=True, patience=1, **settings), X)
    assert groups_told(told) == [["0", "1", "2"]]
    assert "the common step is compiled" in told.text


def test_where_it_cannot_compile_it_replays_and_says_why(monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch._inductor, "standalone_compile", broken)
    models = fit_many(several(compile=True, optimizer=lambda s: Adam(weight_decay=0.1 * s)), X)
    lone = several(optimizer=lambda s: Adam(weight_decay=0.1 * s))
    for one, other in zip(lone, models, strict=True):
        np.testing.assert_allclose(one.fit(X).transform(X), other.transform(X), rtol=1e-5, atol=1e-5)
    assert "the common step cannot be compiled and is replayed: RuntimeError: no C++ compiler" in caplog.text
