"""Arguments of a wrong kind, each named in an error of this library before any step of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from isthmus import (
    Autoencoder,
    DenoisingAutoencoder,
    EarlyStopping,
    ScheduledSampling,
    Segmenter,
    VariationalAutoencoder,
    WeightAverage,
    WeightSchedule,
)
from isthmus.errors import IsthmusError
from isthmus.training.loop import Loop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6))
PICTURES = RNG.random((9, 8, 8))
MASKS = (PICTURES > 0.5).astype(int)
SIZES = [RNG.random((8, 9)), RNG.random((5, 13))] * 5


def fit(estimator: Any, data: Any = X, *args: Any, **more: Any) -> Callable[[], Any]:
    return lambda: estimator.fit(data() if callable(data) else data, *args, **more)


def fitted(kind: Any = Autoencoder, **parameters: Any) -> Any:
    return kind(max_epochs=1, random_state=0, **parameters).fit(X)


def mixed_names() -> Any:
    pd = pytest.importorskip("pandas")
    return pd.DataFrame({"age": X[:, 0], 3: X[:, 1]})


# name of the case: (what runs, what the message must hold)
TRAINING = {
    # tensors and frames
    "X meta tensor": (fit(Autoencoder(), torch.empty(60, 4, device="meta")), "X must be a tensor that numpy can hold"),
    "validation_data meta tensor": (
        fit(Autoencoder(), X, validation_data=torch.empty(60, 6, device="meta")),
        "validation_data: X must be a tensor that numpy can hold",
    ),
    "names of several kinds": (fit(Autoencoder(), mixed_names), "Feature names are only supported.*X.columns.astype"),
    # sample_weight
    "sample_weight complex": (
        fit(Autoencoder(), sample_weight=np.ones(60) + 1j),
        "sample_weight must be numbers.*compl",
    ),
    "sample_weight dates": (
        fit(Autoencoder(), sample_weight=np.ones(60).astype("datetime64[s]")),
        "sample_weight must be numbers, one a row: got datetime64",
    ),
    "sample_weight masked": (
        fit(Autoencoder(), sample_weight=np.ma.masked_greater(X[:, 0], 0)),
        "sample_weight must hold no masked cells",
    ),
    "sample_weight dict": (fit(Autoencoder(), sample_weight={0: 1.0}), "sample_weight must be numbers"),
    # class_weight
    "class_weight text": (fit(Segmenter(class_weight={0: "a"}), PICTURES, MASKS), "class_weight must be None or"),
    "class_weight of labels of several kinds": (
        fit(Segmenter(class_weight={"a": 1.0, 9: 1.0}), PICTURES, MASKS),
        r"class_weight must be a dict of labels of y, \[0, 1\], to weights, got \[9, 'a'\] too",
    ),
    # set_params
    "parameter unknown": (lambda: Autoencoder().set_params(depth=3), "Autoencoder has no parameter 'depth'; it has"),
    "part unknown": (lambda: Autoencoder().set_params(head__x=3), "Autoencoder has no parameter 'head'; it has"),
    # callbacks
    "average of one epoch": (lambda: WeightAverage(1.0), r"WeightAverage: decay must be a number in \[0, 1\), got 1.0"),
    "average beyond": (lambda: WeightAverage(-1), "WeightAverage: decay must be"),
    "sampling epochs": (lambda: ScheduledSampling(epochs="2"), "ScheduledSampling: epochs must be a whole number"),
    "warm-up below zero": (lambda: WeightSchedule(start=-1.0), "WeightSchedule: start must be a number in"),
    "warm-up of half an epoch": (lambda: WeightSchedule(epochs=0.5), "WeightSchedule: epochs must be a whole number"),
    "patience zero": (lambda: EarlyStopping(patience=0), "EarlyStopping: patience must be None or a whole number"),
    "callbacks__": (lambda: Autoencoder().set_params(callbacks__x=3), r"callbacks__x: callbacks=\(\) has no"),
}

AFTER = {
    "Z ragged": (lambda: fitted().inverse_transform([[1, 2], [3]]), "Z must be one array, got items of several shapes"),
    "Z none": (lambda: fitted().inverse_transform(None), "Z must be numbers of shape"),
    "Z meta tensor": (
        lambda: fitted().inverse_transform(torch.empty(2, 2, device="meta")),
        "Z must be a tensor that numpy can hold",
    ),
    "a ragged": (
        lambda: fitted(VariationalAutoencoder).interpolate([[1], [1, 2]], X[0]),
        "a must be one array, got items of several shapes",
    ),
    "b masked": (
        lambda: fitted(VariationalAutoencoder).interpolate(X[0], np.ma.masked_greater(X[1], 0)),
        "b must hold no masked cells",
    ),
}


@pytest.mark.parametrize("case", TRAINING)
def test_refused_before_training(case, monkeypatch):
    def no_step(self: Loop) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(Loop, "run", no_step)
    call, message = TRAINING[case]
    with pytest.raises(IsthmusError, match=f"(?s){message}"):
        call()


@pytest.mark.parametrize("case", AFTER)
def test_refused_after_training(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, message = AFTER[case]
    with pytest.raises(IsthmusError, match=f"(?s){message}"):
        call()
    assert not list(tmp_path.iterdir())


def test_tensors_in_lists_are_read_as_tensors_are():
    tensors = [torch.from_numpy(picture).bfloat16().requires_grad_() for picture in SIZES]
    arrays = [tensor.detach().float().numpy() for tensor in tensors]
    model = DenoisingAutoencoder(encoder="unet", max_epochs=1, random_state=0).fit(arrays)
    for given, expected in zip(model.reconstruct(tensors), model.reconstruct(arrays), strict=True):
        np.testing.assert_array_equal(given, expected)


def test_codes_and_ends_may_be_sparse_or_of_few_bits():
    model = fitted(VariationalAutoencoder)
    codes = np.round(model.transform(X))
    for given in (sparse.csr_array(codes), torch.from_numpy(codes).bfloat16()):
        np.testing.assert_array_equal(model.inverse_transform(given), model.inverse_transform(codes))
    ends = [torch.from_numpy(row).bfloat16() for row in X[:2]]
    assert model.interpolate(*ends, 3).shape == (3, 6)
