"""Reports on models that forecast."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import MLPEncoder, Seq2Seq
from isthmus.errors import DataError
from isthmus.report import Note, Picture, Subject, Table, build_sections
from isthmus.report.forecasts import MOST, STRETCH, Forecasts
from isthmus.report.sections.forecasts import forecasts

WAVE = 10 + np.sin(np.arange(300) / 5) + 0.1 * np.random.default_rng(0).normal(size=300)
KNOWN = np.arange(300.0) % 7


def small(**arguments):
    given = {"window": 20, "horizon": 6, "encoder": MLPEncoder((16,)), "max_epochs": 3, "random_state": 0}
    return Seq2Seq(**given | arguments)


@pytest.fixture(scope="module")
def plain():
    return small().fit(WAVE[:240])


def pictures(section):
    return {block.name: block for block in section.blocks if isinstance(block, Picture)}


def test_the_page_of_a_forecaster(plain, tmp_path):
    keys = [section.key for section in build_sections(Subject(plain, WAVE))]
    assert keys == ["summary", "learning", "forecasts", "provenance"]
    before = plain.predict_interval(WAVE)
    text = plain.report(WAVE, tmp_path / "page.html").read_text("utf-8")
    assert "20 steps read, 6 forecast" in text
    np.testing.assert_array_equal(before, plain.predict_interval(WAVE))
    again = plain.report(WAVE, tmp_path / "again.html").read_text("utf-8")
    assert text == again


def test_the_figures_are_those_of_a_backtest(plain):
    section = forecasts(Subject(plain, WAVE))
    found = plain.backtest(WAVE, start=24, step=6)  # every sixth origin up to 294, counted from the end
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert table.rows[0][1] == f"{np.abs(found.forecasts - found.truth).mean():.4g}"
    naive = np.repeat(WAVE[np.arange(23, 294, 6)][:, None], 6, 1)
    assert table.rows[1][1] == f"{np.abs(naive - found.truth).mean():.4g}"
    assert "From 46 origins, 6 steps ahead" in next(block for block in section.blocks if isinstance(block, Note)).text
    lines = pictures(section)["errors_by_step"].figure.axes[0].get_lines()
    wanted = np.sqrt(np.square(found.forecasts - found.truth).mean(0))
    np.testing.assert_allclose(lines[1].get_ydata(), wanted, rtol=1e-5)
    held = pictures(section)["coverage"].figure.axes[0].get_lines()[1].get_ydata()
    ends = [plain.predict_interval(WAVE[:origin]) for origin in range(24, 295, 6)]
    inside = [(end.lower <= truth) & (truth <= end.upper) for end, truth in zip(ends, found.truth, strict=True)]
    np.testing.assert_allclose(held, 100 * np.mean(inside, 0))


def test_pictures_show_what_came_and_what_was_forecast(plain):
    drawn = pictures(forecasts(Subject(plain, WAVE)))
    came, *others = drawn["forecasts"].figure.axes[0].get_lines()
    np.testing.assert_array_equal(came.get_ydata(), WAVE[240:])  # two horizons of window and eight forecasts
    said = [line for line in others if len(line.get_ydata()) == 6]
    assert len(said) == 8
    np.testing.assert_allclose(said[-1].get_ydata(), plain.predict(WAVE[:294]), rtol=1e-5)
    titles = [axes.get_title() for axes in drawn["examples"].figure.axes if axes.get_visible()]
    errors = [float(title.rsplit(" ", 1)[1]) for title in titles]
    assert errors == sorted(errors)
    assert len(titles) == 6
    assert len(drawn["residuals"].figure.axes[0].collections[0].get_offsets()) == 46 * 6


def test_dates_channels_series_and_what_is_known():
    pd = pytest.importorskip("pandas")
    days = pd.date_range("2024-01-01", periods=300, freq="D")
    frames = [pd.DataFrame({"a": WAVE, "b": 5 * WAVE}, days)[:200], pd.DataFrame({"a": WAVE, "b": 5 * WAVE}, days)]
    model = small(horizon=3, loss="gaussian_nll").fit(frames, exogenous=[KNOWN[:200], KNOWN])
    subject = Subject(model, frames, [KNOWN[:200], KNOWN])
    drawn = pictures(forecasts(subject))
    (first,) = drawn["forecasts"].figure.axes[0].get_lines()[0].get_xdata()[:1]
    assert pd.Timestamp(first) == days[300 - 8 * 3 - 6]
    assert "of series 1, channel b" in drawn["forecasts"].caption
    assert drawn["examples"].figure.axes[0].get_title().startswith("series ")
    found = Forecasts(subject)
    assert MOST <= len(found.truth) <= MOST + STRETCH  # of 60 and 93
    assert np.isfinite(found.lower).all()
    alone = model.predict(frames[1][:297], exogenous=KNOWN)
    np.testing.assert_allclose(found.forecast[-1], alone.to_numpy(), rtol=1e-5)


def test_one_step_and_no_interval():
    model = small(horizon=1, validation_fraction=0).fit(WAVE)
    section = forecasts(Subject(model, WAVE[:60]))
    assert sorted(pictures(section)) == ["examples", "forecasts", "residuals"]
    assert next(block for block in section.blocks if isinstance(block, Table)).rows[0][3] == "–"


@pytest.mark.parametrize(
    ("X", "y", "complaint"),
    [
        (WAVE[:25], None, "X must have at least window \\+ horizon = 26 steps"),
        (np.ones((50, 2)), None, "X must be a series"),
        (WAVE, KNOWN, "exogenous must be left out"),
        ([], None, "X must hold at least one series"),
    ],
)
def test_refused_by_name(plain, X, y, complaint, tmp_path):
    with pytest.raises(DataError, match=complaint):
        plain.report(X, tmp_path / "page.html", y)
    assert not list(tmp_path.iterdir())


def test_what_is_known_must_be_given(tmp_path):
    model = small().fit(WAVE, exogenous=KNOWN)
    with pytest.raises(DataError, match="exogenous must be given"):
        model.report(WAVE, tmp_path / "page.html")
