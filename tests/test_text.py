"""Tokenizers: what comes back, what is unknown, what is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from isthmus.errors import DataError, ParameterError
from isthmus.text import TextTokenizer, Tokenizer, texts_of

TEXTS = ["Two men stand, talking.", "A man's dog runs!", "two  dogs (big ones) stand", "", "Straße – né 3.14"]


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_text_comes_back(kind):
    tokenizer = TextTokenizer(kind).fit(TEXTS)
    assert isinstance(tokenizer, Tokenizer)
    ids = tokenizer.encode(TEXTS)
    assert tokenizer.decode(ids) == TEXTS
    assert ids[3] == []
    assert all(0 < number < tokenizer.vocabulary_size for row in ids for number in row)
    assert tokenizer.decode([]) == []
    assert "".join(tokenizer.symbols(ids[0])).strip("▁").replace("▁", " ") == TEXTS[0]


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=30), min_size=1, max_size=5)
)
def test_any_text_comes_back(kind, texts):
    tokenizer = TextTokenizer(kind).fit([*texts, "  a  b "])
    assert tokenizer.decode(tokenizer.encode([*texts, "  a  b "])) == [*texts, "  a  b "]


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_the_unknown_is_zero_and_left_out(kind):
    tokenizer = TextTokenizer(kind).fit(["a b"])
    (ids,) = tokenizer.encode(["a ☃"])
    assert 0 in ids
    assert "☃" not in tokenizer.decode([ids])[0]


def test_sizes_and_cases():
    assert TextTokenizer("bpe", 40).fit(TEXTS).vocabulary_size <= 60  # never fewer than the characters
    assert TextTokenizer("word", 5).fit(TEXTS).vocabulary_size == 5
    tokenizer = TextTokenizer("word", lower=True).fit(TEXTS)
    assert tokenizer.decode(tokenizer.encode(["TWO Men"])) == ["two men"]


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_kept_as_data_and_the_same_each_time(kind):
    tokenizer = TextTokenizer(kind, lower=True).fit(TEXTS)
    again = TextTokenizer.from_json(tokenizer.to_json())
    assert again.encode(TEXTS) == tokenizer.encode(TEXTS)
    assert TextTokenizer(kind, lower=True).fit(TEXTS).to_json() == tokenizer.to_json()


def test_bad_texts_are_named():
    with pytest.raises(ParameterError, match=r"tokenizer must be one of .*got 'letters'"):
        TextTokenizer("letters")
    with pytest.raises(DataError, match=r"X\[1\] must be a text, got float"):
        texts_of(["a", float("nan")], "X")
    with pytest.raises(DataError, match="X must be a list of texts, got str"):
        texts_of("abc", "X")
