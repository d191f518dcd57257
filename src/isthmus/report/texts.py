"""Texts in pieces: those given, those asked for, those written, and how far apart the last two are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import metrics
from isthmus.report.blocks import Marked

if TYPE_CHECKING:
    from isthmus.report.subject import Subject

__all__ = ["Texts", "pieces_of", "readable"]

MISSING = "_"
"""Stands where a piece of the reference has none beside it."""


class Texts:
    """Pieces of every text, from one pass over the rows.

    A model that writes texts for texts is held against the references given; any other against the texts
    themselves, or the clean ones.

    Parameters
    ----------
    subject : Subject
        Of layout "texts".

    Attributes
    ----------
    sources, found : list of list of str
        Pieces of what the model read and of what it wrote.
    wanted : list of str or None
        What it should have written, as given; ``references`` in pieces.
    """

    def __init__(self, subject: Subject) -> None:
        line, rows = subject.line, subject.rows
        reads, writes = (
            (line.source_tokenizer_, line.target_tokenizer_) if subject.writes else (line.tokenizer_, line.tokenizer_)
        )
        self.given = rows
        self.wanted = subject.references if subject.writes or subject.references is not None else rows
        self.sources = pieces_of(reads, rows)
        self.found = pieces_of(writes, line.predict(rows) if subject.writes else line.reconstruct(rows))
        self.references = None if self.wanted is None else pieces_of(writes, self.wanted)

    @cached_property
    def edits(self) -> list[list[tuple[int | None, int | None]]]:
        """A shortest way from each reference to what was written: see `metrics.edits`."""
        assert self.references is not None
        return [metrics.edits(*pair) for pair in zip(self.references, self.found, strict=True)]

    @cached_property
    def right(self) -> np.ndarray:
        """How many pieces of each reference are written where they belong, ``(n,)``."""
        assert self.references is not None
        return np.array(
            [
                sum(i is not None and j is not None and true[i] == found[j] for i, j in way)
                for true, found, way in zip(self.references, self.found, self.edits, strict=True)
            ]
        )

    @cached_property
    def pieces(self) -> np.ndarray:
        """Of each reference, ``(n,)``."""
        assert self.references is not None
        return np.array([len(row) for row in self.references])

    @cached_property
    def distances(self) -> np.ndarray:
        """Wrong, missing and additional pieces of each text, ``(n,)``."""
        return np.array([len(way) for way in self.edits]) - self.right

    @property
    def rates(self) -> np.ndarray:
        """The piece error rate of each text, ``(n,)``; 0 everywhere without references."""
        if self.references is None:
            return np.zeros(len(self.found))
        return self.distances / np.maximum(self.pieces, 1)

    def marked(self, row: int) -> Marked:
        """What was written, with the pieces that stand out which are wrong."""
        found = self.found[row]
        if self.references is None:
            return Marked([(readable(found), False)])
        true = self.references[row]
        cell: list[tuple[str, bool]] = []
        for i, j in self.edits[row]:
            text = MISSING if j is None else found[j]
            space = j is None and i is not None and true[i].startswith("▁")
            wrong = i is None or j is None or true[i] != found[j]
            lead = " " if cell and (space or text.startswith("▁")) else ""
            cell += [(lead, False)] * bool(lead) + [(text.removeprefix("▁").replace("▁", " "), wrong)]
        return Marked(cell)


def pieces_of(tokenizer: Any, texts: Sequence[str]) -> list[list[str]]:
    """Each text's pieces as the tokenizer shows them; "▁" stands for a space ahead."""
    ids = tokenizer.encode(texts)
    if hasattr(tokenizer, "symbols"):
        return [tokenizer.symbols(row) for row in ids]
    return [tokenizer.decode([[number] for number in row]) for row in ids]


def readable(pieces: Sequence[str]) -> str:
    """The text again."""
    return "".join(pieces).replace("▁", " ").removeprefix(" ")
