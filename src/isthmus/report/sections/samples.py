"""What the model dreams up: draws from p(z) p(x|z)."""

from __future__ import annotations

import numpy as np

from isthmus.report.blocks import Marked, Note, Picture, Section, Table
from isthmus.report.draw import WIDTH, grid, shorten
from isthmus.report.plots import MUTED, TRAIN, VALIDATION, axes, blank
from isthmus.report.rows import every
from isthmus.report.sections.series import channels_of, colours_of, scaled, unit_of
from isthmus.report.subject import Subject

__all__ = ["samples"]

SEED = 0
SIDE, PANELS, SERIES, TEXTS = 6, 6, 5, 12


def samples(subject: Subject) -> Section | None:
    """Images, series or texts drawn from the prior, or the columns of drawn rows beside those of the data."""
    if not (hasattr(subject.line, "posterior") and subject.decodes):
        return None
    if subject.layout != "rows":
        return Section("samples", "Samples", [_series(subject) if subject.layout == "series" else _texts(subject)])
    if subject.image_shape is not None:
        return _images(subject)
    if subject.rows.ndim > 2:
        return None
    drawn = np.asarray(subject.line.sample(len(subject), random_state=SEED), dtype=np.float64)
    said = f"As many rows as the data have, drawn from p(z) p(x|z) with seed {SEED}."
    return Section("samples", "Samples", [Note(said), *_columns(subject, drawn), _correlations(subject, drawn)])


def _images(subject: Subject) -> Section:
    drawn = np.asarray(subject.line.sample(SIDE * SIDE, mean=True, random_state=SEED), dtype=np.float64)
    real = subject.truth[every(len(subject), SIDE * SIDE)]
    limits = (float(real.min()), float(real.max()))
    pictures = [
        Picture(name, grid(subject.pictures(rows), SIDE, limits=limits, width=3.9), alt, caption)
        for name, rows, alt, caption in (
            ("samples", drawn, f"{len(drawn)} sampled images", f"Sampled: E[x|z] for z from the prior, seed {SEED}."),
            ("real", real, f"{len(real)} images of the data", "Data, evenly spaced, for comparison."),
        )
    ]
    return Section("samples", "Samples", [*pictures])


def _series(subject: Subject) -> Picture:
    """Data above, samples of the same lengths below."""
    index = every(len(subject), SERIES)
    drawn = subject.line.sample(len(index), mean=True, lengths=subject.lengths[index], random_state=SEED)
    lines = (("data", [subject.truth[row] for row in index]), ("sampled", list(drawn)))
    channels = channels_of(subject)
    several = subject.steps.shape[1] > 1
    colours = [colour for colour, _ in colours_of(channels)]
    figure = blank(WIDTH, 2.9)
    panels = figure.subplots(2, len(index), sharey=True, squeeze=False)
    for line, (name, rows), colour in zip(panels, lines, (TRAIN, VALIDATION), strict=True):
        line[0].set_ylabel(f"{name}\n({unit_of(subject)})")
        for panel, row in zip(line, rows, strict=True):
            for own, channel in zip(colours, channels, strict=False):
                panel.plot(scaled(subject, row)[:, channel], color=own if several else colour, linewidth=1.1)
            panel.xaxis.get_major_locator().set_params(integer=True, nbins=3)
            panel.tick_params(labelsize=8)
    said = f"Data, evenly spaced, and below E[x|z] for z from the prior, seed {SEED}, as long as the series above."
    most = f" Channels {', '.join(map(str, channels))}, a colour each." if several else ""
    return Picture("samples", figure, f"{len(index)} series of the data and as many samples", said + most, wide=True)


def _texts(subject: Subject) -> Table:
    drawn = subject.line.sample(TEXTS, random_state=SEED)
    index = every(len(subject), TEXTS)
    data = [subject.rows[row] for row in index]
    rows = [(Marked([(text, False)]), Marked([(beside, False)])) for text, beside in zip(drawn, data, strict=False)]
    return Table(("sampled", "data"), rows, f"The likeliest text for z from the prior, seed {SEED}, beside some of X.")


def _columns(subject: Subject, drawn: np.ndarray) -> list[Picture]:
    pictures = []
    varying = np.flatnonzero(subject.rows.std(0) > 0)
    for column in varying[every(len(varying), PANELS)]:
        name = shorten(subject.columns[column], 30)
        figure, panel = axes(3.4, 2.7, ylabel="rows", title=name if subject.names else f"column {name}")
        low, high = np.quantile(np.concatenate([subject.rows[:, column], drawn[:, column]]), (0.002, 0.998))
        bins = np.linspace(low, high, 31)
        panel.hist(subject.rows[:, column], bins=bins, color=MUTED, alpha=0.55, label="data")
        panel.hist(drawn[:, column], bins=bins, histtype="step", color=VALIDATION, linewidth=1.6, label="sampled")
        panel.legend()
        pictures.append(Picture(f"sampled_{column}", figure, f"column {name} in data and samples", "Units of X."))
    return pictures


def _correlations(subject: Subject, drawn: np.ndarray) -> Picture:
    varying = np.flatnonzero((subject.rows.std(0) > 0) & (drawn.std(0) > 0))
    upper = np.triu_indices(len(varying), 1)
    real, made = (np.atleast_2d(np.corrcoef(rows[:, varying], rowvar=False))[upper] for rows in (subject.truth, drawn))
    figure, panel = axes(3.4, 3.2, xlabel="correlation in the data", ylabel="in the samples")
    panel.axline((0, 0), slope=1, color=MUTED, linewidth=1)
    index = every(len(real), 3000) if len(real) else np.arange(0)
    panel.scatter(real[index], made[index], s=9, color=VALIDATION, alpha=0.5, linewidths=0, rasterized=True)
    panel.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
    return Picture(
        "sampled_correlations",
        figure,
        "correlations of column pairs, samples against data",
        "One dot a pair of columns.",
    )
