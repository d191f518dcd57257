"""Seq2Seq on numbers: pairs of series, and what comes next in one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import isthmus
from isthmus import GaussianNLL, MLPEncoder, RNNDecoder, RNNEncoder, Seq2Seq, TransformerDecoder, TransformerEncoder
from isthmus.errors import DataError, IsthmusError, ParameterError, UnsupportedError
from isthmus.estimators.backtesting import errors_of
from isthmus.estimators.intervals import half_widths
from isthmus.estimators.windows import cut_at, level, origins_of, split_by_time

RNG = np.random.default_rng(0)
SMALL = MLPEncoder((32,))
SINE = 5 + 2 * np.sin(2 * np.pi * np.arange(400) / 25)


def small(**arguments):
    """A forecaster that trains in a moment."""
    given = {"window": 30, "horizon": 10, "encoder": SMALL, "max_epochs": 2, "random_state": 0}
    return Seq2Seq(**given | arguments)


def autoregression(n, seed=0, phi=0.8):
    """x_t = φ x_{t − 1} + e_t, e ~ N(0, 1)."""
    noise, x = np.random.default_rng(seed).standard_normal(n), np.zeros(n)
    for t in range(1, n):
        x[t] = phi * x[t - 1] + noise[t]
    return x


def walks(n=60, width=2, seed=0):
    """Random walks of 5 to 15 steps, and each with every value twice and 1 added, which is as long."""
    generator = np.random.default_rng(seed)
    sources = [generator.normal(size=(generator.integers(5, 16), width)).cumsum(0) for _ in range(n)]
    return sources, [2 * walk + 1 for walk in sources]


@pytest.fixture(scope="module")
def sine():
    return small(max_epochs=30, learning_rate=3e-3).fit(SINE[:300])


@pytest.fixture(scope="module")
def likely():
    model = small(window=5, horizon=4, loss="gaussian_nll", max_epochs=20, learning_rate=3e-3, window_scale=None)
    return model.fit(autoregression(2000))


# ---------------------------------------------------------------------- pairs of series


@pytest.mark.parametrize(
    "parts",
    [
        {"encoder": RNNEncoder(16, pool=None)},
        {"encoder": RNNEncoder(16)},
        {"encoder": TransformerEncoder(16, 2, 1)},
        {"encoder": RNNEncoder(16), "loss": "gaussian_nll"},
        {"encoder": TransformerEncoder(16, 2, 1), "decoder": TransformerDecoder(16, 2, 1, autoregressive=False)},
    ],
    ids=["attention", "at once", "transformer", "likelihood", "transformer at once"],
)
def test_pairs_of_series(parts, tmp_path):
    sources, targets = walks()
    model = Seq2Seq(**parts, max_epochs=2, random_state=0).fit(sources, targets)
    found = model.predict(sources)
    assert [one.shape for one in found] == [one.shape for one in targets]  # all were of one length in training
    assert model.predict(sources, lengths=4).shape == (60, 4, 2)
    assert [len(one) for one in model.predict(sources[:3], lengths=[1, 5, 3])] == [1, 5, 3]
    assert model.score_samples(sources, targets).shape == (60,)
    model.save(tmp_path / "model")
    again = isthmus.load(tmp_path / "model")
    for mine, loaded in zip(found, again.predict(sources), strict=True):
        np.testing.assert_array_equal(mine, loaded)
    np.testing.assert_array_equal(again.score_samples(sources, targets), model.score_samples(sources, targets))


def test_pairs_are_learnt():
    sources, targets = walks(200)
    model = Seq2Seq(encoder=RNNEncoder(24, pool=None), max_epochs=16, learning_rate=1e-2, batch_size=32, random_state=0)
    found = np.concatenate(model.fit(sources, targets).predict(walks(50, seed=1)[0]))
    truth = np.concatenate(walks(50, seed=1)[1])
    assert np.square(found - truth).mean() < 0.25 * truth.var()


def test_targets_of_other_lengths_widths_and_units():
    sources, _ = walks()
    targets = [1000 + 50 * np.ones(3) * one.mean() for one in sources]
    model = Seq2Seq(encoder=RNNEncoder(16), max_epochs=30, learning_rate=1e-2, random_state=0).fit(sources, targets)
    found = model.predict(sources)
    assert found.shape == (60, 3)
    assert np.square(found - targets).mean() < 0.5 * np.var(targets)
    assert model.transform(sources).shape == (60, 32)
    cube = np.stack([one[:5] for one in sources])
    assert Seq2Seq(encoder=RNNEncoder(8), max_epochs=1, random_state=0).fit(cube, cube[:, :2]).predict(cube).shape == (
        60,
        2,
        2,
    )


def test_a_density_of_the_data_as_given():
    """With σ fixed to 1 in scaled units: −½ Σ [((y − ŷ)/s)² + log 2π] − Σ log s, written all at once."""
    sources, targets = walks()
    model = Seq2Seq(encoder=RNNEncoder(8), loss=GaussianNLL(1.0), max_epochs=1, random_state=0).fit(sources, targets)
    scale = model.target_scaler_.scale.numpy()
    for score, found, target in zip(
        model.score_samples(sources, targets), model.predict(sources), targets, strict=True
    ):
        wanted = -0.5 * (np.square((target - found) / scale) + np.log(2 * np.pi)) - np.log(scale)
        assert score == pytest.approx(wanted.sum(), rel=1e-4)


# ---------------------------------------------------------------------- windows


def test_windows_never_cross_series_and_validation_is_last():
    lengths = [100, 8, 60]
    train, held = split_by_time(lengths, 6, 3, 2, 0.1)
    series = [i * 1000 + np.arange(length)[:, None] for i, length in enumerate(lengths)]
    known = [np.zeros((length, 0)) for length in lengths]
    windows, tested = (cut_at(series, known, origins, 6, 3) for origins in (train, held))
    for part in (windows, tested):
        steps = np.concatenate([part.past, part.future], 1)[..., 0]
        assert (np.diff(steps, axis=1) == 1).all()
        assert (steps // 1000 == part.series[:, None]).all()
        np.testing.assert_array_equal(part.future[:, 0, 0] - 1000 * part.series, part.origin)
    seen = set(np.concatenate([windows.past.ravel(), windows.future.ravel()]).tolist())
    judged = set(tested.future.ravel().tolist())
    assert not seen & judged
    for i, length in ((0, 100), (2, 60)):
        mine = sorted(step - 1000 * i for step in judged if step // 1000 == i)
        assert mine[0] > max(step - 1000 * i for step in seen if step // 1000 == i)
        assert length - max(3, round(0.1 * length)) == mine[0]
    assert len(held[1]) == len(train[1]) == 0  # 8 steps are less than a window and a horizon
    assert [len(one) for one in split_by_time([30], 6, 3, 1, 0.5)[1]] == [0]  # few windows


def test_the_model_trains_on_the_earlier_part_alone():
    """Other values in the last tenth leave every weight and scale as they were, until validation picks the epoch."""
    series = RNG.normal(size=300).cumsum()
    other = np.concatenate([series[:270], 1e3 + series[270:]])
    one, two = (small(max_epochs=1).fit(rows) for rows in (series, other))
    for name, value in one.module_.state_dict().items():
        assert torch.equal(value, two.module_.state_dict()[name]), name
    assert torch.equal(one.target_scaler_.scale, two.target_scaler_.scale)
    np.testing.assert_array_equal(one.still_, two.still_)
    assert one.history_[0]["val_loss"] != two.history_[0]["val_loss"]


def test_levels_by_hand():
    past = np.array([[[1.0], [3.0]], [[2.0], [2.0]]])  # means 2 and 2, deviations 1 and 0
    shift, spread = level(past, "last", np.array([0.1]))
    np.testing.assert_allclose(shift.ravel(), [3, 2])
    np.testing.assert_allclose(spread.ravel(), [np.sqrt(1.01), 0.1])
    assert level(past, "mean", np.array([0.1]))[0].ravel().tolist() == [2, 2]
    assert level(past, None, np.array([0.1]))[1].ravel().tolist() == [1, 1]
    assert origins_of(10, 4, 3, 2).tolist() == [4, 6]


# ---------------------------------------------------------------------- forecasts


def test_a_sine_is_forecast(sine):
    found = sine.predict(SINE[:300])
    assert found.shape == (10,)
    assert np.abs(found - SINE[300:310]).max() < 0.4
    higher = sine.predict(SINE[:300] + 1000)  # windows are in units of their own
    np.testing.assert_allclose(higher - 1000, found, atol=1e-2)


@pytest.mark.parametrize(
    "parts",
    [
        {"encoder": "rnn", "window": 8, "horizon": 3},
        {"encoder": RNNEncoder(8, pool=None), "window": 8, "horizon": 3},
        {"encoder": TransformerEncoder(16, 2, 1)},
        {"encoder": isthmus.ConvEncoder((8,), dims=1)},
        {"encoder": "auto", "window_scale": "mean", "loss": "absolute_error", "stride": 3},
        {"encoder": SMALL, "bottleneck": "dense", "latent_dim": 4},
    ],
    ids=["rnn", "attention", "transformer", "conv", "mean", "neck"],
)
def test_any_encoder_forecasts(parts, tmp_path):
    series = np.stack([SINE, SINE[::-1]], 1)[:150]
    told = np.arange(200.0)[:, None] % 7
    model = small(**parts | {"max_epochs": 1}).fit(series, exogenous=told[:150])
    found = model.predict(series, exogenous=told[: 150 + model.horizon])
    assert found.shape == (model.horizon, 2)
    model.save(tmp_path / "model")
    again = isthmus.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(series, exogenous=told[: 150 + model.horizon]), found)
    np.testing.assert_array_equal(
        again.score_samples(series, exogenous=told[:150]), model.score_samples(series, exogenous=told[:150])
    )
    assert len(model.transform(series, exogenous=told[: 150 + model.horizon])) == 1


def test_several_series(sine):
    several = [SINE[:200], SINE[50:130] + 3]
    model = small().fit(several)
    assert [one.shape for one in model.predict(several)] == [(10,), (10,)]
    assert model.predict(np.stack([SINE[:50, None]] * 3).repeat(1, 2)[:, :, 0].tolist()[0]).shape == (10,)
    both = small().fit(np.stack([SINE, SINE])[..., None])
    assert both.predict(np.stack([SINE, SINE])[..., None]).shape == (2, 10, 1)
    np.testing.assert_allclose(sine.predict(several)[0], sine.predict(several[0]), rtol=1e-5)


def test_likelihood_of_windows(likely):
    series = autoregression(300, 1)
    scores = likely.score_samples(series)
    assert scores.shape == (300 - 5 - 4 + 1,)
    best = -4 * 0.5 * (1 + np.log(2 * np.pi))  # four independent N(0, 1) steps cannot do better by much
    assert best - 2 < scores.mean() < best + 0.2
    scaled = small(window=5, horizon=4, loss="gaussian_nll", max_epochs=10).fit(autoregression(1000))
    wide = small(window=5, horizon=4, loss="gaussian_nll", max_epochs=10).fit(100 * autoregression(1000))
    loss = scaled.score(series) - wide.score(100 * series)
    assert loss == pytest.approx(4 * np.log(100), abs=0.1)


# ---------------------------------------------------------------------- intervals


@pytest.mark.parametrize("decoder", [None, RNNDecoder(16, autoregressive=True)], ids=["closed form", "draws"])
def test_intervals_cover_their_share(decoder, likely):
    model = likely
    if decoder is not None:
        model = small(
            window=5, horizon=4, encoder=RNNEncoder(8), decoder=decoder, loss="gaussian_nll", max_epochs=6,
            learning_rate=1e-2, window_scale=None, stride=2,
        ).fit(autoregression(2000))  # fmt: skip
    series = autoregression(3000, 2)
    histories = [series[i : i + 5] for i in range(0, 2900, 9)]
    truth = np.stack([series[i + 5 : i + 9] for i in range(0, 2900, 9)])
    lower, upper = model.predict_interval(histories, 0.8, n_paths=100)
    inside = ((truth > np.stack(lower)) & (truth < np.stack(upper))).mean()
    assert 0.74 < inside < 0.86, inside
    width = np.mean(np.stack(upper) - np.stack(lower), 0)
    assert width[3] > 1.2 * width[0]  # σ of step 4 over step 1 is √(1 + 0.8² + 0.8⁴ + 0.8⁶) = 1.5
    narrow = model.predict_interval(histories[:3], 0.5, n_paths=100)
    assert all((narrow.upper[i] - narrow.lower[i] < upper[i] - lower[i]).all() for i in range(3))
    again = model.predict_interval(histories[:3], 0.5, n_paths=100)
    np.testing.assert_array_equal(narrow.lower, again.lower)


def test_half_widths_by_hand():
    """Of scores 1 to 9 the 5th covers half, ⌈10 · 0.9⌉ the 9th is the last that is known; z beyond."""
    scores = np.arange(1.0, 10)[::-1, None, None] * np.ones((9, 3, 1))
    steps = np.concatenate([scores] * 3)  # 27 windows, enough for a q of every step
    assert half_widths(steps, 0.5).tolist() == [[5.0]] * 3  # ⌈28 · 0.5⌉ is 14, and 1 to 5 are the first 15
    assert half_widths(scores[:, :1], 0.5) == 5
    assert half_widths(scores[:, :1], 0.9) == 9
    assert half_widths(scores[:, :1], 0.95).item() == pytest.approx(9 * 1.959964 / 1.644854, rel=1e-6)
    assert half_widths(scores, 0.9).tolist() == [[9.0]] * 3  # 27 scores of all steps: ⌈28 · 0.9⌉ is 26
    assert half_widths(scores, 0.8).tolist() == [[8.0]] * 3  # the 23rd


def test_intervals_hold_where_the_likelihood_deceives_itself(tmp_path):
    """A net that has learnt 400 steps by heart gives its noise a fraction of its size; held-out windows know better."""
    model = small(
        window=5, horizon=2, loss="gaussian_nll", encoder=MLPEncoder((64, 64)), max_epochs=100, learning_rate=3e-3,
        monitor="objective", patience=None, validation_fraction=0.4, window_scale=None,
    ).fit(autoregression(400))  # fmt: skip
    series = autoregression(3000, 2)
    histories = [series[i : i + 5] for i in range(0, 2900, 7)]
    truth = np.stack([series[i + 5 : i + 7] for i in range(0, 2900, 7)])

    def share(model, calibrated):
        lower, upper = map(np.stack, model.predict_interval(histories, 0.9, calibrated=calibrated))
        return ((truth > lower) & (truth < upper)).mean()

    assert share(model, False) < 0.75
    assert 0.84 < share(model, True) < 0.96
    model.save(tmp_path / "model")
    again = isthmus.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_interval(series), model.predict_interval(series))
    assert again.interval_scores_.shape == (159, 2, 1)  # 160 steps held out, two at a time
    own = model.predict_interval(series, calibrated=False)
    model.partial_fit(autoregression(50))  # other weights, of which nothing is known
    assert model.interval_scores_ is None
    assert not np.allclose(own.lower, model.predict_interval(series).lower)


def test_intervals_follow_the_newest_windows():
    """The noise trebles after training: of a history that shows it the interval is about three times as wide."""
    model = small(window=5, horizon=2, loss="gaussian_nll", max_epochs=5, window_scale=None).fit(autoregression(2000))
    later = np.concatenate([autoregression(400, 3), 3 * autoregression(400, 4)])
    before, after = (np.subtract(*model.predict_interval(later[:end], 0.9)[::-1]).mean() for end in (400, 800))
    same = np.subtract(*model.predict_interval(later[395:400], 0.9)[::-1]).mean()
    assert before == pytest.approx(same, rel=0.25)
    assert 2.3 < after / before < 4
    assert model.interval_recent_ == len(model.interval_scores_) == 199
    changed = later.copy()
    changed[: 800 - 199 - 2 - 5] = 1e6  # before the newest windows
    np.testing.assert_array_equal(model.predict_interval(changed), model.predict_interval(later))


def test_intervals_of_any_loss(sine):
    lower, upper = sine.predict_interval(SINE, 0.9)  # squared error: one width for all windows, in their own units
    assert (lower < upper).all()
    assert (upper - lower).max() < 2
    counts = np.random.default_rng(0).poisson(3 + 2 * np.sin(np.arange(500) / 5)).astype(float)
    model = small(loss="poisson_nll", max_epochs=5).fit(counts)
    lower, upper = model.predict_interval(counts, 0.95)
    assert (lower >= 0).all()
    assert (upper > lower).all()
    held = small(validation_fraction=0).fit(SINE, validation_data=SINE[200:])
    assert held.interval_recent_ == 0
    assert len(held.interval_scores_) == 161
    few = small().fit(SINE[:120])  # 3 windows held out, so that q is of all steps, and of each for the longer history
    assert len(few.interval_scores_) == 3
    few.interval_recent_ = 30
    assert few.predict_interval([SINE[:60], SINE]).lower.shape == (2, 10)
    told = small().fit(SINE, exogenous=SINE)
    assert np.ndim(told.predict_interval(SINE, exogenous=np.append(SINE, SINE[:10])).lower) == 1


# ---------------------------------------------------------------------- looking back


def test_backtest_never_sees_the_future(sine):
    before = sine.backtest(SINE, start=320, step=10, season=25)
    changed = SINE.copy()
    changed[350:] = 1e6
    after = sine.backtest(changed, start=320, step=10, season=25)
    seen = before.errors["origin"] <= 350
    np.testing.assert_array_equal(after.forecasts[seen], before.forecasts[seen])
    np.testing.assert_array_equal(after.errors["mase"][seen][:-1], before.errors["mase"][seen][:-1])
    assert before.errors["origin"].tolist() == before.labels == list(range(320, 391, 10))
    np.testing.assert_allclose(before.forecasts[0], sine.predict(SINE[:320]), rtol=1e-5)
    assert before.forecasts.shape == before.truth.shape == (8, 10)
    assert sine.backtest(SINE, n_folds=3).errors["origin"].tolist() == [370, 380, 390]
    assert set(before.mean()) == {"mae", "rmse", "mase"}


def test_errors_by_hand():
    """Series 0 1 3 6 10 15: seasonal naive (1) errors 1 2 3 before step 4, mean 2; missed by 1 and 3."""
    series = np.array([0.0, 1, 3, 6, 10, 15])[:, None]
    found = errors_of(np.array([[[11.0], [12.0]]]), series[None, 4:], [series], np.array([0]), np.array([4]), 1)
    assert found["mae"] == 2
    assert found["rmse"] == np.sqrt(5)
    assert found["mase"] == 1
    still = np.ones((6, 1))
    assert np.isnan(errors_of(still[None, 4:], still[None, 4:], [still], np.array([0]), np.array([4]), 1)["mase"])


# ---------------------------------------------------------------------- what is known ahead


def test_what_is_known_ahead_helps():
    """y_t = 3 u_t + noise, and u is a coin that the past says nothing of."""
    coin = RNG.integers(0, 2, 700).astype(float)
    series = 3 * coin + 0.1 * RNG.normal(size=700)
    arguments = {"window": 8, "horizon": 4, "max_epochs": 15, "learning_rate": 3e-3}
    blind = small(**arguments).fit(series[:600]).backtest(series, start=600).mean()["mae"]
    told = small(**arguments).fit(series[:600], exogenous=coin[:600])
    assert told.backtest(series, start=600, exogenous=coin).mean()["mae"] < 0.4 * blind


# ---------------------------------------------------------------------- kinds


def test_pandas_index_goes_on(sine):
    pd = pytest.importorskip("pandas")
    for freq in ("h", "MS", "W-SUN", "B", "QS"):
        index = pd.date_range("2020-01-01", periods=60, freq=freq, name="when")
        bare = pd.DatetimeIndex(np.array(index), name="when")  # without its frequency
        found = sine.predict(pd.Series(SINE[:60], bare, name="load"))
        assert found.index.equals(pd.date_range(index[-1], periods=11, freq=freq)[1:])
        assert (found.name, found.index.name) == ("load", "when")
    months = pd.period_range("2020-01", periods=60, freq="M")
    assert sine.predict(pd.Series(SINE[:60], months)).index[0] == months[-1] + 1
    assert sine.predict(pd.Series(SINE[:60], range(3, 63))).index.tolist() == list(range(63, 73))
    frame = pd.DataFrame({"a": SINE, "b": SINE + 1}, pd.date_range("2020", periods=400, freq="D"))
    model = small(loss="gaussian_nll").fit(frame)
    lower, upper = model.predict_interval(frame[:100])
    assert list(lower.columns) == ["a", "b"]
    assert (lower < upper).all(axis=None)
    assert upper.index[0] == frame.index[100]
    assert model.backtest(frame, n_folds=2).labels == [frame.index[380], frame.index[390]]
    assert model.backtest(frame, n_folds=2).forecasts.shape == (2, 10, 2)


def test_a_short_history_goes_on_by_the_frequency_of_training():
    pd = pytest.importorskip("pandas")
    hours = pd.Series(SINE, pd.date_range("2020", periods=400, freq="h"))
    model = small(window=2, horizon=3).fit(hours)
    short = pd.Series([1.0, 2.0], pd.DatetimeIndex(["2021-01-01 00:00", "2021-01-01 01:00"]))
    assert model.predict(short).index[-1] == pd.Timestamp("2021-01-01 04:00")


def test_polars(sine):
    pl = pytest.importorskip("polars")
    found = sine.predict(pl.Series("load", SINE[:60]))
    assert (found.name, len(found)) == ("load", 10)
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 12, 31), eager=True)[:60]
    model = small().fit(pl.DataFrame({"a": SINE, "b": SINE}))
    found = model.predict(pl.DataFrame({"when": days, "a": SINE[:60], "b": SINE[:60]}))
    assert found.columns == ["when", "a", "b"]
    assert str(found["when"][0]) == "2020-03-01"
    months = pl.date_range(pl.date(2020, 1, 1), pl.date(2024, 12, 1), interval="1mo", eager=True)
    found = model.predict(pl.DataFrame({"a": SINE[:60], "when": months, "b": SINE[:60]}))
    assert (str(found["when"][0]), str(found["when"][-1])) == ("2025-01-01", "2025-10-01")


def test_categories_that_are_numbers():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"load": SINE, "shift": pd.Categorical(np.arange(400) % 3)})
    assert small(max_epochs=1).fit(table).predict(table).shape == (10, 2)


def test_an_index_of_what_is_known_may_be_left_out():
    model = small().fit(daily(), exogenous=np.arange(400.0))
    assert len(model.predict(daily(), exogenous=np.arange(410.0))) == 10
    pd = pytest.importorskip("pandas")
    known = pd.Series(np.arange(410.0), pd.date_range("2020", periods=410, freq="D"))
    assert len(model.predict(daily(), exogenous=known)) == 10
    with pytest.raises(DataError, match="exogenous must have the times of X"):
        model.predict(daily().shift(1, freq="D"), exogenous=known)


@pytest.mark.parametrize("encoder", ["auto", "rnn", TransformerEncoder(8, 2, 1), isthmus.ConvEncoder((4,), dims=1)])
def test_the_shortest_that_can_be_asked(encoder):
    """One step read, one step told; one window more than none; a series that is shorter than a window."""
    model = small(window=1, horizon=1, encoder=encoder, max_epochs=1).fit(SINE[:60], exogenous=SINE[:60])
    assert model.predict(SINE[:1], exogenous=SINE[:2]).shape == (1,)
    short = small(encoder=encoder, max_epochs=1).fit([SINE[:41], SINE[:7]])
    assert short.predict(SINE[:30]).shape == (10,)
    with pytest.raises(DataError, match=r"X\[1\] must have at least window=30 steps, got 29"):
        short.predict([SINE, SINE[:29]])


# ---------------------------------------------------------------------- what is kept


def test_fitted_again_and_a_step_further(sine):
    one, same = (small(max_epochs=1).fit(SINE).module_.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    model = small().fit(SINE)
    model.set_params(window=None, horizon=None, tokenizer="char", encoder=RNNEncoder(8, pool=None))
    assert len(model.fit(["ab", "ba"] * 5, ["b", "a"] * 5).predict(["ab"])) == 1
    step = small().partial_fit(SINE[:300]).partial_fit(SINE[100:])
    assert step.predict(SINE).shape == (10,)
    told = small().partial_fit(SINE, exogenous=SINE).partial_fit(SINE, exogenous=SINE)
    assert np.isfinite(told.score(SINE, exogenous=SINE))
    with pytest.raises(DataError, match="X must have at least 41 time steps"):
        small().partial_fit(SINE[:40])
    assert not hasattr(model, "window_")  # of the windows of before
    held = small().fit(SINE[:300], validation_data=SINE[260:])
    assert "val_loss" in held.history_[0]


# ---------------------------------------------------------------------- refusals


def times(*texts):
    pd = pytest.importorskip("pandas")
    return pd.Series(SINE[: len(texts)] if texts else SINE, pd.DatetimeIndex(texts))


def uneven():
    pd = pytest.importorskip("pandas")
    hours = pd.date_range("2020", periods=401, freq="h")
    return pd.Series(SINE, hours.delete(7))


def dated():
    pd = pytest.importorskip("pandas")
    return pd.DataFrame({"when": pd.date_range("2020", periods=400), "a": SINE})


def daily():
    pd = pytest.importorskip("pandas")
    return pd.Series(SINE, pd.date_range("2020", periods=400, freq="D"))


def named():
    pd = pytest.importorskip("pandas")
    return pd.Series(SINE, [f"row {i}" for i in range(400)])


HOLE = np.where(np.arange(400) == 9, np.nan, SINE)
SOURCES, TARGETS = walks(10)
BEFORE = {
    "horizon left out": (small(horizon=None), (SINE,), {}, ParameterError, "window and horizon must be given together"),
    "window left out": (small(window=None), (SINE,), {}, ParameterError, "window and horizon must be given together"),
    "window 0": (small(window=0), (SINE,), {}, ParameterError, "window must be None or a whole number"),
    "horizon of 1.5": (small(horizon=1.5), (SINE,), {}, ParameterError, "horizon must be None or a whole number"),
    "stride 0": (small(stride=0), (SINE,), {}, ParameterError, "stride must be a whole number of at least 1"),
    "window_scale": (small(window_scale="max"), (SINE,), {}, ParameterError, "window_scale must be None or one of"),
    "batch_tokens": (small(batch_tokens=9), (SINE,), {}, ParameterError, "batch_tokens must be None where window"),
    "y": (small(), (SINE, SINE), {}, DataError, "y must be left out, since window and horizon"),
    "weights": (small(), (SINE,), {"sample_weight": np.ones(400)}, DataError, "sample_weight is for pairs"),
    "none": (small(), (None,), {}, DataError, "X must be one series"),
    "nothing": (small(), ([],), {}, DataError, "X must hold at least one series"),
    "short": (small(), (SINE[:40],), {}, DataError, "X must have at least 41 time steps"),
    "one row": (small(), (SINE[:1],), {}, DataError, "X must have at least 41 time steps, .* got 1"),
    "no row": (small(), (SINE[:0],), {}, DataError, "X must be one series"),
    "all short": (small(), ([SINE[:40], SINE[:9]],), {}, DataError, "X must have at least 41 time steps, .* got 40"),
    "far apart": (small(stride=500), (SINE,), {}, DataError, "540 time steps, .* stride=500 apart, got 400"),
    "on its side": (
        small(),
        (SINE.reshape(4, 100),),
        {},
        DataError,
        r"got 4; several series are a list, or \(n, T, D\)",
    ),
    "skips": (small(encoder="unet", window=16), (SINE,), {}, ParameterError, "encoder must have no skips where window"),
    "metrics": (small(validation_metrics=["bleu"]), (SINE,), {}, ParameterError, "validation_metrics must be empty"),
    "metrics of pairs": (
        Seq2Seq(validation_metrics=["bleu"]),
        (SOURCES, TARGETS),
        {},
        ParameterError,
        "validation_metrics is for targets of texts",
    ),
    "backwards": (small(), (lambda: daily()[::-1],), {}, DataError, "X must have an index that goes forward"),
    "periods left out": (
        small(),
        (lambda: daily().to_period("D").drop(daily().to_period("D").index[7]),),
        {},
        DataError,
        "X must have an index of periods one after another",
    ),
    "exogenous of other days": (
        small(),
        (lambda: daily(),),
        {"exogenous": lambda: daily().shift(3, freq="D")},
        DataError,
        "exogenous must have the times of X, got 2020-01-04 00:00:00 beside 2020-01-01 00:00:00",
    ),
    "NaN": (small(), (HOLE,), {}, DataError, "X must be finite, got NaN"),
    "NaN in the second": (small(), ([SINE, HOLE],), {}, DataError, r"X\[1\] must be finite, got NaN"),
    "words": (small(), (np.array(["a"] * 400),), {}, DataError, "X must hold numbers"),
    "four axes": (small(), (np.ones((2, 3, 4, 5)),), {}, DataError, "X must be one series"),
    "widths": (small(), ([np.ones((50, 2)), np.ones((50, 3))],), {}, DataError, r"X\[1\] must be as wide as X\[0\]"),
    "gap": (small(), (uneven,), {}, DataError, "X must have an index whose frequency can be inferred"),
    "one label for all": (small(), (lambda: daily().set_axis([5] * 400),), {}, DataError, "X must have an index of"),
    "dates as text": (
        small(),
        (lambda: daily().set_axis(daily().index.astype(str)),),
        {},
        DataError,
        r"X must have an index of times .* pandas.to_datetime\(X.index\) reads dates",
    ),
    "labels": (small(), (named,), {}, DataError, "X must have an index of times or of whole numbers"),
    "times in a column": (small(), (dated,), {}, DataError, r"X must have its times as index, got a column 'when'"),
    "exogenous short": (
        small(),
        (SINE,),
        {"exogenous": SINE[:9]},
        DataError,
        "exogenous must cover the 400 steps of X",
    ),
    "dates of text": (
        small(),
        (lambda: dated().astype({"when": str}),),
        {},
        DataError,
        "X must .* texts in column 'when'",
    ),
    "exogenous of texts": (
        small(),
        (SINE,),
        {"exogenous": lambda: dated().astype({"a": str})[["a"]]},
        DataError,
        "exogenous must hold numbers, got texts in column 'a'",
    ),
    "exogenous few": (small(), ([SINE] * 2,), {"exogenous": [SINE]}, DataError, "exogenous must hold one for each of"),
    "exogenous NaN": (small(), (SINE,), {"exogenous": HOLE}, DataError, "exogenous must be finite"),
    "validation short": (small(), (SINE,), {"validation_data": SINE[:9]}, DataError, "validation_data must have at le"),
    "validation wide": (
        small(),
        (SINE,),
        {"validation_data": np.ones((99, 2))},
        DataError,
        "validation_data must be a",
    ),
    "poisson of negatives": (small(loss="poisson_nll"), (SINE - 9,), {}, DataError, "poisson_nll"),
    "exogenous of pairs": (Seq2Seq(), (SOURCES, TARGETS), {"exogenous": SINE}, DataError, "exogenous is for a model"),
    "no targets": (Seq2Seq(), (SOURCES,), {}, DataError, "y must be the target series"),
    "too few targets": (Seq2Seq(), (SOURCES, TARGETS[1:]), {}, DataError, "y must have a series for each of the 10"),
    "an mlp of pairs": (Seq2Seq(encoder="mlp"), (SOURCES, TARGETS), {}, ParameterError, "encoder must read sequences"),
    "at once of other lengths": (
        Seq2Seq(encoder=TransformerEncoder(16, 2, 1), decoder=TransformerDecoder(16, 2, 1)),
        (SOURCES, [one[1:] for one in TARGETS]),
        {},
        ParameterError,
        "decoder must have autoregressive=True",
    ),
}


@pytest.mark.parametrize("case", BEFORE)
def test_refused_before_training(case):
    model, data, more, kind, message = BEFORE[case]
    data, told = ([one() if callable(one) else one for one in given] for given in (data, more.values()))
    with pytest.raises(kind, match=message):
        model.fit(*data, **dict(zip(more, told, strict=True)))
    assert not hasattr(model, "module_")


AFTER = {
    "short history": (lambda model: model.predict(SINE[:29]), "X must have at least window=30 steps, got 29"),
    "width": (lambda model: model.predict(np.ones((50, 2))), r"X must be a series \(T,\), as in training"),
    "beams": (lambda model: model.predict(SINE, beam_size=3), "beam_size is for texts"),
    "temperature": (lambda model: model.predict(SINE, temperature=1.0), "temperature is for texts"),
    "lengths": (lambda model: model.predict(SINE, lengths=3), "lengths is for pairs of series"),
    "max_length": (lambda model: model.predict(SINE, max_length=3), "max_length is for pairs"),
    "exogenous": (lambda model: model.predict(SINE, exogenous=SINE), "exogenous must be left out"),
    "no likelihood": (
        lambda model: model.predict_interval(SINE, calibrated=False),
        "predict_interval needs a likelihood, such as loss='gaussian_nll', or held-out windows",
    ),
    "calibrated": (lambda model: model.predict_interval(SINE, calibrated=2), "calibrated must be True or False"),
    "coverage": (lambda model: model.predict_interval(SINE, 1.0), "coverage must be a number in"),
    "paths": (lambda model: model.predict_interval(SINE, n_paths=1), "n_paths must be"),
    "no origin": (lambda model: model.backtest(SINE), "start or n_folds must be given"),
    "two origins": (lambda model: model.backtest(SINE, start=50, n_folds=2), "start or n_folds must be given, and not"),
    "early": (lambda model: model.backtest(SINE, start=20), "X must have window=30 steps before the first origin"),
    "late": (lambda model: model.backtest(SINE, start=395), "horizon=10 from it on"),
    "folds": (lambda model: model.backtest(SINE, n_folds=99), "with n_folds=99 and step=10"),
    "season": (lambda model: model.backtest(SINE, start=50, season=50), "season must be below the first origin, 50"),
    "step": (lambda model: model.backtest(SINE, start=50, step=0), "step must be None or a whole number"),
    "targets": (lambda model: model.score_samples(SINE, SINE), "y must be left out"),
    "elbo": (lambda model: model.elbo(SINE), "elbo and log_likelihood need an autoencoder"),
    "attention": (lambda model: model.attention("abc"), "attention shows pieces of texts for texts"),
    "gap": (lambda model: model.predict(uneven()), "X must have an index whose frequency can be inferred"),
    "two times": (
        lambda model: model.predict(times(*["2020-01-01"] * 2 + ["2020-01-02"] * 38)),
        "X must have an index whose frequency can be inferred",
    ),
}


@pytest.mark.parametrize("case", AFTER)
def test_refused_after_training(case, sine):
    call, message = AFTER[case]
    with pytest.raises(IsthmusError, match=message):
        call(sine)


def test_refused_of_models_of_pairs_and_of_exogenous():
    model = Seq2Seq(encoder=RNNEncoder(8), max_epochs=1, random_state=0).fit(SOURCES, TARGETS)
    for call, message in [
        (lambda: model.backtest(SINE, start=50), "backtest needs a model of windows"),
        (lambda: model.predict_interval(SINE), "predict_interval needs a model of windows"),
        (lambda: model.predict(SOURCES, max_length=0), "max_length must be"),
        (lambda: model.predict(SOURCES, lengths=[1]), "lengths must be a whole number or 10 of them"),
        (lambda: model.predict(SOURCES, lengths=3, max_length=2), "max_length must be None where lengths is given"),
        (lambda: model.predict([np.ones((3, 5))]), r"X must hold series of shape \(T, 2\)"),
        (lambda: model.score_samples(SOURCES, [one[:, 0] for one in TARGETS]), "y must hold series of shape"),
    ]:
        with pytest.raises((UnsupportedError, DataError, ParameterError), match=message):
            call()
    told = small(max_epochs=1).fit(SINE, exogenous=np.ones((400, 2)))
    with pytest.raises(DataError, match="exogenous must be given: the model was fitted with 2 such columns"):
        told.predict(SINE)
    with pytest.raises(DataError, match="exogenous must have 2 columns, as in training, got 3"):
        told.predict(SINE, exogenous=np.ones((410, 3)))
    with pytest.raises(DataError, match="exogenous must cover the 400 steps of X and the 10 after them, got 400"):
        told.predict(SINE, exogenous=np.ones((400, 2)))
