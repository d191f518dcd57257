"""Estimators in scikit-learn's company: pipelines, searches, frames, every kind of input."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from isthmus import (
    SGD,
    Autoencoder,
    DenoisingAutoencoder,
    L2Weights,
    MLPEncoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(120, 2)) @ RNG.normal(size=(2, 6)) + 0.1 * RNG.normal(size=(120, 6))).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int)


def small(**more):
    return Autoencoder(latent_dim=2, max_epochs=3, random_state=0, **more)


def test_pipeline_and_cross_validation():
    pipeline = make_pipeline(small(), LogisticRegression())
    assert cross_val_score(pipeline, X, LABELS, cv=3).mean() > 0.6


def test_grid_search_reaches_the_encoder():
    grid = {"encoder__hidden_dims": [(4,), (16, 8)], "latent_dim": [1, 2]}
    search = GridSearchCV(small(encoder="mlp"), grid, cv=2).fit(X)
    assert search.best_params_["latent_dim"] in (1, 2)
    assert search.best_estimator_.module_.encoder.hidden_dims == search.best_params_["encoder__hidden_dims"]


def test_clone_leaves_parts_unbuilt_and_equal():
    part = MLPEncoder((8,), activation="tanh")
    model = small(encoder=part, penalties=[L2Weights(0.1)]).fit(X)
    assert part.out is None
    twin = clone(model)
    assert twin.encoder.get_params() == part.get_params()
    assert not hasattr(twin, "module_")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_give_the_same_codes(copied):
    model = small().fit(X)
    np.testing.assert_array_equal(copied(model).transform(X), model.transform(X))


def as_path(suffix):
    def write(folder):
        path = folder / f"data{suffix}"
        if suffix == ".npy":
            np.save(path, X)
        elif suffix == ".npz":
            np.savez(path, first=X, second=X[:3])
            return f"{path}:first"
        else:
            pd = pytest.importorskip("pandas")
            frame = pd.DataFrame(X, columns=list("abcdef"))
            frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
        return path

    return write


def as_polars(folder):
    return pytest.importorskip("polars").DataFrame(X, schema=list("abcdef"))


def as_pandas(folder):
    return pytest.importorskip("pandas").DataFrame(X, columns=list("abcdef"))


INPUTS = {
    "array": lambda folder: X,
    "list": lambda folder: X.tolist(),
    "tensor": lambda folder: torch.from_numpy(X),
    "csr": lambda folder: sparse.csr_array(X),
    "csc matrix": lambda folder: sparse.csc_matrix(X),
    "pandas": as_pandas,
    "polars": as_polars,
    **{suffix: as_path(suffix) for suffix in (".npy", ".npz", ".csv", ".parquet")},
}


@pytest.mark.parametrize("kind", INPUTS)
def test_every_input_gives_the_same_codes(kind, tmp_path):
    data = INPUTS[kind](tmp_path)
    codes = np.asarray(small().fit(data).transform(data))
    np.testing.assert_allclose(codes, small().fit(X).transform(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_come_back_where_asked(library):
    frame = {"pandas": as_pandas, "polars": as_polars}[library](None)
    model = small().fit(frame).set_output(transform=library)
    codes, rebuilt = model.transform(frame), model.reconstruct(frame)
    assert list(codes.columns) == ["autoencoder0", "autoencoder1"]
    assert type(rebuilt) is type(frame)
    assert list(rebuilt.columns) == list("abcdef")
    assert isinstance(small().fit(frame).reconstruct(frame), np.ndarray)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (2, 3, 4, 2)])
def test_images_keep_shape_and_units(shape):
    images = RNG.normal(loc=40, scale=5, size=(30, *shape)).astype(np.float32)
    model = small().fit(images)
    rebuilt = model.reconstruct(images)
    assert rebuilt.shape == images.shape
    assert abs(rebuilt.mean() - 40) < 2
    assert model.inverse_transform(model.transform(images)).shape == images.shape


def test_bytes_are_divided_by_255():
    images = RNG.integers(0, 256, size=(40, 6, 6), dtype=np.uint8)
    model = small().fit(images)
    scaled, _ = model.module_.scale(torch.from_numpy(images).unsqueeze(-1))
    np.testing.assert_allclose(scaled.numpy()[..., 0], images / 255, rtol=1e-6)


def test_large_offsets_lose_no_digits():
    seconds = 1.7e9 + RNG.normal(size=(80, 3))
    rebuilt = Autoencoder(latent_dim=3, max_epochs=60, random_state=0).fit(seconds).reconstruct(seconds)
    assert np.abs(rebuilt - seconds).mean() < 0.6


def test_reconstruct_is_decode_of_encode():
    model = small().fit(X)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), model.reconstruct(X), rtol=1e-5, atol=1e-6)


def test_a_row_does_not_depend_on_its_neighbours():
    model = VariationalAutoencoder(latent_dim=2, max_epochs=3, random_state=0).fit(X)
    for method in (model.transform, model.reconstruct, model.score_samples):
        np.testing.assert_array_equal(method(X)[17:18], method(X[17:18]))


def test_weights_of_whole_numbers_repeat_rows():
    weight = RNG.integers(0, 4, size=len(X))
    weighted = VariationalAutoencoder(max_epochs=3, random_state=0).fit(X, sample_weight=weight)
    repeated = VariationalAutoencoder(max_epochs=3, random_state=0).fit(X.repeat(weight, axis=0))
    np.testing.assert_array_equal(weighted.transform(X), repeated.transform(X))


def test_fractional_weights_pull_the_model():
    heavy = np.where(LABELS == 1, 9.5, 0.5)
    light = np.where(LABELS == 1, 0.5, 9.5)
    errors = []
    for weight in (heavy, light):
        model = Autoencoder(latent_dim=1, max_epochs=60, random_state=0, validation_fraction=0)
        model.fit(X, sample_weight=weight)
        errors.append(np.square(model.reconstruct(X) - X).sum(1)[LABELS == 1].mean())
    assert errors[0] < errors[1]


def test_fractional_weights_reach_the_scaler():
    weight = RNG.uniform(0.5, 2, size=len(X))
    model = small(validation_fraction=0).fit(X, sample_weight=weight)
    np.testing.assert_allclose(model.module_.scaler.shift, np.average(X, axis=0, weights=weight), atol=1e-6)


def test_partial_fit_goes_on():
    model = small()
    for _ in range(4):
        model.partial_fit(X)
    assert model.n_iter_ == 4
    assert [row["epoch"] for row in model.history_] == [1, 2, 3, 4]
    assert model.history_[-1]["loss"] < model.history_[0]["loss"]


def test_partial_fit_takes_up_no_optimiser_s_memory_of_other_weights():
    wide = np.c_[X, X]
    again = small().partial_fit(X).fit(wide).partial_fit(wide)
    np.testing.assert_array_equal(again.transform(wide), small().fit(wide).partial_fit(wide).transform(wide))
    changed = small(optimizer="lbfgs")
    for optimizer in ("lbfgs", "sgd", SGD(momentum=0.9), "adam"):
        changed.set_params(optimizer=optimizer).partial_fit(X)
    assert changed.n_iter_ == 4


def test_early_stopping_keeps_the_best_epoch():
    model = Autoencoder(latent_dim=2, max_epochs=60, patience=3, learning_rate=0.05, random_state=0).fit(X)
    best = min(row["val_objective"] for row in model.history_)
    assert model.n_iter_ < 60
    assert best < model.history_[-1]["val_objective"]


def test_denoising_pairs_leave_the_corruption_out():
    noisy = X + RNG.normal(size=X.shape).astype(np.float32)
    model = DenoisingAutoencoder(latent_dim=2, max_epochs=30, random_state=0).fit(noisy, X)
    assert model.module_.corruption is None
    assert np.square(model.reconstruct(noisy) - X).mean() < np.square(noisy - X).mean()


def test_corruption_is_seen_in_training_only():
    model = DenoisingAutoencoder(latent_dim=2, max_epochs=2, random_state=0).fit(X)
    assert np.abs(model.corrupt(X) - X).mean() > 0.1
    np.testing.assert_array_equal(model.reconstruct(X), model.reconstruct(X))


def test_sparse_kl_reaches_rho():
    model = SparseAutoencoder(rho=0.1, sparsity_weight=5.0, max_epochs=150, validation_fraction=0, random_state=0)
    assert abs(model.fit(X).mean_activations(X) - 0.1).max() < 0.05


def test_global_random_state_is_left_alone():
    before_torch, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    small().fit(X)
    assert torch.equal(torch.get_rng_state(), before_torch)
    np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)
