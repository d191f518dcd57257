"""Texts beside what the model writes for them."""

from __future__ import annotations

from isthmus.report.blocks import Marked, Note, Section, Table
from isthmus.report.subject import Subject

__all__ = ["texts"]

MOST = 16


def texts(subject: Subject) -> Section | None:
    """A table of texts from the best written to the worst, wrong pieces marked."""
    if subject.layout != "texts":
        return None
    found, pairs = subject.texts, subject.writes or subject.references is not None
    title = "Sources and what is written" if subject.writes else "Texts and reconstructions"
    head = ["source" if subject.writes else "damaged"] if pairs else []
    head += ["reference" if pairs else "text"] if found.wanted is not None else []
    head += ["written" if subject.writes else "rebuilt"]
    head += ["wrong pieces"] if found.wanted is not None else []
    rows: list[list[str | Marked]] = []
    for row in subject.by_error(MOST):
        cells: list[str | Marked] = [_plain(found.given[row])] if pairs else []
        cells += [_plain(found.wanted[row])] if found.wanted is not None else []
        cells.append(found.marked(row))
        cells += [f"{found.distances[row]} of {found.pieces[row]}"] if found.wanted is not None else []
        rows.append(cells)
    said = (
        "In order of their error rate, from the best to the worst, evenly spaced in rank. Marked: pieces that are "
        "wrong or too many, and _ where one is missing."
        if found.wanted is not None
        else "Evenly spaced over the sources; without references (y) nothing says what is wrong."
    )
    return Section("texts", title, [Note(said), Table(head, rows)])


def _plain(text: str) -> Marked:
    return Marked([(text, False)])
