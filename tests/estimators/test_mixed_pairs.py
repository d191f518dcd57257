"""Seq2Seq from one kind to the other: series to texts, and texts to series."""

from __future__ import annotations

import numpy as np
import pytest

import isthmus
from isthmus import RNNEncoder, Seq2Seq, TransformerDecoder, TransformerEncoder
from isthmus.errors import DataError, IsthmusError, ParameterError, UnsupportedError

SOUNDS = dict(zip("abc", np.eye(3) * 2, strict=True))


def words(n, seed=0):
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(list("abc"), generator.integers(1, 5))) for _ in range(n)]


def spoken(words, seed=0):
    """Every letter for two or three steps, and silence after it, so that what is said twice can be told apart."""
    generator = np.random.default_rng(seed)
    said = [np.concatenate([[SOUNDS[c]] * generator.integers(2, 4) + [np.zeros(3)] for c in word]) for word in words]
    return [one + 0.1 * generator.normal(size=one.shape) for one in said]


def small(**arguments):
    given = {"encoder": RNNEncoder(32, pool=None), "tokenizer": "char", "max_epochs": 1, "random_state": 0}
    return Seq2Seq(**given | arguments)


WORDS = words(300)
SERIES = spoken(WORDS)
ENCODERS = [RNNEncoder(8, pool=None), RNNEncoder(8), TransformerEncoder(8, 2, 1)]


def test_series_are_transcribed():
    model = small(max_epochs=20, learning_rate=1e-2, validation_metrics=["error_rate"], monitor="val_error_rate")
    held = words(60, 1)
    sounds = spoken(held, 1)
    model.fit(SERIES, WORDS, validation_data=(sounds, held))
    found = model.predict(sounds)
    wrong = isthmus.metrics.error_rate(held, found)
    assert wrong < 0.15
    assert min(row["val_error_rate"] for row in model.history_) == pytest.approx(wrong)  # held-out rows scaled once
    assert model.score(sounds, held) > model.score(sounds, held[::-1])
    best = model.predict(sounds[:3], beam_size=3, n_best=2)
    assert [len(row) for row in best] == [2] * 3


def test_texts_are_spoken():
    """The steps of a text written at once: with what is silent and what is not, better than the mean of all."""
    model = small(encoder=RNNEncoder(32), max_epochs=20, learning_rate=1e-2).fit(WORDS, SERIES)
    lengths = [len(one) for one in SERIES[:50]]
    found = model.predict(WORDS[:50], lengths=lengths)
    assert [one.shape for one in found] == [(length, 3) for length in lengths]
    found, truth = np.concatenate(found), np.concatenate(SERIES[:50])
    assert np.square(found - truth).mean() < 0.6 * truth.var()
    assert model.predict(["ab"]).shape == (1, model.max_length_, 3)


@pytest.mark.parametrize("encoder", ENCODERS, ids=["attention", "at once", "transformer"])
@pytest.mark.parametrize("spoken_first", [True, False])
def test_kept(encoder, spoken_first, tmp_path):
    X, y = (SERIES, WORDS) if spoken_first else (WORDS, SERIES)
    model = small(encoder=encoder).fit(X[:60], y[:60])
    model.save(tmp_path / "model")
    again = isthmus.load(tmp_path / "model")
    for mine, loaded in zip(model.predict(X[:5]), again.predict(X[:5]), strict=True):
        np.testing.assert_array_equal(mine, loaded)
    np.testing.assert_array_equal(again.score_samples(X[:5], y[:5]), model.score_samples(X[:5], y[:5]))
    assert len(model.transform(X[:3])) == 3
    further = again.partial_fit(X[60:90], y[60:90])
    assert further.n_iter_ == 2
    with pytest.raises(UnsupportedError, match=f"goes from {model._layout}"):
        model.export(tmp_path / "model.onnx")
    with pytest.raises(UnsupportedError, match="attention shows pieces of texts for texts"):
        model.attention("ab")


def test_labels_of_series_are_texts():
    rising = [np.arange(n) * (1.0 if n % 2 else -1.0) for n in range(3, 63)]
    labels = ["up" if len(one) % 2 else "down" for one in rising]
    model = small(tokenizer="word", max_epochs=20, learning_rate=1e-2).fit(rising, np.array(labels))
    found = model.predict(rising)
    assert np.mean([one == label for one, label in zip(found, labels, strict=True)]) > 0.9


def test_a_table_of_numbers_is_a_row_a_series():
    rows = np.random.default_rng(0).normal(size=(20, 5))
    table = pytest.importorskip("pandas").DataFrame(rows)
    assert small(max_epochs=1).fit(table, table).predict(table).shape == (20, 5)


def test_a_column_of_series():
    column = np.empty(60, dtype=object)
    column[:] = SERIES[:60]
    one, other = small().fit(column, WORDS[:60]), small().fit(SERIES[:60], WORDS[:60])
    assert one.predict(column) == other.predict(SERIES[:60])


REFUSED = {
    "numbers": (lambda: small().fit(SERIES, np.arange(300)), "y must hold a text or a series a source, got numbers"),
    "numbers in a list": (lambda: small().fit(WORDS, [1.0] * 300), r"np.reshape\(y, \(-1, 1\)\) are one step each"),
    "numbers as sources": (
        lambda: small().fit(np.arange(300), WORDS),
        r"X must hold a text or a series a source.*list\(map\(str, X\)\) texts",
    ),
    "lists of words": (
        lambda: small().fit([["a", "b"], ["c"]], ["a", "b"]),
        r"X\[0\] must be numbers or one text.*' '.join",
    ),
    "bytes": (lambda: small().fit([b"a", b"b"], WORDS[:2]), r"X\[0\] must be a text, got bytes: b'a'"),
    "bytes in an array": (lambda: small().fit(SERIES[:2], np.array([b"a", b"b"])), r"y\[0\] must be a text, got bytes"),
    "a table of texts": (
        lambda: small().fit(pytest.importorskip("pandas").DataFrame({"said": WORDS}), WORDS),
        r"X must be a list of texts or one column of them, got a table: X\['said'\]",
    ),
    "too few texts": (lambda: small().fit(SERIES, WORDS[1:]), "y must have a text for each of the 300 of X, got 299"),
    "too few series": (lambda: small().fit(WORDS, SERIES[1:]), "y must have a series for each of the 300 of X"),
    "no targets": (lambda: small().fit(SERIES), "y must be the target series"),
    "some of each": (lambda: small().fit([*WORDS[:2], SERIES[0]], WORDS[:3]), r"X\[2\] must be a text, got ndarray"),
    "all empty": (lambda: small().fit(SERIES, [""] * 300), "y must not hold empty texts alone"),
    "at once": (
        lambda: small(encoder=ENCODERS[2], decoder=TransformerDecoder(8, 2, 1)).fit(WORDS, SERIES),
        "decoder must have autoregressive=True",
    ),
    "half a pair": (lambda: small().fit(SERIES[:2], ["a", "\ud800"]), r"y\[1\] must be a text that UTF-8 can hold"),
    "an mlp": (lambda: small(encoder="mlp").fit(SERIES, WORDS), "encoder must read sequences"),
    "metrics": (
        lambda: small(validation_metrics=["bleu"]).fit(WORDS, SERIES),
        "validation_metrics is for targets of t",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_training(case):
    attempt, message = REFUSED[case]
    with pytest.raises((DataError, ParameterError), match=message):
        attempt()


@pytest.fixture(scope="module")
def writer():
    return small().fit(SERIES[:60], WORDS[:60])


AFTER = {
    "texts": (lambda model: model.predict(WORDS), r"X\[0\] must hold numbers"),
    "width": (lambda model: model.predict([np.ones((4, 2))]), r"X must hold series of shape \(T, 3\)"),
    "lengths": (lambda model: model.predict(SERIES, lengths=3), "lengths is for series"),
    "targets": (lambda model: model.score(SERIES, SERIES), r"y\[0\] must be a text"),
    "other kinds": (lambda model: model.partial_fit(WORDS, SERIES), r"X\[0\] must hold numbers"),
}


@pytest.mark.parametrize("case", AFTER)
def test_refused_after_training(case, writer):
    attempt, message = AFTER[case]
    with pytest.raises(IsthmusError, match=message):
        attempt(writer)
