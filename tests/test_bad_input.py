"""Bad input: each case another pair of argument and fault.

Each asserts that the message names the argument, that no training step ran, and that the folder is
as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import isthmus
from isthmus import (
    Autoencoder,
    ContractiveAutoencoder,
    CrossEntropy,
    DenoisingAutoencoder,
    Dice,
    Focal,
    GaussianNLL,
    GaussianNoise,
    KLSparsity,
    L1Weights,
    MLPDecoder,
    MLPEncoder,
    SaltAndPepper,
    SparseAutoencoder,
    SumLoss,
    Tversky,
    VariationalAutoencoder,
)
from isthmus.errors import IsthmusError
from isthmus.training.loop import Loop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6))
UNIT = RNG.uniform(size=(60, 6))
IMAGES = RNG.normal(size=(20, 4, 5))


def changed(value: float) -> np.ndarray:
    """X with one value replaced."""
    bad = X.copy()
    bad[3, 2] = value
    return bad


def frame(**columns: Any) -> Any:
    pd = pytest.importorskip("pandas")
    return pd.DataFrame({"age": X[:, 0], "height": X[:, 1], **columns})


def fitted(estimator: Any = None, data: Any = X) -> Any:
    return (estimator or Autoencoder()).set_params(max_epochs=1, random_state=0).fit(data)


def fit(estimator: Any, data: Any = X, **more: Any) -> Callable[[], Any]:
    return lambda: estimator.fit(data() if callable(data) else data, **more)


# name of the case: (what runs, what the message must hold)
TRAINING = {
    # shapes
    "X one axis": (fit(Autoencoder(), X[:, 0]), "Reshape your data"),
    "X scalar": (fit(Autoencoder(), np.float64(3)), "Expected 2D array"),
    "X empty": (fit(Autoencoder(), X[:0]), "0 sample"),
    "X one row": (fit(Autoencoder(), X[:1]), "1 sample|sample\\(s\\)"),
    "X no columns": (fit(Autoencoder(), X[:, :0]), "0 feature"),
    "X empty image axis": (fit(Autoencoder(), IMAGES[:, :0]), "X must not have an empty axis"),
    "X six axes": (fit(Autoencoder(), np.zeros((4, 1, 2, 2, 2, 2))), "X must have 2 to 5 axes"),
    "X ragged": (fit(Autoencoder(), [[1.0, 2.0], [3.0]]), "X|inhomogeneous"),
    # values
    "X NaN": (fit(Autoencoder(), changed(np.nan)), "NaN.*SimpleImputer"),
    "X infinite": (fit(Autoencoder(), changed(np.inf)), "infinity"),
    "X minus infinite": (fit(Autoencoder(), changed(-np.inf)), "infinity"),
    "X NaN in a frame": (fit(Autoencoder(), lambda: frame(weight=changed(np.nan)[:, 2])), "NaN.*SimpleImputer"),
    "X NaN in an image": (fit(Autoencoder(), np.full((9, 3, 3), np.nan)), "NaN"),
    "X complex": (fit(Autoencoder(), X + 1j), "[Cc]omplex"),
    "X words": (fit(Autoencoder(), np.array([["a", "b"]] * 9)), "OneHotEncoder"),
    "X objects": (fit(Autoencoder(), np.array([[object(), 1]] * 9, dtype=object)), "float\\(\\) argument|X"),
    "X category": (fit(Autoencoder(), lambda: frame(city=["Ulm", "Bonn"] * 30)), "city.*OneHotEncoder"),
    "X none": (fit(Autoencoder(), None), "X must be an array"),
    "X generator": (fit(Autoencoder(), lambda: (row for row in X)), "X must be an array.*, got generator"),
    "X set": (fit(Autoencoder(), {"a", "b"}), "X must be an array.*, got set"),
    "X tables by name": (
        fit(Autoencoder(), type("DatasetDict", (dict,), {"__module__": "datasets.dataset_dict"})(train=X)),
        "X must be an array.*, got DatasetDict",
    ),
    "X sparse NaN": (fit(Autoencoder(), sparse.csr_array(changed(np.nan))), "NaN"),
    # paths
    "path missing": (fit(Autoencoder(), "missing.npy"), "X: no such file: missing.npy"),
    "path suffix": (fit(Autoencoder(), "data.xlsx"), "X: a path must end in one of .npy"),
    "path array of npz": (fit(Autoencoder(), "there.npz:other"), "X: .*no array 'other'"),
    "path several arrays": (fit(Autoencoder(), "there.npz"), "X: .*several arrays"),
    "path no array file": (fit(Autoencoder(), "broken.npy"), "X: cannot read broken.npy"),
    "path pickled": (fit(Autoencoder(), "pickled.npy"), "X: cannot read pickled.npy"),
    # what the loss asks of targets
    "bce below 0": (fit(Autoencoder(loss="binary_cross_entropy", scale=None)), "binary_cross_entropy.*\\[0, 1\\]"),
    "bce above 1": (fit(Autoencoder(loss="binary_cross_entropy"), UNIT * 3), "binary_cross_entropy.*min_max"),
    "poisson negative": (fit(VariationalAutoencoder(loss="poisson_nll")), "poisson_nll.*\\[0, inf\\]"),
    "poisson fractions": (fit(VariationalAutoencoder(loss="poisson_nll"), UNIT), "poisson_nll.*whole numbers"),
    "bce validation": (
        fit(Autoencoder(loss="binary_cross_entropy"), UNIT, validation_data=UNIT + 1),
        "binary_cross_entropy.*\\[0, 1\\]",
    ),
    # other arguments of fit
    "sample_weight length": (fit(Autoencoder(), sample_weight=np.ones(7)), "sample_weight must have one number a row"),
    "sample_weight negative": (fit(Autoencoder(), sample_weight=-np.ones(60)), "sample_weight must be finite"),
    "sample_weight NaN": (fit(Autoencoder(), sample_weight=np.full(60, np.nan)), "sample_weight must be finite"),
    "sample_weight zero": (fit(Autoencoder(), sample_weight=np.zeros(60)), "sample_weight.*zero"),
    "sample_weight two axes": (fit(Autoencoder(), sample_weight=np.ones((60, 2))), "sample_weight must be 1D"),
    "validation_data columns": (fit(Autoencoder(), validation_data=X[:, :3]), "3 features"),
    "validation_data NaN": (fit(Autoencoder(), validation_data=changed(np.nan)), "NaN"),
    "clean shape": (fit(DenoisingAutoencoder(), y=X[:, :3]), "y \\(the clean rows\\)"),
    "clean count": (fit(DenoisingAutoencoder(), y=X[:9]), "y \\(the clean rows\\)"),
    "clean NaN": (fit(DenoisingAutoencoder(), y=changed(np.nan)), "NaN"),
    # parameters of estimators
    "latent_dim zero": (fit(Autoencoder(latent_dim=0)), "latent_dim must be"),
    "latent_dim fraction": (fit(Autoencoder(latent_dim=2.5)), "latent_dim must be"),
    "latent_dim of identity": (fit(Autoencoder(bottleneck="identity", latent_dim=3)), "latent_dim must be"),
    "encoder unknown": (fit(Autoencoder(encoder="cnn")), "encoder must be one of"),
    "encoder another kind": (fit(Autoencoder(encoder=MLPDecoder())), "encoder must be one of"),
    "decoder unknown": (fit(Autoencoder(decoder="mpl")), "decoder must be one of"),
    "bottleneck unknown": (fit(Autoencoder(bottleneck="vae")), "bottleneck must be one of"),
    "corruption unknown": (fit(DenoisingAutoencoder(corruption="blur")), "corruption must be one of"),
    "loss unknown": (fit(Autoencoder(loss="mse")), "loss must be one of"),
    "loss a number": (fit(Autoencoder(loss=3)), "loss must be"),
    "penalties a string": (fit(Autoencoder(penalties="l2_weights")), "penalties must be a list"),
    "penalties unknown": (fit(Autoencoder(penalties=["l3_weights"])), "penalties must be one of"),
    "scale unknown": (fit(Autoencoder(scale="log")), "scale must be one of"),
    "optimizer unknown": (fit(Autoencoder(optimizer="adamax")), "optimizer must be one of"),
    "learning_rate zero": (fit(Autoencoder(learning_rate=0.0)), "learning_rate must be"),
    "learning_rate NaN": (fit(Autoencoder(learning_rate=float("nan"))), "learning_rate must be"),
    "learning_rate text": (fit(Autoencoder(learning_rate="fast")), "learning_rate must be"),
    "schedule unknown": (fit(Autoencoder(schedule="step")), "schedule must be one of"),
    "clip_norm negative": (fit(Autoencoder(clip_norm=-1.0)), "clip_norm must be"),
    "batch_size zero": (fit(Autoencoder(batch_size=0)), "batch_size must be"),
    "batch_size fraction": (fit(Autoencoder(batch_size=1.5)), "batch_size must be"),
    "max_epochs zero": (fit(Autoencoder(max_epochs=0)), "max_epochs must be"),
    "validation_fraction one": (fit(Autoencoder(validation_fraction=1.0)), "validation_fraction must be"),
    "patience zero": (fit(Autoencoder(patience=0)), "patience must be"),
    "device unknown": (fit(Autoencoder(device="tpu")), "device must be"),
    "precision unknown": (fit(Autoencoder(precision="fp8")), "precision must be one of"),
    "compile unknown": (fit(Autoencoder(compile="fast")), "compile must be one of"),
    "random_state text": (fit(Autoencoder(random_state="zero")), "random_state must be"),
    "callbacks of another kind": (fit(Autoencoder(callbacks=[print])), "callbacks must hold"),
    "sparsity unknown": (fit(SparseAutoencoder(sparsity="l0")), "sparsity must be one of"),
    "rho one": (fit(SparseAutoencoder(rho=1.0)), "rho must be"),
    "beta negative": (fit(VariationalAutoencoder(beta=-1)), "beta must be"),
    "free_bits negative": (fit(VariationalAutoencoder(free_bits=-1)), "free_bits must be"),
    "contraction negative": (fit(ContractiveAutoencoder(contraction=-0.1)), "contraction must be"),
    "n_probes zero": (fit(ContractiveAutoencoder(n_probes=0)), "n_probes must be"),
    # parameters of parts
    "hidden_dims zero": (fit(Autoencoder(encoder=MLPEncoder((8, 0)))), "hidden_dims must be"),
    "hidden_dims number": (fit(Autoencoder(encoder=MLPEncoder(8))), "hidden_dims must be"),
    "activation unknown": (fit(Autoencoder(encoder=MLPEncoder(activation="swish"))), "activation must be"),
    "normalization unknown": (fit(Autoencoder(encoder=MLPEncoder(normalization="l2"))), "normalization must be"),
    "dropout one": (fit(Autoencoder(encoder=MLPEncoder(dropout=1.0))), "dropout must be"),
    "std negative": (fit(DenoisingAutoencoder(corruption=GaussianNoise(-1))), "std must be"),
    "p above one": (fit(DenoisingAutoencoder(corruption=SaltAndPepper(1.2))), "p must be"),
    "variance zero": (fit(VariationalAutoencoder(loss=GaussianNLL(0.0))), "variance must be"),
    "classes of real numbers": (fit(Autoencoder(loss="cross_entropy")), "cross_entropy needs a target of classes"),
    "class_weight negative": (fit(Autoencoder(loss=CrossEntropy([1.0, -1.0]))), "class_weight must be"),
    "class_weight a number": (fit(Autoencoder(loss=Focal(class_weight=0.25))), "class_weight must be"),
    "class_weight length": (fit(Autoencoder(loss=Focal(class_weight=[1.0])), UNIT), "class_weight must have 6"),
    "ignore_label fraction": (fit(Autoencoder(loss=CrossEntropy(ignore_label=0.5))), "ignore_label must be"),
    "label_smoothing one": (fit(Autoencoder(loss=CrossEntropy(label_smoothing=1.0))), "label_smoothing must be"),
    "per unknown": (fit(Autoencoder(loss=CrossEntropy(per="pixel"))), "per must be one of"),
    "gamma negative": (fit(Autoencoder(loss=Focal(-1.0))), "gamma must be"),
    "smoothing zero": (fit(Autoencoder(loss=Dice(0.0))), "smoothing must be"),
    "include_background text": (fit(Autoencoder(loss=Dice(include_background="no"))), "include_background must be"),
    "alpha negative": (fit(Autoencoder(loss=Tversky(alpha=-0.5))), "alpha must be"),
    "dice above 1": (fit(Autoencoder(loss="dice"), UNIT * 3), "dice.*\\[0, 1\\]"),
    "losses none": (fit(Autoencoder(loss=SumLoss([]))), "losses must be"),
    "losses by name": (fit(Autoencoder(loss=SumLoss(["dice"]))), "losses must be"),
    "losses bad within": (fit(Autoencoder(loss=SumLoss([Dice(-1.0)]))), "smoothing must be"),
    "weights length": (fit(Autoencoder(loss=SumLoss([Dice(), Focal()], [1.0]))), "weights must have 2 numbers"),
    "penalty weight negative": (fit(Autoencoder(penalties=[L1Weights(-1.0)])), "weight must be"),
    "penalty rho": (fit(Autoencoder(penalties=[KLSparsity(1.0, rho=2)])), "rho must be"),
    "encoder__ on auto": (
        lambda: Autoencoder().set_params(encoder__hidden_dims=(3,)),
        "encoder='auto' has no parameters",
    ),
    "encoder__ unknown": (lambda: Autoencoder(encoder="mlp").set_params(encoder__depth=3), "depth"),
    "kl_prior without posterior": (fit(Autoencoder(penalties=["kl_prior"])), "kl_prior needs"),
    "monitor unknown": (fit(Autoencoder(monitor="val_accuracy")), "monitor must be"),
    "kl_sparsity outside (0, 1)": (fit(SparseAutoencoder(bottleneck="dense")), "kl_sparsity.*sigmoid"),
}

FITTED = {
    "unfitted transform": (lambda: Autoencoder().transform(X), "not fitted"),
    "unfitted reconstruct": (lambda: Autoencoder().reconstruct(X), "not fitted"),
    "unfitted sample": (lambda: VariationalAutoencoder().sample(3), "not fitted"),
    "unfitted elbo": (lambda: VariationalAutoencoder().elbo(X), "not fitted"),
    "unfitted inverse_transform": (lambda: Autoencoder().inverse_transform(X), "not fitted"),
    "other columns": (lambda: fitted().transform(X[:, :3]), "3 features"),
    "other image size": (lambda: fitted(data=IMAGES).transform(IMAGES[:, :3]), "X"),
    "other names": (lambda: fitted(data=frame()).transform(frame().rename(columns={"age": "years"})), "years"),
    "other order": (lambda: fitted(data=frame()).transform(frame()[["height", "age"]]), "order"),
    "transform NaN": (lambda: fitted().transform(changed(np.nan)), "NaN"),
    "codes of another width": (lambda: fitted().inverse_transform(X), "Z must be numbers of shape"),
    "codes NaN": (lambda: fitted(Autoencoder(latent_dim=6)).inverse_transform(changed(np.nan)), "Z must be finite"),
    "sample without prior": (lambda: fitted().sample(3), "no prior"),
    "sample zero": (lambda: fitted(VariationalAutoencoder()).sample(0), "n must be"),
    "elbo of squared error": (
        lambda: fitted(VariationalAutoencoder(loss="squared_error")).elbo(X),
        "squared_error is no likelihood",
    ),
    "elbo without posterior": (lambda: fitted(Autoencoder(loss=GaussianNLL())).elbo(X), "no posterior"),
    "n_samples zero": (lambda: fitted(VariationalAutoencoder()).log_likelihood(X, 0), "n_samples must be"),
    "steps one": (lambda: fitted(VariationalAutoencoder()).interpolate(X[0], X[1], 1), "steps must be"),
    "ends of another shape": (
        lambda: fitted(VariationalAutoencoder()).interpolate(X[0, :2], X[1]),
        "a must be one sample",
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a few files in it; afterwards it must hold the same bytes."""
    np.savez(tmp_path / "there.npz", a=X, b=X)
    (tmp_path / "broken.npy").write_bytes(b"not an array")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    yield tmp_path
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("case", TRAINING)
def test_refused_before_training(case, folder, monkeypatch):
    def no_step(self: Loop) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(Loop, "run", no_step)
    call, message = TRAINING[case]
    with pytest.raises((IsthmusError, TypeError), match=f"(?s){message}"):
        call()


@pytest.mark.parametrize("case", FITTED)
def test_refused_after_training(case, folder):
    call, message = FITTED[case]
    with pytest.raises(IsthmusError, match=f"(?s){message}"):
        call()


def test_constant_columns_are_no_fault():
    constant = np.c_[X, np.ones(60)]
    codes = fitted(data=constant).transform(constant)
    assert np.isfinite(codes).all()


def test_enough_cases():
    assert len(TRAINING) + len(FITTED) >= 60
    assert isthmus.__version__
