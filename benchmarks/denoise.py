"""Blind Gaussian denoising of grey photographs in the setting of DnCNN (Zhang et al. 2017): dB against minutes.

One model for all noise of 5 to 55 grey levels, trained on the 400 images of 180 × 180 that the paper
trained on, tested on Set12 at σ = 15, 25 and 50: the mean over the images of 10 log₁₀(255² / MSE), noise
from a fixed seed, neither clipped nor rounded; restored images are clipped to [0, 255]. No test-time
tricks. Published means over Set12 (Zhang et al. 2017, Table III): BM3D 32.37, 29.97, 26.72; DnCNN-S, one
model a strength, 32.86, 30.43, 27.18; DnCNN-B, one for 0 to 55, 32.68, 30.36, 27.21.

    ISTHMUS_DATA=/path/to/data python benchmarks/denoise.py --minutes 60 [--threads 2] [--resume]

It writes ``benchmarks/results/denoise.json`` as it goes, a checkpoint in ``runs/`` after each report, and
``docs/images/denoise.png`` at the end. ``--choose`` leaves Set12 alone: it trains on the first 368 images
and reports on the other 32.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from timed import CLOCKS, Timed

from isthmus import (
    Adam,
    Cosine,
    DenoisingAutoencoder,
    GaussianNoise,
    UNetDecoder,
    UNetEncoder,
    WeightAverage,
)
from isthmus.metrics import psnr

SIGMAS = (15, 25, 50)
BM3D = {15: 32.37, 25: 29.97, 50: 26.72}
DNCNN = {15: 32.86, 25: 30.43, 50: 27.18}


def load(choose: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Training images and named test images, bytes."""
    folder = Path(os.environ["ISTHMUS_DATA"])
    train = np.load(folder / "bsd400.npz")["images"]
    if choose:
        return train[:368], {f"{number}": image for number, image in enumerate(train[368:], start=368)}
    with np.load(folder / "set12.npz") as archive:
        return train, {name: archive[name] for name in archive.files}


def at_scales(images: np.ndarray, scales: list[float]) -> np.ndarray:
    """The images at each scale, as the paper trained on them (bicubic), mirrored at their ends to one size."""
    from PIL import Image

    side, every = images.shape[1], []
    for scale in scales:
        small = round(side * scale)
        around = ((side - small) // 2, side - small - (side - small) // 2)
        for image in images:
            resized = np.asarray(Image.fromarray(image).resize((small, small), Image.Resampling.BICUBIC))
            every.append(np.pad(resized, around, mode="reflect"))
    return np.stack(every)


def noisy(images: dict[str, np.ndarray], sigma: float, seed: int = 0) -> list[np.ndarray]:
    """Each image with its own noise, float32; image i's does not depend on the others."""
    return [
        (image + sigma * np.random.default_rng([seed, index]).standard_normal(image.shape)).astype(np.float32)
        for index, image in enumerate(images.values())
    ]


def denoiser(options: argparse.Namespace) -> DenoisingAutoencoder:
    """The model under test."""
    shared = {"blocks": options.blocks, "residual": options.residual, "normalization": None, "global_residual": True}
    channels = tuple(options.channels)
    return DenoisingAutoencoder(
        encoder=UNetEncoder(channels, **shared),
        decoder=UNetDecoder(channels[-2::-1], merge=options.merge, **shared),
        corruption=GaussianNoise((5 / 255, 55 / 255)),
        loss=options.loss,
        patch_size=options.patch,
        augmentations=["flip", "quarter_turn"],
        optimizer=Adam(),
        learning_rate=options.learning_rate,
        schedule=Cosine(floor=0.01),
        clip_norm=options.clip_norm,
        precision=options.precision,
        batch_size=options.batch,
        max_epochs=10**6,
        validation_fraction=0,
        random_state=options.seed,
    )


def score(model: DenoisingAutoencoder, test: dict[str, np.ndarray], sigma: float) -> float:
    """Mean PSNR over the images, dB."""
    restored = [image.clip(0, 255) for image in model.reconstruct(noisy(test, sigma))]
    return float(
        np.mean(
            [
                psnr(truth, found, 255)
                for truth, found in zip(
                    (image[np.newaxis] for image in test.values()),
                    (image[np.newaxis] for image in restored),
                    strict=True,
                )
            ]
        )
    )


def draw(model: DenoisingAutoencoder, test: dict[str, np.ndarray], path: Path, sigma: float = 25) -> None:
    """Three images: clean, noisy, restored, and what is left."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    damaged = noisy(test, sigma)
    figure, panels = plt.subplots(3, 4, figsize=(9.6, 7.4), layout="constrained")
    for index, row in zip((0, 2, 7), panels, strict=True):
        clean = list(test.values())[index].astype(np.float32)
        found = model.reconstruct(damaged[index][np.newaxis])[0].clip(0, 255)
        shown = ((clean, "clean"), (damaged[index], "noisy"), (found, "restored"))
        for axes, (image, name) in zip(row, shown, strict=False):
            decibels = "" if image is clean else f", {psnr(clean[np.newaxis], image[np.newaxis], 255):.2f} dB"
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            axes.set_title(f"{name}{decibels}", fontsize=9)
        row[3].imshow(found - clean, cmap="RdBu_r", vmin=-40, vmax=40)
        row[3].set_title("restored − clean, ± 40", fontsize=9)
    for axes in panels.flat:
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="training time")
    parser.add_argument("--every", type=float, default=5, help="minutes between reports")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--residual", action="store_true")
    parser.add_argument("--merge", choices=["concat", "add"], default="concat")
    parser.add_argument("--loss", choices=["squared_error", "absolute_error"], default="squared_error")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--clip-norm", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0], help="1 0.9 0.8 0.7 in the paper")
    parser.add_argument("--images", type=int, default=400, help="train on the first so many")
    parser.add_argument("--choose", action="store_true", help="hold out 32 training images, and leave Set12 alone")
    parser.add_argument("--resume", action="store_true", help="go on from the last report's epoch")
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/denoise.pt"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/denoise.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/denoise.png"))
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    torch.set_num_threads(options.threads)
    train, test = load(options.choose)
    model, average = denoiser(options), WeightAverage(decay=0.5)

    def measure() -> dict[str, float]:
        return {"psnr_25": score(model, test, 25)}

    timed = Timed(options.minutes, options.every, average, measure, options.checkpoint, options.resume, options.clock)
    model.set_params(callbacks=[average, timed])
    model.fit(at_scales(train[: options.images], options.scales))
    found = {sigma: score(model, test, sigma) for sigma in SIGMAS}
    result = {
        "setting": f"blind U-Net {options.channels}, {options.blocks} {'residual ' if options.residual else ''}blocks, "
        f"{options.merge}, {sum(p.numel() for p in model.module_.parameters()):,} parameters, patches of "
        f"{options.patch}, batch {options.batch}, {options.loss.replace('_', ' ')}, "
        f"Adam {options.learning_rate:g}, cosine to 1 %, images at scales {options.scales}",
        "tested_on": "32 held-out training images" if options.choose else "Set12",
        "threads": options.threads,
        "clock": options.clock,
        "precision": options.precision,
        "training_minutes": timed.spent / 60,
        "epochs": model.n_iter_,
        "psnr": found,
        "bm3d": BM3D,
        "dncnn_s": DNCNN,
        "curve": timed.curve,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))
    if not options.choose:
        draw(model, test, options.picture)
    print(json.dumps({key: value for key, value in result.items() if key != "curve"}, indent=1))


if __name__ == "__main__":
    main()
