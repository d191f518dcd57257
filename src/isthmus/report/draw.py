"""Pictures that several sections draw: strips and grids of images, maps of units by columns, profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isthmus.report.layout import mosaic
from isthmus.report.plots import DIVERGING, DPI, INK, SEQUENTIAL, axes, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Strip", "colour_bar", "compass", "examples", "grid", "heatmap", "histogram", "mark", "over"]
__all__ += ["profile", "shorten", "strips"]

WIDTH, MOST_SIDE, MOST_NAMED = 7.2, 1.6, 40
"""Of a picture across the page and of one image in it, inches; and the most columns that an axis names."""


class Strip(NamedTuple):
    """One labelled line of images; ``signed`` draws 0 in white, ± in two colours; ``bar`` is the unit of a colour
    bar, and ``limits`` its ends."""

    label: str
    images: np.ndarray
    signed: bool = False
    bar: str = ""
    limits: tuple[float, float] | None = None


def examples(width: int, most: int = 12) -> int:
    """How many images of that width lie side by side on a page."""
    return min(most, max(4, 640 // width))


def compass(images: np.ndarray) -> np.ndarray:
    """Each image divided by its largest absolute value, so that it lies in [−1, 1]."""
    peak = np.abs(images).max(axis=tuple(range(1, images.ndim)), keepdims=True)
    return images / np.where(peak > 0, peak, 1)


def _show(panel: Any, picture: np.ndarray, limits: tuple[float, float], colours: str) -> Any:
    """Draw an image; one of more pixels than there is room for is averaged."""
    low, high = limits
    way = "nearest" if picture.shape[1] < WIDTH * DPI else "antialiased"
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    if picture.ndim == 3:
        scaled = np.clip((picture - low) / ((high - low) or 1), 0, 1)
        alpha = ~np.isnan(picture[..., :1])
        return panel.imshow(np.concatenate([np.nan_to_num(scaled), alpha], -1), aspect="equal", interpolation=way)
    masked = np.ma.masked_invalid(picture)
    return panel.imshow(masked, cmap=colours, vmin=low, vmax=high, aspect="equal", interpolation=way)


def _limits(images: np.ndarray, signed: bool) -> tuple[float, float]:
    if signed:
        peak = float(np.nanmax(np.abs(images))) or 1.0
        return -peak, peak
    return float(np.nanmin(images)), float(np.nanmax(images))


def strips(rows: Sequence[Strip], heads: Sequence[str] = (), grey: int = 0, foot: float = 0.0) -> Figure:
    """Lines of images under one another; grey ones share the scale of line ``grey``. ``foot``: inches left below."""
    n = len(rows[0].images)
    height, width = rows[0].images.shape[1:3]
    gap = max(1, round(width / 14))
    left, right = 1.1, 0.65 if any(row.bar for row in rows) else 0.05
    across = min(WIDTH - left - right, n * MOST_SIDE)
    down, between = across * height / (n * (width + gap) - gap), 0.09
    figure = blank(left + across + right, foot + len(rows) * (down + between) + (0.25 if heads else 0))
    figure.set_layout_engine("none")
    whole = np.tile(figure.get_size_inches(), 2)
    for line, row in enumerate(reversed(rows)):
        bottom = foot + between / 2 + line * (down + between)
        panel = figure.add_axes(np.array([left, bottom, across, down]) / whole)
        own = row.signed or row.bar
        limits = row.limits or _limits(row.images if own else rows[grey].images, row.signed)
        image = _show(panel, mosaic(row.images, n, gap), limits, _colours(row.signed, bool(row.bar)))
        panel.set_yticks([(height - 1) / 2], [f"{row.label}\n({row.bar})" if row.bar else row.label])
        panel.tick_params(length=0, labelsize=10)
        if row.bar:
            bar = figure.add_axes(np.array([left + across + 0.08, bottom, 0.08, down]) / whole)
            figure.colorbar(image, cax=bar, ticks=(limits[0], sum(limits) / 2, limits[1]), format="{x:.3g}")
            bar.spines[:].set_visible(False)
            bar.tick_params(labelsize=8)
    if heads:  # the last panel drawn is the uppermost
        panel.set_xticks([index * (width + gap) + (width - 1) / 2 for index in range(n)], heads)
        panel.xaxis.tick_top()
    return figure


def _colours(signed: bool, sequential: bool = False) -> str:
    return DIVERGING if signed else SEQUENTIAL if sequential else "gray"


def colour_bar(figure: Any, panel: Any, image: Any, label: str) -> None:
    """A colour bar beside the panel, without a frame."""
    bar = figure.colorbar(image, ax=panel, pad=0.02, shrink=0.9)
    bar.outline.set_visible(False)
    bar.set_label(label)


def grid(
    images: np.ndarray,
    columns: int,
    *,
    signed: bool = False,
    lines: Sequence[str] = (),
    heads: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    width: float = WIDTH,
) -> Figure:
    """Images in rows of ``columns``, on one scale; ``lines`` label the rows, ``heads`` the columns."""
    high, wide = images.shape[1:3]
    gap = max(1, round(wide / 14))
    picture = mosaic(images, columns, gap)
    left = 0.9 if lines else 0.1
    body = width - left
    figure = blank(width, body * picture.shape[0] / picture.shape[1] + (0.35 if heads else 0.1))
    panel: Any = figure.subplots()
    _show(panel, picture, limits or _limits(images, signed), _colours(signed))
    if lines:
        panel.set_yticks([index * (high + gap) + (high - 1) / 2 for index in range(len(lines))], lines)
    if heads:
        panel.set_xticks([index * (wide + gap) + (wide - 1) / 2 for index in range(len(heads))], heads)
        panel.xaxis.tick_top()
    panel.tick_params(length=0)
    return figure


def heatmap(values: np.ndarray, columns: Sequence[str], unit: str, limit: float | None = None) -> Figure:
    """Units (rows) by columns of the table, signed, with a colour bar."""
    lines, width = values.shape
    figure = blank(max(3.4, min(WIDTH, 1.9 + 0.26 * width)), 1.5 + min(0.22 * lines, 6.5))
    panel: Any = figure.subplots()
    peak = limit or float(np.abs(values).max()) or 1.0
    image = panel.imshow(values, cmap=DIVERGING, vmin=-peak, vmax=peak, aspect="auto")
    panel.set_xticks(range(width), [shorten(name) for name in columns], rotation=90)
    if width > 45:
        panel.set_xticks(range(0, width, -(-width // 30)), [shorten(name) for name in columns[:: -(-width // 30)]])
    panel.yaxis.get_major_locator().set_params(integer=True)
    panel.set(ylabel="unit")
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    colour_bar(figure, panel, image, unit)
    return figure


def histogram(values: np.ndarray, xlabel: str, colour: str, *, logarithmic: bool = False) -> tuple[Figure, Any]:
    """Counts of rows; the axes are given back for marks. Logarithmic bins for skewed positive values."""
    figure, panel = axes(xlabel=xlabel, ylabel="rows")
    bins: Any = min(60, max(10, round(len(values) ** 0.5)))
    if logarithmic:
        bins = np.geomspace(values.min(), values.max(), bins + 1)
        panel.set_xscale("log")
    panel.hist(values, bins=bins, color=colour, edgecolor="none", alpha=0.85)
    return figure, panel


def mark(panel: Any, where: float, text: str, dash: str = "--") -> None:
    """A vertical line with its name in the legend."""
    panel.axvline(where, color=INK, linestyle=dash, linewidth=1.1, label=text)


def over(panel: Any, columns: int = 2) -> None:
    """The legend above the panel, where it hides nothing."""
    panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2, borderpad=0.2)


def shorten(name: str, limit: int = 18) -> str:
    """A column's name for an axis, its dollar signs no mathematics."""
    name = str(name)
    return (name if len(name) <= limit else name[: limit - 1] + "…").replace("$", r"\$")


def profile(names: Sequence[str], size: int, title: str) -> tuple[Figure, Any]:
    """A panel of columns along x and deviations along y; few columns are named."""
    named = len(names) == size <= MOST_NAMED
    longest = max((len(shorten(name)) for name in names), default=0) if named else 0
    figure, panel = axes(4.3, 2.9 + 0.075 * longest, xlabel="" if named else "column", ylabel="deviations", title=title)
    if named:
        panel.set_xticks(range(size), [shorten(name) for name in names], rotation=90, fontsize=8)
    return figure, panel
