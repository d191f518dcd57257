"""What a section is made of: pictures, tables, code and sentences, before they are a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Block", "Code", "Marked", "Note", "Picture", "Section", "Table", "short"]


class Picture(NamedTuple):
    """A figure with a name (of its PNG file), what it shows in words (``alt``), and how to read it."""

    name: str
    figure: Figure
    alt: str
    caption: str
    wide: bool = False


class Marked(NamedTuple):
    """A cell of pieces, each with whether it is to stand out."""

    pieces: Sequence[tuple[str, bool]]


class Table(NamedTuple):
    """Rows under a head; numbers are given as text, already rounded."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Marked]]
    caption: str = ""


class Code(NamedTuple):
    """Lines to be shown as they are."""

    text: str
    caption: str = ""


class Note(NamedTuple):
    """A sentence or two."""

    text: str


Block = Picture | Table | Code | Note


class Section(NamedTuple):
    """One heading of the report; ``key`` is its anchor."""

    key: str
    title: str
    blocks: Sequence[Block]


def short(value: float, digits: int = 4) -> str:
    """A number for reading: some digits that count, thousands apart, a true minus sign."""
    size = abs(value)
    plain = 10**digits <= size < 1e7
    return (f"{value:,.0f}" if plain else f"{value:,.{digits}g}").replace("-", "−")
