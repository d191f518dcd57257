"""Seq2Seq on words turned round, which a model with attention learns in seconds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch.nn import functional as F

import isthmus
from isthmus.decoders import RNNDecoder
from isthmus.encoders import MLPEncoder, RNNEncoder, TransformerEncoder
from isthmus.errors import DataError, FileError, IsthmusError, ParameterError, UnsupportedError
from isthmus.estimators import Seq2Seq
from isthmus.types import Batch

SMALL = TransformerEncoder(32, 2, 1, dropout=0.0)


def words(n, seed=0):
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(list("abcde"), generator.integers(1, 8))) for _ in range(n)]


TRAIN, TEST = words(600), words(60, seed=1)
TURNED = [word[::-1] for word in TRAIN]


def small(**arguments):
    return Seq2Seq(
        **{"encoder": RNNEncoder(32, pool=None), "tokenizer": "char", "max_epochs": 2, "random_state": 0} | arguments
    )


@pytest.fixture(scope="module")
def fitted():
    return small(max_epochs=25, learning_rate=5e-3, patience=None).fit(TRAIN, TURNED)


def test_learns_to_turn_words_round(fitted):
    for beam_size in (1, 4):
        found = fitted.predict(TEST, beam_size=beam_size)
        right = sum(a == b[::-1] for a, b in zip(found, TEST, strict=True))
        assert right >= 50, found
    assert fitted.score(TEST, [word[::-1] for word in TEST]) > fitted.score(TEST, TEST[::-1])


def test_alone_or_among_others_the_same(fitted):
    together = fitted.predict(TEST, beam_size=3)
    assert [fitted.predict([word], beam_size=3)[0] for word in TEST[:8]] == together[:8]
    scores = fitted.score_samples(TEST, TEST)
    np.testing.assert_allclose([fitted.score_samples([w], [w])[0] for w in TEST[:8]], scores[:8], rtol=1e-5)


def test_score_is_the_probability_of_the_target(fitted):
    """Counted out piece by piece through the decoder's steps, the end included."""
    source, target = "abc", "cb"
    (ids,) = fitted.target_tokenizer_.encode([target])
    x = torch.tensor(fitted.source_tokenizer_.encode([source]))
    model = fitted.module_
    end = fitted.target_tokenizer_.vocabulary_size
    with torch.no_grad():
        state = model.decoder.start(model.encode(Batch(x), noise=torch.zeros_like)[2])
        total, previous = 0.0, end + 1
        for number in [*ids, end]:
            logits, state = model.decoder.step(torch.tensor([previous]), state)
            total += float(F.log_softmax(logits.double(), -1)[0, number])
            previous = number
    assert fitted.score_samples([source], [target])[0] == pytest.approx(total, abs=1e-4)


def test_best_of_several(fitted):
    found = fitted.predict(TEST[:5], beam_size=4, n_best=3)
    assert [len(set(row)) for row in found] == [3] * 5
    assert [row[0] for row in found] == fitted.predict(TEST[:5], beam_size=4)


def test_draws_are_the_seeds(fitted):
    one, same, other = (fitted.predict(TEST, temperature=2.0, random_state=seed) for seed in (0, 0, 1))
    assert one == same != other
    assert fitted.predict(TEST, temperature=1.0, top_k=1) == fitted.predict(TEST)


def test_longest(fitted):
    assert fitted.max_length_ == max(map(len, TURNED))
    assert all(len(text) <= 2 for text in fitted.predict(TEST, max_length=2))


def test_empty_targets():
    """A batch of which no target has a piece is told where they end, and nothing else."""
    model = small().fit(["a", "b"] * 30, ["", "b"] * 30)
    assert len(model.predict(["a", "b"])) == 2
    assert model.score_samples(["a", "b"], ["", ""]).shape == (2,)


def test_texts_in_any_kind_of_column(fitted):
    pd = pytest.importorskip("pandas")
    wanted = fitted.predict(TEST[:5])
    for kind in (tuple, np.array, pd.Series, lambda texts: np.array(texts, dtype=object)):
        assert fitted.predict(kind(TEST[:5])) == wanted
    one, other = small().fit(tuple(TRAIN), tuple(TURNED)), small().fit(TRAIN, TURNED)
    assert one.predict(TEST) == other.predict(TEST)


def test_the_empty_and_the_unknown(fitted):
    empty, unknown = fitted.predict(["", "☃"])
    assert empty == unknown
    assert "☃" not in unknown


def test_attention_looks_from_the_end_to_the_beginning(fitted):
    weights, target, source = fitted.attention("abcde", "edcba")
    assert weights.shape == (6, 5)
    assert (target, source) == ([*"edcba", "end"], [*"abcde"])
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)


def test_codes(fitted):
    codes = fitted.transform(TEST[:3])
    assert [code.shape for code in codes] == [(len(word), 64) for word in TEST[:3]]
    pooled = small(encoder=RNNEncoder(16)).fit(TRAIN, TURNED)
    assert pooled.transform(TEST[:3]).shape == (3, 32)
    assert pooled.module_.decoder.attention is None
    assert len(pooled.predict(TEST[:3])) == 3


@pytest.mark.parametrize("encoder", [SMALL, RNNEncoder(16, cell="lstm", pool=None)], ids=["transformer", "lstm"])
@pytest.mark.parametrize("tokenizer", ["bpe", "word", ("char", "word")], ids=str)
def test_kept(tmp_path, encoder, tokenizer):
    model = small(encoder=encoder, tokenizer=tokenizer, batch_tokens=200).fit(TRAIN, TURNED)
    model.save(tmp_path / "model")
    again = isthmus.load(tmp_path / "model")
    assert again.predict(TEST, beam_size=2) == model.predict(TEST, beam_size=2)
    np.testing.assert_array_equal(again.score_samples(TEST, TEST), model.score_samples(TEST, TEST))


def test_the_same_weights_from_the_same_seed():
    one, same = (small().fit(TRAIN, TURNED).module_.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], same[name]) for name in one)


def test_a_decoder_of_ones_own():
    model = small(decoder=RNNDecoder(24, attention="dot", input_feeding=True)).fit(TRAIN[:100], TURNED[:100])
    assert model.module_.decoder.attention == "dot"
    assert clone(model).get_params()["encoder__hidden_size"] == 32


class Letters:
    """A tokenizer of one's own."""

    vocabulary_size = 27

    def encode(self, texts):
        return [[ord(letter) - 96 for letter in text] for text in texts]

    def decode(self, ids):
        return ["".join(chr(number + 96) for number in row) for row in ids]


def test_a_tokenizer_of_ones_own(tmp_path):
    model = small(tokenizer=Letters()).fit(TRAIN, TURNED)
    assert set("".join(model.predict(TEST))) <= set("abcdefghijklmnopqrstuvwxyz")
    assert model.attention("abc")[2] == ["a", "b", "c"]
    with pytest.raises(FileError, match="Letters"):
        model.save(tmp_path / "model")


@pytest.mark.parametrize(
    ("ids", "size", "complaint"),
    [
        ([[27]] * 2, 27, "from 0 to 26, a list a text, got 27 to 27"),
        ([[-1]] * 2, 27, "got -1 to -1"),
        ([[1.5]] * 2, 27, "got 1.5"),
        ([["a"]] * 2, 27, "got 'a'"),
        ([[[1], [2]]] * 2, 27, r"got \[1\]"),
        ([[1]], 27, "got 1 lists of 2 texts"),
        (None, 27, "tokenizer must give whole numbers from 0 to 26"),
        ([[1]] * 2, "27", "as vocabulary_size a whole number of at least 1, got '27'"),
        ([[1]] * 2, 0, "at least 1, got 0"),
    ],
)
def test_a_tokenizer_that_gives_something_else_is_refused(ids, size, complaint, monkeypatch):
    monkeypatch.setattr(Letters, "encode", lambda self, texts: ids)
    monkeypatch.setattr(Letters, "vocabulary_size", size)
    with pytest.raises(ParameterError, match=complaint):
        small(tokenizer=Letters()).fit(["a", "b"], ["b", "a"])


def test_validation_data_and_weights():
    model = small(patience=1).fit(TRAIN, TURNED, validation_data=(TEST, TEST), sample_weight=np.ones(len(TRAIN)))
    assert "val_loss" in model.history_[0]


@pytest.mark.parametrize(
    ("arguments", "data", "kind", "complaint"),
    [
        ({}, (TRAIN, None), DataError, "y must be the target texts"),
        ({}, (TRAIN, TURNED[1:]), DataError, "y must have a text for each of the 600 of X, got 599"),
        ({}, (TRAIN[:1], TURNED[:1]), DataError, "X must hold at least 2 texts, got 1"),
        ({}, ([*TRAIN[:3], None], TURNED[:4]), DataError, r"X\[3\] must be a text, got NoneType"),
        ({}, (TRAIN[:3], [1, 2, 3]), DataError, "y must hold a text or a series a source, got numbers"),
        ({}, (TRAIN[:3], [*TURNED[:2], 3]), DataError, r"y\[2\] must be a text, got int"),
        ({}, ("abc", TURNED), DataError, "X must be a list of texts, or a path, got one text, 'abc'"),
        ({}, (TRAIN, "abc"), DataError, "y must be a list of texts, or a path, got one text, 'abc'"),
        ({}, (["a", "b"], ["", ""]), DataError, "y must not hold empty texts alone"),
        ({"tokenizer": "letters"}, (TRAIN, TURNED), ParameterError, "tokenizer must be"),
        ({"tokenizer": 5}, (TRAIN, TURNED), ParameterError, "tokenizer must be"),
        ({"tokenizer": ("char",)}, (TRAIN, TURNED), ParameterError, "tokenizer must be one or a pair"),
        ({"vocabulary_size": 1}, (TRAIN, TURNED), ParameterError, "vocabulary_size must be"),
        ({"batch_tokens": 0}, (TRAIN, TURNED), ParameterError, "batch_tokens must be"),
        ({"max_length": 0}, (TRAIN, TURNED), ParameterError, "max_length must be"),
        ({"encoder": MLPEncoder()}, (TRAIN, TURNED), ParameterError, "encoder must read sequences"),
        ({"compile": "replay"}, (TRAIN, TURNED), ParameterError, "compile must be 'auto' or False"),
    ],
)
def test_refused_before_training(arguments, data, kind, complaint):
    model = small(**arguments)
    with pytest.raises(kind, match=complaint):
        model.fit(*data)
    assert not hasattr(model, "history_")


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda model: model.predict(TEST, beam_size=0), "beam_size must be"),
        (lambda model: model.predict(TEST, beam_size=2, n_best=3), "n_best must be at most beam_size, 2, got 3"),
        (lambda model: model.predict(TEST, beam_size=2, temperature=1.0), "beam_size must be 1"),
        (lambda model: model.predict(TEST, temperature=0), "temperature must be"),
        (lambda model: model.predict(TEST, top_p=2.0), "top_p must be"),
        (lambda model: model.predict(TEST, beam_size=2, length_penalty=1e6), r"length_penalty must be a number in \[0"),
        (lambda model: model.predict(TEST, top_k=2), "temperature must be given with top_k=2"),
        (lambda model: model.predict(TEST, lengths=2), "lengths is for series"),
        (lambda model: model.predict([1.0, 2.0]), r"X\[0\] must be a text, got float"),
        (lambda model: model.score_samples([], []), "X must hold at least one text, got none"),
        (lambda model: model.score_samples(TEST, TEST[1:]), "y must have a text for each of the 60 of X, got 59"),
        (lambda model: model.attention(["abc"]), "source must be one text, got list"),
        (lambda model: model.attention("abc", 5), "target must be one text, got int"),
        (lambda model: model.predict([]), "X must hold at least one text"),
        (lambda model: model.predict("abc"), "X must be a list of texts, or a path, got one text, 'abc'"),
        (lambda model: model.score_samples(TEST), "y must be the target texts"),
        (lambda model: model.reconstruct(TEST), "reconstruct needs an autoencoder"),
        (lambda model: model.inverse_transform(TEST), "inverse_transform needs an autoencoder"),
        (lambda model: model.sample(2), "sample needs an autoencoder"),
    ],
)
def test_refused_after_training(fitted, call, complaint):
    with pytest.raises(IsthmusError, match=complaint):
        call(fitted)


def test_a_code_a_piece_is_no_frame():
    pytest.importorskip("pandas")
    for model, data in (
        (small(), (TRAIN[:60], TURNED[:60])),
        (isthmus.Autoencoder(encoder=RNNEncoder(8, pool=None), max_epochs=1), (TRAIN[:60],)),
    ):
        model.set_output(transform="pandas").fit(*data)
        with pytest.raises(UnsupportedError, match="set_output needs codes that are vectors"):
            model.transform(TRAIN[:2])


def test_unfitted():
    with pytest.raises(NotFittedError):
        small().predict(TEST)
    with pytest.raises(UnsupportedError, match="attention"):
        small(encoder=SMALL).fit(TRAIN[:60], TURNED[:60]).attention("abc")


def test_validation_by_what_is_written():
    """The figures are those of `predict` on the same words; the best epoch is the best by the one monitored."""
    held = (TEST, [word[::-1] for word in TEST])
    metrics = ["error_rate", "text_error", "bleu"]
    model = small(
        max_epochs=6, learning_rate=5e-3, validation_metrics=metrics, monitor="val_text_error", callbacks=[]
    ).fit(TRAIN, TURNED, validation_data=held)
    best = min(model.history_, key=lambda row: row["val_text_error"])
    found = model.predict(TEST)
    wrong = sum(one != other for one, other in zip(found, held[1], strict=True)) / len(TEST)
    assert best["val_text_error"] == wrong < 1
    np.testing.assert_allclose(best["val_error_rate"], isthmus.metrics.error_rate(held[1], found))
    assert 0 <= best["val_bleu"] <= 100
    plain = small(max_epochs=6, learning_rate=5e-3).fit(TRAIN, TURNED, validation_data=held)
    losses = [row["val_loss"] for row in model.history_], [row["val_loss"] for row in plain.history_]
    assert losses[0] == losses[1]  # to write changes nothing in training


def test_more_bleu_is_better():
    texts = [" ".join(word) for word in TRAIN]
    model = small(
        tokenizer="word", max_epochs=4, learning_rate=5e-3, validation_metrics=["bleu"], monitor="val_bleu"
    ).fit(texts, texts)
    best = max(row["val_bleu"] for row in model.history_)
    again = [row for row in model.history_ if row["val_bleu"] == best]
    assert again[0]["val_bleu"] > model.history_[0]["val_bleu"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation_metrics": ["rouge"]}, "validation_metrics must be a list of error_rate, text_error, bleu"),
        ({"validation_metrics": "bleu"}, "validation_metrics must be a list"),
        ({"monitor": "val_bleu"}, "monitor must be one of"),
        (
            {"monitor": "val_bleu", "validation_metrics": ["bleu"], "validation_fraction": 0.0},
            "got 'val_bleu'; no rows were held out, see validation_data",
        ),
    ],
)
def test_metrics_refused_by_name(arguments, message):
    with pytest.raises(ParameterError, match=message):
        small(**arguments).fit(TRAIN, TURNED)
