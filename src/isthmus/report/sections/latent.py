"""The code in two dimensions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from isthmus.report.blocks import Picture, Section
from isthmus.report.labels import Labels
from isthmus.report.plots import CLASSES, INK, PAPER, SEQUENTIAL, TRAIN, axes
from isthmus.report.rows import every
from isthmus.report.subject import Subject

__all__ = ["latent"]

MOST_POINTS = 5000


class Colouring(NamedTuple):
    """By what dots are coloured; of the picture's name and the caption."""

    name: str
    labels: Labels | None
    title: str
    said: str


def latent(subject: Subject) -> Section | None:
    """Codes by their own axes where there are two, by their principal components beyond, coloured by y."""
    if not subject.has_code or len(subject) < 3:
        return None
    codes = subject.flat_codes
    index = every(len(subject), MOST_POINTS)
    if codes.shape[1] == 1:
        return Section("latent", "The code", [_one(subject, codes[:, 0])])
    points, names, said = _plane(codes)
    pictures = [_scatter(points[index], names, one, index, said) for one in _colourings(subject)]
    return Section("latent", "The code in two dimensions", pictures)


def _colourings(subject: Subject) -> list[Colouring]:
    """By y where it is labels, and by the length of series and texts."""
    labels = subject.labels
    by_y = Colouring("latent", labels, "y", "" if labels is None else ", coloured by y")
    if subject.layout == "rows" or len(np.unique(subject.lengths)) == 1:
        return [by_y]
    title = "length, steps" if subject.layout == "series" else "length, pieces"
    by_length = Colouring("latent_length", Labels(subject.lengths.astype(np.float64)), title, ", coloured by length")
    return [by_length._replace(name="latent")] if labels is None else [by_y, by_length]


def _scatter(points: np.ndarray, names: tuple[str, str], by: Colouring, index: np.ndarray, said: str) -> Picture:
    figure, panel = axes(5.6, 4.6, xlabel=names[0], ylabel=names[1])
    if by.labels is None:
        panel.scatter(*points.T, s=dot(len(points)), color=TRAIN, alpha=0.5, linewidths=0, rasterized=True)
    elif by.labels.names:
        _classes(figure, panel, points, Labels(by.labels.codes[index], by.labels.names))
    else:
        _scale(figure, panel, points, by.labels.codes[index], by.title)
    alt = f"scatter of {len(index)} codes in two dimensions{by.said}"
    return Picture(by.name, figure, alt, f"{len(index):,} rows{by.said}. {said}", wide=True)


def dot(n: int) -> float:
    """The area of a point among n, points²."""
    return float(np.clip(12000 / n, 6, 28))


def _plane(codes: np.ndarray) -> tuple[np.ndarray, tuple[str, str], str]:
    if codes.shape[1] == 2:
        return codes, ("unit 0", "unit 1"), "The code's own two axes."
    from sklearn.decomposition import PCA

    with np.errstate(invalid="ignore"):  # a constant code has no variance to share out
        model = PCA(2, random_state=0).fit(codes)
    share = 100 * np.nan_to_num(model.explained_variance_ratio_)
    names = (f"first principal component ({share[0]:.0f} %)", f"second principal component ({share[1]:.0f} %)")
    return (
        model.transform(codes),
        names,
        f"The plane of most variance of {codes.shape[1]:,} numbers, in the code's units.",
    )


def _classes(figure: Any, panel: Any, points: np.ndarray, labels: Labels) -> None:
    from matplotlib.patheffects import withStroke

    colours = np.array(CLASSES)[labels.codes]
    panel.scatter(*points.T, s=dot(len(points)), c=colours, alpha=0.7, linewidths=0, rasterized=True)
    for place, name in enumerate(labels.names):
        panel.scatter([], [], s=28, color=CLASSES[place], label=name)
        mine = points[labels.codes == place]
        if len(mine) and len(name) <= 3:
            halo = [withStroke(linewidth=3, foreground=PAPER)]
            x, y = np.median(mine, 0)
            panel.text(x, y, name, color=INK, fontsize=12, weight="bold", ha="center", va="center", path_effects=halo)
    figure.legend(loc="outside right upper", title="y", handletextpad=0.3)


def _scale(figure: Any, panel: Any, points: np.ndarray, values: np.ndarray, title: str) -> None:
    dots = panel.scatter(
        *points.T, s=dot(len(points)), c=values, cmap=SEQUENTIAL, alpha=0.75, linewidths=0, rasterized=True
    )
    bar = figure.colorbar(dots, ax=panel, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(title)


def _one(subject: Subject, values: np.ndarray) -> Picture:
    figure, panel = axes(5.6, 3.2, xlabel="unit 0", ylabel="rows")
    labels = subject.labels
    if labels is None or not labels.names:
        panel.hist(values, bins=40, color=TRAIN)
    else:
        parts = [values[labels.codes == place] for place in range(len(labels.names))]
        panel.hist(parts, bins=40, stacked=True, color=list(CLASSES[: len(parts)]), label=list(labels.names))
        figure.legend(loc="outside right upper", title="y")
    return Picture("latent", figure, "histogram of the code's one unit", "The code is one number a row.", wide=True)
