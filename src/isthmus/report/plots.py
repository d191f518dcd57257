"""The look of every picture: one style, one palette, and the way from a figure to SVG or PNG.

Figures are matplotlib's ``Figure`` objects, never pyplot's. The style is in force only inside `style`,
which restores what was there. Ink, grid and paper are colours of their own, so that an SVG can follow
the page into the dark.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CLASSES", "DIVERGING", "DPI", "INK", "MUTED", "PAPER", "SEQUENTIAL", "TRAIN", "VALIDATION"]
__all__ += ["axes", "blank", "plain_log", "png", "style", "svg"]

INK, MUTED, PAPER = "#1f2329", "#8a9099", "#fdfdfe"
CLASSES = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
"""Petroff's ten colours, picked for colour-vision deficiency (arXiv:2107.02270)."""
TRAIN, VALIDATION = CLASSES[0], CLASSES[6]
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
DPI = 144
"""Of images inside an SVG."""

RC: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "normal",
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "auto",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "lines.linewidth": 1.6,
    "image.interpolation": "nearest",
    "image.origin": "upper",
    "text.usetex": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "isthmus",
    "path.simplify": True,
    "savefig.bbox": "standard",
}

_LOCK = threading.RLock()


@contextmanager
def style() -> Iterator[None]:
    """The report's settings of matplotlib, for as long as figures are drawn or written."""
    import matplotlib as mpl

    with _LOCK, mpl.rc_context(RC):
        yield


def blank(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def axes(width: float = 4.3, height: float = 3.1, **labels: str) -> tuple[Figure, Any]:
    """A figure of one panel with its labels set, such as ``xlabel="epoch"``."""
    figure = blank(width, height)
    panel: Any = figure.subplots()
    panel.set(**labels)
    return figure, panel


def plain_log(panel: Any) -> None:
    """A logarithmic y axis with ticks at 1, 2 and 5, written plainly: 0.5 for 5 × 10⁻¹."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = panel.get_ylim()
    panel.set_yscale("log")
    if high < 1000 * low:
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure on white paper."""
    stream = io.BytesIO()
    with style():
        figure.savefig(stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


def svg(figure: Figure, prefix: str) -> str:
    """The figure as inline SVG: transparent, colours that follow the page, every id under ``prefix``."""
    stream = io.StringIO()
    with style():
        figure.savefig(stream, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text))
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", re.sub(r'href="#', f'href="#{prefix}-', text))
    for colour, variable in ((INK, "ink"), (MUTED, "muted"), (PAPER, "paper")):
        text = text.replace(colour, f"var(--{variable})")
    return text
