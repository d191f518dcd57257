"""What must not be taken quietly, nor end in somebody else's error: each message names the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from isthmus import (
    AnomalyDetector,
    Autoencoder,
    ConvEncoder,
    DenoisingAutoencoder,
    MLPEncoder,
    Segmenter,
    VariationalAutoencoder,
)
from isthmus.errors import IsthmusError
from isthmus.training.loop import Loop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6))
HOLED = np.where(np.arange(360).reshape(60, 6) == 7, np.nan, X)
COUNTS = RNG.poisson(3.0, size=(60, 6)).astype(float)
ZEROS = np.zeros((9, 8, 8), np.uint64)
SIZES = [RNG.random((8, 9)), RNG.random((5, 13))] * 5


def frame(**columns: Any) -> Any:
    pd = pytest.importorskip("pandas")
    return pd.DataFrame({"age": X[:, 0], **columns})


def fit(estimator: Any, data: Any = X, *args: Any, **more: Any) -> Callable[[], Any]:
    return lambda: estimator.fit(data() if callable(data) else data, *args, **more)


def fitted(kind: Any = Autoencoder, data: Any = X, **parameters: Any) -> Any:
    return kind(max_epochs=1, random_state=0, **parameters).fit(data)


def dates() -> Any:
    return frame(since=np.datetime64("2020-01-01") + np.arange(60))


# name of the case: (what runs, what the message must hold)
TRAINING = {
    # validation_data
    "clean rows missing": (
        fit(DenoisingAutoencoder(), X, X, validation_data=X),
        r"validation_data must be a pair \(X, y\), since y was given",
    ),
    "clean rows too many": (
        fit(DenoisingAutoencoder(), X, validation_data=(X, X)),
        "validation_data must be rows like X alone, since no y was given, got a pair",
    ),
    "three in validation_data": (
        fit(Autoencoder(), X, validation_data=(X, X, X)),
        r"validation_data must be rows like X or a pair \(X, y\), got a tuple of 3",
    ),
    "validation_data NaN": (
        fit(Autoencoder(), X, validation_data=HOLED),
        "validation_data: X must be finite, got NaN; impute",
    ),
    "validation_data width": (fit(Autoencoder(), X, validation_data=X[:, :5]), "validation_data: X has 5 features"),
    "validation_data outside the loss": (
        fit(VariationalAutoencoder(loss="poisson_nll"), COUNTS, validation_data=COUNTS + 0.5),
        "needs whole numbers .* got fractions in validation_data",
    ),
    "validation_data overflows": (
        fit(Autoencoder(), X, validation_data=1e300 * X),
        "validation_data must hold numbers that float32 can hold after scaling",
    ),
    "validation_fraction leaves none": (
        fit(Autoencoder(validation_fraction=0.999)),
        "validation_fraction must leave at least 2 rows to train on, got 0 of 60",
    ),
    # values
    "clean NaN": (fit(DenoisingAutoencoder(), X, HOLED), r"y \(the clean rows\) must be finite, got NaN; impute"),
    "X overflows": (fit(Autoencoder(), 1e300 * X), "X must hold numbers that float32 can hold after scaling"),
    "X overflows a square": (fit(Autoencoder(), 1e160 * X), "X must hold numbers that float32 can hold"),
    "X unscaled overflows": (fit(Autoencoder(scale=None), 1e39 * X), "X must hold numbers that float32 can hold"),
    "clean overflows": (fit(DenoisingAutoencoder(), X, 1e300 * X), "y must hold numbers that float32 can hold"),
    "X masked": (fit(Autoencoder(), np.ma.masked_greater(X, 1)), "X must hold no masked cells"),
    "pictures masked": (
        fit(DenoisingAutoencoder(encoder="unet"), [np.ma.masked_greater(one, 0.5) for one in SIZES]),
        "X must hold no masked cells",
    ),
    "X dates": (fit(Autoencoder(), X.astype("datetime64[s]")), r"X must hold numbers, got datetime64\[s\]"),
    "X durations": (fit(Autoencoder(), X.astype("timedelta64[s]")), r"X must hold numbers, got timedelta64\[s\]"),
    "a column of dates": (fit(Autoencoder(), dates), "X must hold numbers, got dates or times in 'since'"),
    "a column of objects": (
        fit(Autoencoder(), lambda: frame(what=[object()] * 60)),
        "X must hold numbers, got text or other objects in 'what'",
    ),
    "a column of lists": (fit(Autoencoder(), lambda: frame(pair=[[1, 2]] * 60)), "other objects in 'pair'"),
    "sample_weight text": (fit(Autoencoder(), X, sample_weight=["a"] * 60), "sample_weight must be numbers, one a row"),
    "labels beyond": (
        fit(
            Segmenter(),
            RNG.random((9, 8, 8)),
            np.where(np.eye(8) > 0, np.uint64(2**63 + 5), np.uint64(0))[None] + ZEROS,
        ),
        r"y must hold labels below 2\*\*63, got 9223372036854775813",
    ),
    "labels beyond, as floats": (
        fit(Segmenter(), RNG.random((9, 8, 8)), np.where(np.eye(8) > 0, 1e30, 0)[None] + np.zeros((9, 8, 8))),
        r"y must hold labels below 2\*\*63, got 1e\+30",
    ),
    "masks masked": (
        fit(Segmenter(), RNG.random((9, 8, 8)), np.ma.masked_greater(RNG.integers(0, 3, (9, 8, 8)), 1)),
        "y must hold no masked cells",
    ),
    # parameters
    "optimizer none": (fit(Autoencoder(optimizer=None)), "optimizer must be the name of an optimizer .* got None"),
    "schedule number": (fit(Autoencoder(schedule=3)), "schedule must be None or .* got 3"),
    "batch of one": (
        fit(Autoencoder(encoder=MLPEncoder((8,), normalization="batch"), batch_size=1)),
        "batch_size must be at least 2 for normalization='batch'",
    ),
    "decoder__ on none": (lambda: Autoencoder().set_params(decoder__hidden_dims=(3,)), "decoder__hidden_dims: decoder"),
    "scale__ on a name": (
        lambda: Autoencoder(scale="standard").set_params(scale__x=1),
        "StandardScaler has no parameter 'x'",
    ),
    "penalties__": (lambda: Autoencoder().set_params(penalties__weight=1), r"penalties__weight: penalties=\(\) has no"),
    "estimator__ on none": (
        lambda: AnomalyDetector().set_params(estimator__latent_dim=2),
        "estimator__latent_dim: estimator=None has no parameters",
    ),
    "several sizes, flattened": (
        fit(DenoisingAutoencoder(encoder="conv"), SIZES),
        "for a free size give pool=None or encoder='unet'",
    ),
}


def variational() -> Any:
    return fitted(VariationalAutoencoder)


AFTER = {
    "X overflows": (lambda: fitted().transform(1e300 * X), "X must hold numbers that float32 can hold after scaling"),
    "score overflows": (lambda: fitted().score(1e300 * X), "X must hold numbers that float32 can hold"),
    "partial_fit overflows": (lambda: fitted().partial_fit(1e300 * X), "X must hold numbers that float32 can hold"),
    "partial_fit outside the loss": (
        lambda: fitted(loss="binary_cross_entropy", data=abs(X) > 1).partial_fit(X),
        r"needs targets in \[0, 1\]",
    ),
    "partial_fit of one row": (
        lambda: fitted(encoder=MLPEncoder((8,), normalization="batch")).partial_fit(X[:1]),
        "batch_size must be at least 2",
    ),
    "counts in halves": (
        lambda: fitted(VariationalAutoencoder, COUNTS, loss="poisson_nll").elbo(COUNTS + 0.5),
        "needs whole numbers .* got fractions in X",
    ),
    "elbo, random_state": (lambda: variational().elbo(X, random_state="a"), "random_state must be None, a whole"),
    "log_likelihood, random_state": (
        lambda: variational().log_likelihood(X, random_state=0.5),
        "random_state must be None, a whole number",
    ),
    "sample, random_state": (lambda: variational().sample(random_state=True), "random_state must be None, a whole"),
    "corrupt, random_state": (lambda: fitted(DenoisingAutoencoder).corrupt(X, "a"), "random_state must be None, a"),
    "no codes": (lambda: fitted().inverse_transform(np.zeros((0, 2))), r"Z must hold at least one code, got shape"),
    "codes overflow": (lambda: fitted().inverse_transform(np.full((1, 2), 1e300)), "Z must hold numbers that float32"),
    "nothing to report": (lambda: fitted().report(X[:0], "report.html"), "X must hold at least one row to show"),
    "a report of texts": (
        lambda: fitted().report(["a", "b"]),
        r"X must be rows of numbers, .*, got <U1 of shape \(2,\)",
    ),
    "a report of one row": (
        lambda: fitted().report(X[0]),
        r"X must be rows of numbers, .* got float64 of shape \(6,\)",
    ),
    "a report of nothing": (lambda: fitted().report(None), "X must be rows of numbers, .* got NoneType"),
    "a report of names": (lambda: fitted().report({"a": X}), "X must be rows of numbers, .* got dict"),
    "a ragged report": (lambda: fitted().report([[1], [1, 2]]), "X must be rows of numbers, got list: setting an arr"),
    "save at the root": (lambda: fitted().save("/"), "/: not a usable path: a model is a folder with a name"),
    "columns for a map": (
        lambda: (
            fitted(data=RNG.normal(size=(60, 8, 8)), encoder=ConvEncoder((4,), pool=None))
            .set_output(transform="pandas")
            .transform(RNG.normal(size=(60, 8, 8)))
        ),
        r"set_output needs codes that are vectors, got shape \(60, 4, 4, 16\)",
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


@pytest.mark.parametrize("kind", [Autoencoder, VariationalAutoencoder])
def test_a_report_of_constant_rows_warns_of_nothing(kind, tmp_path):
    same = np.ones((60, 4))
    assert fitted(kind, same).report(same, tmp_path / "report.html").is_file()


def test_a_seed_may_be_whatever_scikit_learn_takes():
    model = variational()
    for method in (model.elbo, model.log_likelihood):
        for seed in (3, np.int64(3), 2**70, None, np.random.RandomState(3)):
            assert np.isfinite(method(X[:2], 2, random_state=seed)).all()
        np.testing.assert_array_equal(method(X[:2], 2, random_state=np.int64(3)), method(X[:2], 2, random_state=3))
    drawn = [model.sample(2, random_state=np.random.RandomState(3)) for _ in range(2)]
    np.testing.assert_array_equal(*drawn)
    denoiser = fitted(DenoisingAutoencoder)
    assert denoiser.corrupt(X, None).shape == denoiser.corrupt(X, np.random.RandomState(3)).shape == X.shape


def test_tensors_of_every_layout_and_precision_are_read():
    whole = torch.from_numpy(X).bfloat16()
    expected = fitted(data=whole.float()).transform(X)
    for given in (whole, whole.float().to_sparse()):
        np.testing.assert_array_equal(fitted(data=given).transform(X), expected)


def test_objects_that_are_numbers_are_read():
    numbers = frame(count=np.array([1, 2] * 30, dtype=object))
    assert fitted(data=numbers).transform(numbers).shape[0] == 60
    nothing_masked = np.ma.array(X)
    assert np.isfinite(fitted(data=nothing_masked).transform(nothing_masked)).all()


def test_a_frame_of_polars_is_told_by_its_columns_too():
    polars = pytest.importorskip("polars")
    with pytest.raises(IsthmusError, match="got dates or times in 'since'"):
        Autoencoder().fit(polars.from_pandas(dates()))


@pytest.mark.parametrize("unit", [1e-150, 1e-25, 1e25, 1e150])
def test_scales_do_not_know_units(unit):
    for scale in ("standard", "min_max", "robust"):
        scaler = fitted(data=X * unit, scale=scale).module_.scaler
        expected = fitted(scale=scale).module_.scaler(torch.from_numpy(X))[0]
        torch.testing.assert_close(scaler(torch.from_numpy(X * unit))[0], expected, rtol=1e-6, atol=0)


def test_rows_beyond_all_numbers_are_outliers_with_the_worst_score():
    detector = AnomalyDetector(Autoencoder(max_epochs=2), random_state=0).fit(X)
    far = np.r_[X[:3], 1e39 * X[:3]]
    assert (detector.score_samples(far)[3:] == -np.inf).all()
    assert (detector.predict(far)[3:] == -1).all()


def test_what_the_likelihood_excludes_is_an_outlier():
    inked = (X > -0.5).astype(float)
    detector = AnomalyDetector(VariationalAutoencoder(max_epochs=20), random_state=0).fit(inked)
    odd = inked[:5] + 50.0 * (np.arange(6) == 2)  # by the formula of the Bernoulli likelihood better than any row
    assert (detector.score_samples(odd) == -np.inf).all()
    assert (detector.predict(odd) == -1).all()


def test_a_partial_fit_that_fails_changes_nothing(monkeypatch):
    model = Autoencoder(random_state=0).partial_fit(X)
    before, codes = dict(vars(model)), model.transform(X)
    run = Loop.run

    def fails_at_the_end(self: Loop) -> Any:
        run(self)
        raise RuntimeError("late")

    monkeypatch.setattr(Loop, "run", fails_at_the_end)
    with pytest.raises(RuntimeError, match="late"):
        model.partial_fit(X + 1)
    monkeypatch.undo()
    assert vars(model) == before
    np.testing.assert_array_equal(model.transform(X), codes)
    again = Autoencoder(random_state=0).partial_fit(X).partial_fit(X)
    np.testing.assert_array_equal(model.partial_fit(X).transform(X), again.transform(X))
