"""The demo's pictures: noise taken from photographs, and cells (or coins) found in them, each by a U-Net.

Where ISTHMUS_DATA names a folder with them, the photographs are the Berkeley ones (60 train, 16 test) and the
cells those of the ISBI 2012 challenge (20 slices train, 6 test, a quarter of each). Otherwise both are pictures
that scikit-learn and scikit-image bring along: seven photographs train and scikit-learn's flower tests; and the
coins that scikit-image's example on watersheds outlines are to be found in noise, the upper half training.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import ndimage
from skimage import data, filters, restoration, segmentation
from sklearn.datasets import load_sample_image

from isthmus import DenoisingAutoencoder, GaussianNoise, Segmenter, UNetEncoder
from isthmus.metrics import boundary_f1, dice, pixel_error, psnr
from isthmus.report import Chapter, Note, Subject, Table as ReportTable, build_sections

SIGMA = 25
"""Of the noise, grey levels of 255."""


class Pictures(NamedTuple):
    """Images of one size, and what is to be found in each: the image without noise, or a mask."""

    name: str
    train: np.ndarray
    train_target: np.ndarray
    test: np.ndarray
    test_target: np.ndarray


class Outcome(NamedTuple):
    """A table of figures on the test images, and a chapter of the report."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    units: str
    chapter: Chapter


def file_of(name: str) -> Path | None:
    """That file of ISTHMUS_DATA, where both are there."""
    path = Path(os.environ.get("ISTHMUS_DATA", ""), name)
    return path if "ISTHMUS_DATA" in os.environ and path.is_file() else None


def with_noise(images: np.ndarray, seed: int) -> np.ndarray:
    """The images with Gaussian noise, neither clipped nor rounded."""
    return (images + SIGMA * np.random.default_rng(seed).standard_normal(images.shape)).astype(np.float32)


def crops(image: np.ndarray, side: int) -> np.ndarray:
    """The whole squares of an image, (n, side, side), from its upper left corner on."""
    rows, columns = (length // side for length in image.shape)
    cut = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)


def grey(image: np.ndarray) -> np.ndarray:
    """An image in colour as bytes of brightness; a grey one as it is."""
    return image if image.ndim == 2 else (image @ (0.299, 0.587, 0.114)).round().astype(np.uint8)


def photographs() -> Pictures:
    """Grey photographs, bytes; noisy ones are made of them."""
    if path := file_of("bsd400.npz"):
        images = np.load(path)["images"]
        name, train, test = "Berkeley photographs", images[:60], images[384:]
    else:
        name, colour = "bundled photographs", [load_sample_image("china.jpg"), data.astronaut(), data.chelsea()]
        colour += [data.coffee(), data.rocket()]
        train = np.concatenate([crops(grey(image), 180) for image in (*colour, data.camera(), data.moon())])
        test = crops(grey(load_sample_image("flower.jpg")), 180)
    return Pictures(name, with_noise(train, 1), train, with_noise(test, 0), test)


def cells() -> Pictures:
    """Slices of tissue with their membranes, or coins in noise; 0 and 1 in the masks."""
    if path := file_of("membrane.npz"):
        with np.load(path) as archive:
            images, inside = (archive[name][:, :256, :256] for name in ("images", "labels"))
        membrane = 1 - inside  # the file has 1 inside a cell
        return Pictures("membranes of cells", images[:20], membrane[:20], images[24:], membrane[24:])
    coins = data.coins()
    markers = np.where(coins < 30, 1, np.where(coins > 150, 2, 0))  # surely table, surely coin
    truth = ndimage.binary_fill_holes(segmentation.watershed(filters.sobel(coins), markers) == 2).astype(np.uint8)
    images, masks = ([thirds(half) for half in (whole[:150], whole[150:300])] for whole in (coins, truth))
    return Pictures("coins", with_noise(images[0], 1), masks[0], with_noise(images[1], 0), masks[1])


def thirds(image: np.ndarray) -> np.ndarray:
    """Left, middle and right."""
    return np.stack(np.split(image, 3, axis=1))


# ---------------------------------------------------------------------- what is done to them


def denoise(pictures: Pictures, console: Console) -> Outcome:
    """A U-Net beside two filters, whose widths are chosen on training images."""
    console.print("training: U-Net that takes away noise", style="dim")
    noisy, clean = pictures.test, pictures.test_target
    model = DenoisingAutoencoder(
        encoder="unet",
        corruption=GaussianNoise(SIGMA / 255),
        patch_size=40,
        augmentations=["flip", "quarter_turn"],
        batch_size=8,
        max_epochs=max(1, round(2e6 / pictures.train_target.size)),
        validation_fraction=0,
        random_state=0,
    ).fit(pictures.train_target)

    def gaussian(image: np.ndarray, width: float) -> np.ndarray:
        return ndimage.gaussian_filter(image, width)

    def nl_means(image: np.ndarray) -> np.ndarray:
        found = restoration.denoise_nl_means(image / 255, 5, 6, 0.6 * SIGMA / 255, sigma=SIGMA / 255)
        return 255 * found

    def on_training(width: float) -> float:
        return psnr(pictures.train_target, [gaussian(image, width) for image in pictures.train], 255)

    width = max((0.6, 0.8, 1.0, 1.3, 1.6), key=on_training)
    restored = {
        "as it is": noisy,
        f"Gaussian filter, σ = {width} pixels": np.stack([gaussian(image, width) for image in noisy]),
        "non-local means": np.stack([nl_means(image) for image in noisy]),
        "U-Net": model.reconstruct(noisy),
    }
    rows = [(name, f"{psnr(clean, images, 255):.2f}") for name, images in restored.items()]
    return Outcome(
        f"Noise of {SIGMA} grey levels on {pictures.name}: {counts(pictures)}",
        ("restored by", "PSNR, dB"),
        rows,
        "PSNR: 10 log₁₀(255² / mean squared error) of a test image, mean over images. The Gaussian filter's "
        "width is the best on the training images; non-local means are scikit-image's, told the noise, h = 0.6 σ. "
        f"The U-Net was trained for {seconds(model):.0f} s.",
        chapter(model, noisy, clean, "photographs", "Noise taken from photographs"),
    )


def segment(pictures: Pictures, console: Console) -> Outcome:
    """A U-Net beside a threshold on the smoothed image, both chosen on the training images."""
    console.print("training: U-Net that finds shapes", style="dim")
    images, masks = pictures.test, pictures.test_target
    model = Segmenter(
        encoder=UNetEncoder((16, 32, 64)),
        patch_size=64,
        augmentations=["flip", "quarter_turn"],
        batch_size=4,
        learning_rate=3e-3,
        max_epochs=max(1, round(8e6 / pictures.train.size)),
        validation_fraction=0,
        random_state=0,
    ).fit(pictures.train, pictures.train_target)

    def threshold(images: np.ndarray, where: tuple[int, bool]) -> np.ndarray:
        level, bright = where
        return ((smooth(images) > level) == bright).astype(np.int64)

    def smooth(images: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(images.astype(np.float64), (0, 2, 2))

    levels = [(level, bright) for level in range(60, 200, 10) for bright in (False, True)]
    chosen = max(levels, key=lambda where: dice(pictures.train_target, threshold(pictures.train, where)))
    name = f"smoothed (σ = 2 pixels), {'above' if chosen[1] else 'below'} {chosen[0]}"
    rows = [
        (
            name,
            f"{dice(masks, found):.3f}",
            f"{boundary_f1(masks, found):.3f}",
            f"{100 * pixel_error(masks, found):.1f}",
        )
        for name, found in ((name, threshold(images, chosen)), ("U-Net", model.predict(images)))
    ]
    return Outcome(
        f"Segmentation of {pictures.name}: {counts(pictures)}",
        ("by", "Dice", "boundary F1", "pixel error, %"),
        rows,
        "Means over test images. Boundary F1 allows 2 pixels. The threshold is the best on the training images. "
        f"The U-Net was trained for {seconds(model):.0f} s.",
        chapter(model, images, masks, "segmentation", f"Segmentation: {pictures.name}"),
    )


def seconds(model: Any) -> float:
    """Of training."""
    return sum(row["seconds"] for row in model.history_)


def counts(pictures: Pictures) -> str:
    """How many images of what size."""
    height, width = pictures.test.shape[1:]
    return f"{len(pictures.train)} training and {len(pictures.test)} test images of {height} × {width}"


def chapter(model: Any, images: np.ndarray, targets: np.ndarray, key: str, title: str) -> Chapter:
    """What the report says of a model, by test images."""
    return Chapter(key, title, build_sections(Subject(model, images, targets), command="make demo"))


# ---------------------------------------------------------------------- what the demo calls


def outcomes(console: Console) -> list[Outcome]:
    """Both, trained and measured."""
    return [denoise(photographs(), console), segment(cells(), console)]


def print_outcome(outcome: Outcome, console: Console) -> None:
    """The table, and what its figures mean."""
    table = Table(title=outcome.title)
    for column, head in enumerate(outcome.head):
        table.add_column(head, justify="right" if column else "left")
    for row in outcome.rows:
        table.add_row(*row)
    console.print(table)
    console.print(outcome.units, style="dim")


def blocks(outcome: Outcome) -> list[Note | ReportTable]:
    """The same for the head of the report."""
    return [Note(outcome.title), ReportTable(outcome.head, outcome.rows, outcome.units)]
