"""Reports on series, on texts and on what writes texts for texts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from isthmus import (
    AnomalyDetector,
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    RNNEncoder,
    Seq2Seq,
    TransformerEncoder,
    VariationalAutoencoder,
)
from isthmus.errors import DataError, UnsupportedError
from isthmus.metrics import error_rate
from isthmus.report import Marked, Note, Picture, Section, Subject, Table, build_sections
from isthmus.report.blocks import short
from isthmus.report.lengths import by_length
from isthmus.report.plots import png, style
from isthmus.report.rows import at_most, padded
from isthmus.report.sections.alignments import _lines, alignments
from isthmus.report.sections.anomalies import anomalies
from isthmus.report.sections.latent import latent
from isthmus.report.sections.learning import learning
from isthmus.report.sections.texts import texts
from isthmus.report.texts import Texts, readable

SMALL = {"encoder": RNNEncoder(8), "latent_dim": 3, "max_epochs": 2, "random_state": 0}
TEXTS = ["the dog runs", "a man runs fast", "the man sleeps", "a dog sleeps here", "the cat"] * 8
WORDS = ["ab", "ba", "abb", "bab", "aabb", "babab"] * 8
ALWAYS = ["summary", "learning", "provenance"]


def waves(n: int = 30, width: int = 2, least: int = 3) -> list[np.ndarray]:
    """Sines of random phase and length, ``(T, width)`` each."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(least, 13, n)
    phases = generator.uniform(0, 6, (n, 1, width))
    return [10 + 5 * np.sin(0.4 * np.arange(T)[:, None] + phase) for T, phase in zip(lengths, phases, strict=True)]


def flat(rows: list[np.ndarray]) -> np.ndarray:
    return np.stack([row[:3, 0] for row in rows])


class Case(NamedTuple):
    model: Any
    X: Any
    y: Any
    keys: list[str]


def cases() -> dict[str, Case]:
    series, some = waves(), flat(waves())
    kinds, turned = np.array(["a", "b"] * 15), [word[::-1] for word in WORDS]
    writer = {"tokenizer": "char", "max_epochs": 2, "random_state": 0}
    vae, table = VariationalAutoencoder(**SMALL), ["series", "errors", "latent", "walk"]
    texts_vae = VariationalAutoencoder(**SMALL).fit(TEXTS)
    rnn = Seq2Seq(encoder=RNNEncoder(8, pool=None), **writer).fit(WORDS, turned)
    blind = Seq2Seq(encoder=TransformerEncoder(8, 2, 1), **writer).fit(WORDS, turned)
    by_place = {"encoder": TransformerEncoder(8, 2, 1), "bottleneck": "identity", "latent_dim": "auto"}
    places = Autoencoder(**SMALL | by_place)
    mended = DenoisingAutoencoder(**SMALL).fit(["teh dog", "a mna"] * 8, ["the dog", "a man"] * 8)
    told = [2 * one[:-1, :1] for one in series]
    pairs = Seq2Seq(encoder=RNNEncoder(8, pool=None), max_epochs=2, random_state=0).fit(series, told)
    pooled = Seq2Seq(encoder=RNNEncoder(8), max_epochs=2, random_state=0).fit(some, some[:, :1])
    return {
        "pairs": Case(pairs, series, told, ["series", "errors"]),
        "pooled": Case(pooled, some, some[:, :1], ["series", "errors", "latent"]),
        "series": Case(vae.fit(series), series, kinds, [*table, "posterior", "samples"]),
        "flat": Case(DenoisingAutoencoder(**SMALL).fit(some), some, None, [*table, "denoising"]),
        "contractive": Case(ContractiveAutoencoder(**SMALL).fit(series), series, None, [*table, "jacobian"]),
        "places": Case(places.fit(series), series, None, ["series", "errors"]),
        "texts": Case(texts_vae, TEXTS, None, ["texts", "errors", "latent", "walk", "posterior", "samples"]),
        "mended": Case(mended, ["teh dog", "a mna"], ["the dog", "a man"], ["texts", "errors", "walk"]),
        "writer": Case(rnn, WORDS, turned, ["texts", "errors", "alignments"]),
        "blind": Case(blind, WORDS, turned, ["texts", "errors"]),
        "alone": Case(rnn, WORDS[:6], None, ["texts", "alignments"]),
    }


@pytest.fixture(scope="module")
def reported():
    """Name to the case and its sections by key."""
    found = {}
    for name, case in cases().items():
        found[name] = case, {section.key: section for section in build_sections(Subject(case.model, case.X, case.y))}
    return found


def table_of(section: Section) -> Table:
    return next(block for block in section.blocks if isinstance(block, Table))


def picture_of(section: Section, name: str) -> Picture:
    return next(block for block in section.blocks if isinstance(block, Picture) and block.name == name)


def plain(cell: str | Marked) -> str:
    return cell if isinstance(cell, str) else "".join(text for text, _ in cell.pieces)


def test_every_section_that_applies_is_there_and_no_other(reported):
    for name, (case, sections) in reported.items():
        assert sorted(sections) == sorted([*ALWAYS, *case.keys]), name


# ---------------------------------------------------------------------- series


def test_the_figures_of_series_are_the_models(reported):
    case, sections = reported["series"]
    figures = {row[0]: row for row in table_of(sections["summary"]).rows}
    rebuilt, truth = (np.concatenate(rows) for rows in (case.model.reconstruct(case.X), case.X))
    left = np.square(rebuilt - truth)
    assert figures["rows shown"][2] == f"series of {min(map(len, case.X))} to {max(map(len, case.X))} steps"
    assert figures["variance explained"][1] == f"{100 * (1 - left.sum() / np.square(truth - truth.mean(0)).sum()):.1f}"
    assert figures["ELBO"][1] == short(case.model.elbo(case.X).mean())
    bars = picture_of(sections["errors"], "errors_by_column").figure.axes[0].patches
    np.testing.assert_allclose(
        sorted((bar.get_width() for bar in bars), reverse=True), np.sort(100 * left.mean(0) / truth.var(0))[::-1]
    )


def test_series_are_drawn_from_the_best_rebuilt_to_the_worst(reported):
    case, sections = reported["series"]
    figure = picture_of(sections["series"], "series").figure
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    errors = [np.sqrt(np.square(a - b).mean()) for a, b in zip(case.model.reconstruct(case.X), case.X, strict=True)]
    order = [int(title.split()[1].rstrip(",")) for title in titles]
    assert order[0] == np.argmin(errors)
    assert order[-1] == np.argmax(errors)
    lines = figure.axes[0].get_lines()
    scaled = (case.X[order[0]] - np.concatenate(case.X).mean(0)) / np.concatenate(case.X).std(0)
    np.testing.assert_allclose(lines[0].get_ydata(), scaled[:, 0], rtol=1e-5)
    assert png(figure, dpi=40).startswith(b"\x89PNG")


def test_series_of_one_length_have_their_error_at_every_step(reported):
    case, sections = reported["flat"]
    line = picture_of(sections["errors"], "errors_by_step").figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(
        line.get_ydata(), np.sqrt(np.square(case.model.reconstruct(case.X) - case.X).mean(0)), rtol=1e-5
    )


def test_the_mean_error_of_each_length_by_hand():
    with style():
        figure = by_length("name", np.array([3, 3, 5]), np.array([1.0, 2.0, 7.0]), "length", "error", "said").figure
    np.testing.assert_array_equal(figure.axes[0].get_lines()[0].get_xydata(), [[3, 1.5], [5, 7]])
    lengths = np.arange(100)
    with style():
        figure = by_length("name", lengths, 2.0 * lengths, "length", "error", "said").figure
    places = figure.axes[0].get_lines()[0].get_xydata()
    assert len(places) == 10
    np.testing.assert_allclose(places[:, 1], 2 * places[:, 0])


def test_codes_are_coloured_by_class_and_by_length(reported):
    case, sections = reported["series"]
    assert [block.name for block in sections["latent"].blocks] == ["latent", "latent_length"]
    assert "coloured by y" in sections["latent"].blocks[0].caption
    with style():
        alone = latent(Subject(case.model, case.X))
    assert "coloured by length" in alone.blocks[0].caption
    assert "coloured" not in reported["flat"][1]["latent"].blocks[0].caption  # all have one length


def test_clean_series_make_the_triplets(reported):
    case, _ = reported["flat"]
    subject = Subject(case.model, case.X + 1, case.X)
    assert subject.labels is None
    np.testing.assert_array_equal(subject.truth, case.X)
    keys = {section.key: section for section in build_sections(subject)}
    assert keys["denoising"].blocks[0].text.startswith("The damage is 1 units of X")


def test_a_detector_names_the_steps_that_speak_against_a_series():
    series = waves()
    series[4] = series[4] + 40
    detector = AnomalyDetector(Autoencoder(**SMALL), contamination=0.05).fit(series)
    with style():
        rows = table_of(anomalies(Subject(detector, series))).rows
    assert rows[0][0] == "4"
    assert rows[0][2].startswith("step ")
    assert ", channel " in rows[0][2]


def test_series_are_padded_at_their_ends():
    whole, mask = padded([np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]])])
    np.testing.assert_array_equal(whole, [[[1, 2], [0, 0]], [[3, 4], [5, 6]]])
    np.testing.assert_array_equal(mask, [[True, False], [True, True]])


# ---------------------------------------------------------------------- texts


def in_pieces(reference: list[str], found: list[str]) -> Texts:
    made = object.__new__(Texts)
    made.references, made.found = [reference], [found]
    return made


def test_wrong_and_missing_pieces_are_marked():
    made = in_pieces(["▁the", "▁dog", "▁runs", "▁home"], ["▁the", "▁cat", "▁home"])
    cell = made.marked(0)
    assert plain(cell) in ("the cat _ home", "the _ cat home")
    assert {text for text, wrong in cell.pieces if wrong} == {"cat", "_"}
    assert (made.distances[0], made.right[0], made.rates[0]) == (2, 2, 0.5)
    longer = in_pieces(["a"], ["a", "b"])
    assert longer.marked(0).pieces == [("a", False), ("b", True)]
    assert readable(["▁the", "▁dog"]) == "the dog"


def test_the_figures_of_texts_are_the_models(reported):
    case, sections = reported["texts"]
    figures = {row[0]: row for row in table_of(sections["summary"]).rows}
    rebuilt = case.model.reconstruct(TEXTS)
    rate = error_rate([text.split() for text in TEXTS], [text.split() for text in rebuilt])
    assert figures["piece error rate"][1] == short(100 * rate, 3)
    assert figures["rows shown"][2] == "texts of 2 to 4 pieces"
    listed = table_of(sections["texts"])
    assert listed.head == ["text", "rebuilt", "wrong pieces"]
    for text, written, wrong in listed.rows:
        missing = plain(written).split().count("_")
        assert rebuilt[TEXTS.index(plain(text))] == " ".join(word for word in plain(written).split() if word != "_")
        assert int(wrong.split()[0]) >= missing


def test_between_two_texts_there_are_others(reported):
    case, sections = reported["texts"]
    rows = table_of(sections["walk"]).rows
    assert [row[0] for row in (rows[0], rows[-1])] == ["0", "100"]
    assert set(map(plain, (rows[0][1], rows[-1][1]))) <= set(case.model.inverse_transform(case.model.transform(TEXTS)))
    assert [plain(row[0]) for row in table_of(sections["samples"]).rows] == case.model.sample(12, random_state=0)


def test_damaged_texts_are_held_against_the_clean_ones(reported):
    sections = reported["mended"][1]
    listed = table_of(sections["texts"])
    assert listed.head == ["damaged", "reference", "rebuilt", "wrong pieces"]
    assert {plain(row[1]) for row in listed.rows} == {"the dog", "a man"}


# ---------------------------------------------------------------------- texts for texts


def test_the_figures_of_written_texts_are_the_models(reported):
    case, sections = reported["writer"]
    figures = {row[0]: row for row in table_of(sections["summary"]).rows}
    assert figures["piece error rate"][1] == short(100 * error_rate(case.y, case.model.predict(case.X)), 3)
    nats = case.model.score_samples(case.X, case.y).sum() / sum(len(word) + 1 for word in case.y)
    assert figures["log p(reference | source)"][1] == short(nats)
    assert table_of(sections["texts"]).head == ["source", "reference", "written", "wrong pieces"]
    assert [block.name for block in sections["errors"].blocks[1:]] == ["error_rate", "log_probability"]
    assert table_of(reported["alone"][1]["texts"]).head == ["source", "written"]


def test_an_alignment_is_the_models_attention(reported):
    case, _ = reported["writer"]
    subject = Subject(case.model, ["abb"], ["bba"])
    subject.texts.found[0] = ["b", "b"]  # whatever it writes, long enough
    with style():
        panel = alignments(subject).blocks[1].figure.axes[0]
    weights, written, read = case.model.attention("abb")
    np.testing.assert_allclose(panel.get_images()[0].get_array(), weights)
    assert [label.get_text() for label in panel.get_xticklabels()] == read
    assert [label.get_text() for label in panel.get_yticklabels()] == written


def test_short_alignments_share_a_line():
    one = np.ones((2, 8)), ["a", "end"], list("abcdefgh")
    assert [len(line) for line in _lines([one] * 5)] == [2, 2, 1]


def test_the_page_marks_pieces_and_is_complete(reported, tmp_path):
    case, _ = reported["writer"]
    page = case.model.report(case.X, tmp_path / "page.html", case.y).read_text("utf-8")
    assert '<td class="text">' in page
    assert "<mark>" in page
    assert "<script" not in page
    assert "model.report(X, &quot;report.html&quot;, y)" in page
    assert page.count("<svg") == page.count("<figure")


def test_figures_of_validation_alone_have_a_curve(reported):
    case, _ = reported["writer"]
    subject = Subject(case.model, case.X, case.y)
    history = [row | {"val_bleu": 10.0 * row["epoch"]} for row in case.model.history_]
    subject.line = type(
        "Line", (), {"history_": history, "objective_": case.model.objective_, "get_params": lambda self, deep: {}}
    )()
    with style():
        picture = picture_of(learning(subject), "curve_val_bleu")
    np.testing.assert_array_equal(picture.figure.axes[0].get_lines()[0].get_xydata(), [[1, 10], [2, 20]])


def test_columns_of_frames_are_texts(reported):
    case, _ = reported["writer"]
    subject = Subject(case.model, pd.Series(WORDS), pd.Series(case.y))
    assert (subject.rows, subject.references) == (WORDS, case.y)


def test_many_texts_are_thinned():
    assert at_most(["a"] * 10_000) == 2000


# ---------------------------------------------------------------------- pairs of series


def test_what_is_written_is_held_against_the_targets(reported):
    case, sections = reported["pairs"]
    written = case.model.predict(case.X, lengths=[len(one) for one in case.y])
    rms = np.array([np.sqrt(np.square(one - target).mean()) for one, target in zip(written, case.y, strict=True)])
    figure = picture_of(sections["series"], "series").figure
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[0] == f"series {rms.argmin()}, RMS {short(rms.min(), 3)}"
    assert titles[-1].startswith(f"series {rms.argmax()}, RMS")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    source, target = panels[0].get_lines(), panels[3].get_lines()  # a row of sources, then a row of targets
    assert [len(line.get_ydata()) for line in source] == [len(case.X[rms.argmin()])] * 2
    np.testing.assert_allclose(target[0].get_ydata(), case.y[rms.argmin()][:, 0])
    np.testing.assert_allclose(target[1].get_ydata(), written[rms.argmin()][:, 0], rtol=1e-5)
    dots = picture_of(sections["errors"], "errors_by_length").figure.axes[0].collections[0].get_offsets()
    assert {length for length, _ in dots.tolist()} == {len(one) for one in case.y}
    figures = {row[0]: row for row in table_of(sections["summary"]).rows}
    left = np.concatenate(written) - np.concatenate(case.y)
    assert (
        figures["variance explained"][1] == f"{100 * (1 - np.square(left).mean() / np.concatenate(case.y).var()):.1f}"
    )
    assert "units of y" in figures["error of one number"][2]


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("name", "y", "complaint"),
    [
        ("writer", WORDS[1:], "y must hold the reference texts, one for each of the 48 of X, got 47"),
        ("writer", [1] * 48, r"y\[0\] must be a text, got int"),
        ("series", [1, 2], r"y must be labels of shape \(30,\)"),
        ("series", waves(29), r"y must be labels of shape \(30,\) or the clean rows"),
        ("series", waves(width=3), r"y must be labels of shape \(30,\) or the clean rows"),
        ("texts", ["a"], r"y must be labels of shape \(40,\)"),
        ("texts", 5, r"y must be labels of shape \(40,\)"),
        ("pairs", None, "y must be the target series, one a source"),
        ("pairs", waves(29), "y must hold the target series, one for each of the 30 of X, got 29"),
        ("pairs", waves(), r"y\[0\] must be as wide as the targets of training; .* \(T, 1\) and \(T, 2\)"),
        ("pairs", ["a"] * 30, r"y\[0\] must be a series of numbers"),
    ],
)
def test_a_y_that_goes_with_nothing(reported, tmp_path, name, y, complaint):
    case, _ = reported[name]
    with pytest.raises(DataError, match=complaint):
        case.model.report(case.X, tmp_path / "page.html", y)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "X", "complaint"),
    [
        ("series", ["abc"], r"X\[0\] must be a series of numbers"),
        ("series", 5, "X must be a list of series"),
        ("texts", [5], r"X\[0\] must be a text"),
        ("writer", [], "X must hold at least one row"),
    ],
)
def test_an_x_of_another_kind(reported, name, X, complaint):
    with pytest.raises(DataError, match=complaint):
        Subject(reported[name][0].model, X)


def test_without_references_nothing_is_called_wrong(reported):
    case, _ = reported["alone"]
    section = texts(Subject(case.model, case.X))
    assert "nothing says what is wrong" in next(block for block in section.blocks if isinstance(block, Note)).text
    assert not any(wrong for row in table_of(section).rows for _, wrong in row[1].pieces)


def test_windows_of_a_detector_and_mixed_pairs_have_no_page_yet(tmp_path):
    series = np.sin(0.3 * np.arange(120))
    detector = AnomalyDetector(Autoencoder(**SMALL), window=8).fit(series)
    with pytest.raises(UnsupportedError, match="no page for a detector of windows"):
        detector.report(series, tmp_path / "page.html")
    mixed = Seq2Seq(encoder=RNNEncoder(8), tokenizer="word", max_epochs=1, random_state=0).fit(waves(), ["a", "b"] * 15)
    with pytest.raises(UnsupportedError, match="no page for a model from series to texts"):
        mixed.report(waves(), tmp_path / "page.html", ["a", "b"] * 15)
