"""Signals: noise taken from gestures by a 1-D U-Net, and an anomaly found in a pulse by an autoencoder.

    pip install aeon                                  # brings the series
    python examples/signals.py [--out docs/images]    # about a minute on one thread

Both series are real and ship with aeon: GunPoint (50 training and 150 test gestures of 150 time steps, each with
mean 0 and deviation 1), and number 135 of the UCR anomaly archive, InternalBleeding16 (1,200 time steps to train
on, 7,501 to search, one labelled anomaly).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter1d
from sklearn.decomposition import PCA

from isthmus import Autoencoder, ConvEncoder, DenoisingAutoencoder, GaussianNoise, UNetEncoder
from isthmus.report import png
from isthmus.report.plots import CLASSES, INK, MUTED, TRAIN, VALIDATION, blank, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGMA, WIDTH, CODE = 0.5, 64, 16
"""Of the noise, in deviations of a gesture; a window's time steps, and the numbers of its code."""


# ---------------------------------------------------------------------- noise


class Restored(NamedTuple):
    """Test series: clean, noisy, and by name what each method makes of the noisy ones; all ``(n, T)``."""

    clean: np.ndarray
    noisy: np.ndarray
    by: dict[str, np.ndarray]


def denoise(train: np.ndarray, test: np.ndarray, epochs: int = 300) -> Restored:
    """A U-Net beside a Gaussian filter and PCA, whose one number is chosen on the last fifth of the training series."""
    noisy, kept = with_noise(test, 0), len(train) - len(train) // 5
    choose, tried = train[kept:], with_noise(train[kept:], 1)

    def error(restored: np.ndarray) -> float:
        return rms(restored - choose)

    width = min((1, 2, 3, 4, 5, 6, 8), key=lambda width: error(smoothed(tried, width)))
    most = min(kept, train.shape[1], 20)
    number = min(range(1, most), key=lambda number: error(projected(train[:kept], tried, number)))
    model = DenoisingAutoencoder(
        encoder=UNetEncoder((16, 32, 64, 128), global_residual=True, dims=1),
        corruption=GaussianNoise(SIGMA),
        scale=None,
        batch_size=25,
        max_epochs=epochs,
        validation_fraction=0,
        random_state=0,
    ).fit(train)
    by = {
        f"Gaussian filter, σ = {width} steps": smoothed(noisy, width),
        f"PCA, {number} components": projected(train, noisy, number),
        "U-Net": model.reconstruct(noisy),
    }
    return Restored(test, noisy, by)


def with_noise(series: np.ndarray, seed: int) -> np.ndarray:
    """Each value with Gaussian noise of its own."""
    return (series + SIGMA * np.random.default_rng(seed).standard_normal(series.shape)).astype(np.float32)


def smoothed(series: np.ndarray, width: float) -> np.ndarray:
    """Each series through a Gaussian filter."""
    return gaussian_filter1d(series, width, axis=1)


def projected(train: np.ndarray, rows: np.ndarray, number: int) -> np.ndarray:
    """Rows on the first principal components of the training rows."""
    pca = PCA(number, random_state=0).fit(train)
    return pca.inverse_transform(pca.transform(rows))


def rms(difference: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(difference).mean()))


# ---------------------------------------------------------------------- anomaly


class Scores(NamedTuple):
    """A series ``(T,)``, where it is labelled an anomaly, and by name each method's score of every time step."""

    series: np.ndarray
    labelled: np.ndarray
    by: dict[str, np.ndarray]


def find_anomaly(
    train: np.ndarray, series: np.ndarray, labelled: np.ndarray, epochs: int = 240, seeds: int = 3
) -> Scores:
    """Autoencoders and PCA learn windows without an anomaly; what they rebuild badly is odd."""
    known, searched = windows(train, WIDTH), windows(series, WIDTH)
    rebuilt = {}
    for seed in range(seeds):
        model = Autoencoder(
            encoder=ConvEncoder((16, 32, 64), dims=1), latent_dim=CODE, max_epochs=epochs, random_state=seed
        )
        rebuilt[f"autoencoder, seed {seed}"] = model.fit(known).reconstruct(searched)
    rebuilt["PCA"] = projected(known, searched, CODE)
    return Scores(
        series,
        labelled.astype(bool),
        {name: by_step(np.square(found - searched).mean(1), WIDTH) for name, found in rebuilt.items()},
    )


def windows(series: np.ndarray, width: int) -> np.ndarray:
    """Every window of a series ``(T,)``: ``(T − width + 1, width)``."""
    return np.lib.stride_tricks.sliding_window_view(series.astype(np.float32), width).copy()


def by_step(scores: np.ndarray, width: int) -> np.ndarray:
    """A score for each time step: the mean over the windows that cover it."""
    ones = np.ones(width)
    return np.convolve(scores, ones) / np.convolve(np.ones(len(scores)), ones)


def verdict(scores: np.ndarray, labelled: np.ndarray) -> tuple[int, bool, float]:
    """Where the highest score lies; whether that is labelled; the highest labelled score over the highest elsewhere.

    Elsewhere are the steps that no window covers which also covers a labelled one.
    """
    near = np.convolve(labelled, np.ones(2 * WIDTH - 1), mode="same") > 0
    top = int(scores.argmax())
    return top, bool(labelled[top]), float(scores[labelled].max() / scores[~near].max())


# ---------------------------------------------------------------------- tables and pictures


def print_restored(found: Restored, console: Console) -> None:
    """The error of each method."""
    table = Table(title=f"{len(found.clean)} test series, noise of {SIGMA} deviations")
    table.add_column("restored by")
    table.add_column("RMS error", justify="right")
    for name, series in {"noisy, as it is": found.noisy, **found.by}.items():
        table.add_row(name, f"{rms(series - found.clean):.4f}")
    console.print(table)


def print_scores(found: Scores, console: Console) -> None:
    """Where each method sees the anomaly."""
    first, last = np.flatnonzero(found.labelled)[[0, -1]]
    table = Table(title=f"anomaly at time steps {first} to {last} of {len(found.series)}")
    for column, head in enumerate(("score by", "highest at", "labelled there", "contrast")):
        table.add_column(head, justify="right" if column else "left")
    for name, scores in found.by.items():
        top, hit, contrast = verdict(scores, found.labelled)
        table.add_row(name, str(top), "yes" if hit else "no", f"{contrast:.1f}")
    console.print(table)
    console.print(
        "Contrast: the highest score of a labelled step over the highest of a step that shares no window with one.",
        style="dim",
    )


def draw_restored(found: Restored, most: int = 3) -> Figure:
    """Some test series, evenly spaced: noisy, clean, and restored by the U-Net."""
    with style():
        figure = blank(7.2, 2.5)
        panels = figure.subplots(1, most, sharey=True)
        for panel, row in zip(panels, np.linspace(0, len(found.clean) - 1, most).round().astype(int), strict=True):
            error = rms(found.by["U-Net"][row] - found.clean[row])
            panel.plot(found.noisy[row], ".", color=MUTED, markersize=2.5, label="noisy")
            panel.plot(found.clean[row], color=INK, label="clean")
            panel.plot(found.by["U-Net"][row], "--", color=VALIDATION, label="restored")
            panel.set(
                xlabel="time step", title=f"RMS error {rms(found.noisy[row] - found.clean[row]):.2f} → {error:.2f}"
            )
        panels[0].set_ylabel("deviations")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def draw_scores(found: Scores, around: int = 400) -> Figure:
    """The series about its anomaly, and the scores of all time steps."""
    first, last = np.flatnonzero(found.labelled)[[0, -1]]
    place = np.arange(max(0, first - around), min(len(found.series), last + around))
    with style():
        figure = blank(7.2, 4.2)
        above, below = figure.subplots(2, 1)
        above.plot(place, found.series[place], color=INK, linewidth=1.2)
        above.set(ylabel="pulse, as given", xlim=place[[0, -1]], xlabel="time step, about the anomaly")
        above.axvspan(first, last, color=CLASSES[1], alpha=0.5, linewidth=0, label="labelled anomaly")
        names = [name for name in found.by if name == "PCA" or name.endswith(" 0")]
        for name, colour in zip(names, (VALIDATION, TRAIN), strict=True):
            below.plot(found.by[name], color=colour, linewidth=1, label=name.removesuffix(", seed 0"))
        below.axvspan(first - WIDTH, last + WIDTH, color=CLASSES[1], alpha=0.5, linewidth=0, label="windows reach it")
        below.set(yscale="log", ylabel="score (squared error)", xlabel="time step", xlim=(0, len(found.series) - 1))
        for panel in (above, below):
            panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, borderpad=0.2)
    return figure


# ---------------------------------------------------------------------- the series, and all of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="where the PNG files go")
    options = parser.parse_args()
    try:
        from aeon.datasets import load_gunpoint, load_kdd_tsad_135  # type: ignore[import-not-found]
    except ImportError as error:
        raise SystemExit(f"signals.py needs aeon, which brings the series: pip install aeon ({error})") from error
    console = Console()
    gestures = [load_gunpoint(split)[0][:, 0].astype(np.float32) for split in ("train", "test")]
    restored = denoise(*gestures)
    print_restored(restored, console)
    (train, _), (series, labelled) = (load_kdd_tsad_135(split) for split in ("train", "test"))
    scores = find_anomaly(train.ravel(), series.ravel(), labelled.ravel())
    print_scores(scores, console)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, figure in (("denoising", draw_restored(restored)), ("anomaly", draw_scores(scores))):
        (options.out / f"signals_{name}.png").write_bytes(png(figure, dpi=130))


if __name__ == "__main__":
    main()
