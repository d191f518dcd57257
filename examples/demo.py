"""Five kinds of autoencoder on handwritten digits, two U-Nets on pictures, and words learnt to pronounce.

    make demo                                        # or: python examples/demo.py [--images FOLDER]

The digits are scikit-learn's (1,797 images of 8 × 8). Where the environment variable ISTHMUS_DATA names a
folder with MNIST in it, they are 4,000 training and 1,000 test images of 28 × 28 from there. Pixels are
scaled to [0, 1]; every figure is of test images that no model was trained on. demo_pictures.py has the
photographs and the cells, demo_pronounce.py the words. It leaves tables, a page for the pictures and one for the words.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import demo_pictures
import demo_pronounce
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from isthmus import (
    Autoencoder,
    Binarize,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    Masking,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from isthmus.report import Chapter, Note, Picture, Subject, Table as ReportTable, build_sections, png, write_page
from isthmus.report.draw import Strip, strips
from isthmus.report.plots import style


class Digits(NamedTuple):
    """Images as rows of pixels in [0, 1]."""

    name: str
    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray


class Result(NamedTuple):
    """One trained model, the rows its chapter shows, and its line of the table."""

    name: str
    model: Any
    rows: np.ndarray
    figures: list[str]


def load() -> Digits:
    """MNIST from ISTHMUS_DATA where it is there, else scikit-learn's digits."""
    path = Path(os.environ.get("ISTHMUS_DATA", ""), "mnist.npz")
    if "ISTHMUS_DATA" in os.environ and path.is_file():
        data = np.load(path)
        train, test = (data[f"x_{part}"].reshape(-1, 784)[:n] / 255 for part, n in (("train", 4000), ("test", 1000)))
        return Digits("MNIST", train.astype(np.float32), test.astype(np.float32), data["y_test"][:1000])
    rows, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(rows))
    rows, labels = (rows[order] / 16).astype(np.float32), labels[order]
    return Digits("scikit-learn's digits", rows[:1400], rows[1400:], labels[1400:])


def models(digits: Digits) -> dict[str, Any]:
    """The five kinds. An epoch of MNIST is longer, so there are fewer of them."""
    mnist = digits.train.shape[1] > 64
    common = {"random_state": 0, "scale": None}
    epochs = 25 if mnist else 100
    return {
        "vanilla": Autoencoder(latent_dim=8, max_epochs=epochs, **common),
        "denoising": DenoisingAutoencoder(latent_dim=16, corruption=Masking(0.5), max_epochs=epochs, **common),
        "sparse": SparseAutoencoder(latent_dim=36, rho=0.1, max_epochs=epochs, **common),
        "contractive": ContractiveAutoencoder(latent_dim=8, contraction=0.03, max_epochs=epochs, **common),
        "variational": VariationalAutoencoder(
            latent_dim=2 if not mnist else 8,
            loss="binary_cross_entropy",
            callbacks=[Binarize()],
            max_epochs=epochs,
            **common,
        ),
    }


def train(digits: Digits, console: Console) -> list[Result]:
    """Fit each kind, show its rows, and measure it on the test images."""
    binary = (np.random.default_rng(0).random(digits.test.shape) < digits.test).astype(np.float32)
    results = []
    for name, model in models(digits).items():
        console.print(f"training: {name}", style="dim")
        model.fit(digits.train)
        variational, width = name == "variational", model.module_.bottleneck.out.shape[-1]
        seen = model.corrupt(digits.test) if name == "denoising" else digits.test
        pca = PCA(width, random_state=0).fit(digits.train)
        figures = [
            str(width),
            f"{squared_error(model.reconstruct(seen), digits.test):.2f}",
            f"{squared_error(pca.inverse_transform(pca.transform(seen)), digits.test):.2f}",
            *([f"−{-model.elbo(binary).mean():.1f}"] if variational else ["–"]),
            *([f"−{-model.log_likelihood(binary, n_samples=100).mean():.1f}"] if variational else ["–"]),
            f"{model.mean_activations(digits.test).mean():.3f}" if hasattr(model, "mean_activations") else "–",
            f"{sum(row['seconds'] for row in model.history_):.1f}",
        ]
        results.append(Result(name, model, binary if variational else digits.test, figures))
    return results


def squared_error(rebuilt: np.ndarray, rows: np.ndarray) -> float:
    """Summed over an image's pixels, averaged over images."""
    return float(np.square(rebuilt - rows).sum(1).mean())


HEAD = ("kind", "code", "squared error", "PCA's error", "ELBO, nats", "log p(x), nats", "mean ρ̂", "time, s")
UNITS = (
    "Squared error: summed over the pixels (0 to 1) of a test image, mean over images; PCA has as many components as "
    "the code has numbers. The denoising kind and its PCA rebuild the images from damaged ones. ELBO and log p(x), by "
    "100 importance samples, are of test images whose pixels were drawn 0 or 1. ρ̂: mean activation of a unit, averaged "
    "over units; ρ = 0.1 was asked for."
)


def print_table(digits: Digits, results: list[Result], console: Console) -> None:
    """The five kinds side by side."""
    table = Table(title=f"{digits.name}: {len(digits.train):,} training and {len(digits.test):,} test images")
    for column, head in enumerate(HEAD):
        table.add_column(head, justify="left" if column == 0 else "right", no_wrap=column == 0)
    for result in results:
        table.add_row(result.name, *result.figures)
    console.print(table)
    console.print(UNITS, style="dim")


def side_by_side(digits: Digits, results: list[Result]) -> Picture:
    """The same test images as each of the five rebuilds them."""
    side = round(digits.test.shape[1] ** 0.5)
    chosen = [int(np.flatnonzero(digits.labels == digit)[0]) for digit in range(10)]
    lines = [("test image", digits.test[chosen])]
    lines += [(result.name, np.clip(result.model.reconstruct(digits.test[chosen]), 0, 1)) for result in results]
    with style():
        figure = strips([Strip(name, rows.reshape(-1, side, side)) for name, rows in lines])
    alt = "ten handwritten digits and what each of five autoencoders makes of them"
    return Picture("reconstructions", figure, alt, "Ten test images, rebuilt from the code of each kind.", wide=True)


def write_images(folder: Path, first: Picture, chapters: list[Chapter], alignment: Picture) -> list[Path]:
    """The pictures that a README shows, as PNG."""
    found = {
        (chapter.key, block.name): block
        for chapter in chapters
        for section in chapter.sections
        for block in section.blocks
        if isinstance(block, Picture)
    }
    wanted = {
        "reconstructions": first,
        "latent": found["variational", "latent"],
        "samples": found["variational", "samples"],
        "walk": found["variational", "walk"],
        "denoising": found["denoising", "restored"],
        "sparsity": found["sparse", "sparsity"],
        "sparse_units": found["sparse", "decoded_units"],
        "learning_curve": found["variational", "curve_objective"],
        "jacobian": found["contractive", "jacobian"],
        "photographs": found["photographs", "restored"],
        "segmentation": found["segmentation", "masks"],
        "alignment": alignment,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in wanted.items():
        (folder / f"{name}.png").write_bytes(png(picture.figure, dpi=130))
    return sorted(folder / f"{name}.png" for name in wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("demo"), help="where the PNG files go (default: demo)")
    options = parser.parse_args()
    started, console, digits = time.perf_counter(), Console(), load()
    progress = Console(file=sys.stderr)
    results = train(digits, progress)
    print_table(digits, results, console)
    pictures = demo_pictures.outcomes(progress)
    for outcome in pictures:
        demo_pictures.print_outcome(outcome, console)
    spoken = demo_pronounce.outcome(progress)
    demo_pronounce.print_spoken(spoken, console)
    chapters = []
    for result in results:
        sections = build_sections(Subject(result.model, result.rows, digits.labels), command="make demo")
        chapters.append(Chapter(result.name, f"The {result.name} autoencoder", sections))
    chapters += [outcome.chapter for outcome in pictures]
    first = side_by_side(digits, results)
    Path("demo").mkdir(exist_ok=True)
    title = f"Five autoencoders on {digits.name}, and two U-Nets on pictures"
    rows = [(result.name, *result.figures) for result in results]
    lead = [
        first,
        ReportTable(HEAD, rows, UNITS),
        *(block for outcome in pictures for block in demo_pictures.blocks(outcome)),
        Note("A chapter for each, on test images; the variational one shows pixels drawn 0 or 1."),
    ]
    page = write_page("demo/report.html", title, chapters, lead, overwrite=True)
    words = demo_pronounce.write_report(spoken, Path("demo/pronounce.html"))
    images = write_images(options.images, first, chapters, demo_pronounce.alignment(spoken))
    pages = " and ".join(f"{path} ({path.stat().st_size / 1e6:.1f} MB)" for path in (page, words))
    console.print(f"{pages}, and {len(images)} pictures in {options.images}/")
    console.print(f"{time.perf_counter() - started:.0f} seconds in all", style="dim")


if __name__ == "__main__":
    main()
