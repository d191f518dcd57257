"""Ng's exercise (CS294A): a sparse autoencoder of 25 sigmoid units on whitened 8 × 8 patches of natural images.

Fits Gabor functions to the inputs that excite each unit most and, with the same code, to PCA's 25
components. ``docs/sparse_patches.md`` maps the notes' formulas to the library's.

    ISTHMUS_DATA=/path/to/data python benchmarks/sparse_patches.py [--minutes 10] [--seeds 0 1 2 3 4]

It writes ``benchmarks/results/sparse_patches.json`` and ``docs/images/sparse_patches.png``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares
from sklearn.decomposition import PCA
from torch import nn

from isthmus import LBFGS, Callback, L2Weights, MLPEncoder, SparseAutoencoder, SquaredError

SIDE, UNITS = 8, 25
RHO, BETA, LAMBDA = 0.01, 3.0, 1e-4  # the notes' ρ, β, λ
PER_EPOCH = 20  # L-BFGS iterations
BLOCK = re.compile(r"(<!-- table: begin -->\n).*?(<!-- table: end -->)", re.DOTALL)
R2, WIDTH = 0.8, 2.5  # a Gabor unit: R² at least, narrower σ in pixels at most

# ---------------------------------------------------------------------- the data


def whiten(images: np.ndarray, f0: float = 0.4) -> np.ndarray:
    """Olshausen & Field's filter f · exp(−(f/f₀)⁴) on each image ``(n, H, W)``; f in cycles a pixel."""
    rows, columns = (np.fft.fftfreq(length) for length in images.shape[1:])
    f = np.hypot(rows[:, None], columns)
    return np.fft.ifft2(np.fft.fft2(images) * f * np.exp(-((f / f0) ** 4))).real


def sample_patches(images: np.ndarray, n: int, seed: int, border: int = 4) -> np.ndarray:
    """Patches ``(n, 64)`` from uniform places, ``border`` pixels off the edge (there the filter wraps round)."""
    rng = np.random.default_rng(seed)
    which = rng.integers(len(images), size=n)
    top, left = (rng.integers(border, length - border - SIDE + 1, size=n) for length in images.shape[1:])
    steps = np.arange(SIDE)
    rows, columns = top[:, None, None] + steps[:, None], left[:, None, None] + steps
    return images[which[:, None, None], rows, columns].reshape(n, -1)


def squeeze(patches: np.ndarray) -> np.ndarray:
    """The exercise's scaling: each patch's mean removed, cut at ± 3 standard deviations, mapped to [0.1, 0.9]."""
    patches = patches - patches.mean(1, keepdims=True)
    limit = 3 * patches.std()
    return (patches.clip(-limit, limit) / limit + 1) * 0.4 + 0.1


# ---------------------------------------------------------------------- the model


class NotesStart(Callback):
    """The notes' start: weights uniform in ± √(6 / (n_in + n_out + 1)), biases zero."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @torch.no_grad()
    def on_fit_start(self, loop: Any) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        for layer in loop.step.modules():
            if isinstance(layer, nn.Linear):
                limit = (6 / (layer.in_features + layer.out_features + 1)) ** 0.5
                layer.weight.uniform_(-limit, limit, generator=generator)
                layer.bias.zero_()


class CentredStart(NotesStart):
    """The notes' weights times 4, near the norm they end with, blind to the patches' mean; biases with ρ̂ = ρ.

    From the notes' own start every unit must first fall from ρ̂ = 1/2 to ρ, and one to three of the 25
    lose all their weights on the way and stay dead.
    """

    @torch.no_grad()
    def on_fit_start(self, loop: Any) -> None:
        super().on_fit_start(loop)
        unit, end = loop.step.model.bottleneck.linear, loop.step.model.decoder.end
        unit.weight.mul_(4).sub_(unit.weight.mean(1, keepdim=True))
        end.weight.mul_(4)
        drive = loop.source.rows.x @ unit.weight.T  # (n, 25)
        unit.bias.copy_(np.log(RHO / (1 - RHO)) - drive.mean(0))
        for _ in range(30):
            unit.bias.sub_(((drive + unit.bias).sigmoid().mean(0) / RHO).log())


STARTS = {"notes": NotesStart, "centred": CentredStart}


class Course(Callback):
    """Keeps the units' weights every so many epochs, and ends a run that is over its time."""

    def __init__(self, seconds: float, every: int) -> None:
        self.every, self.deadline = every, time.perf_counter() + seconds
        self.kept = list[tuple[int, float, np.ndarray]]()

    def on_epoch_end(self, loop: Any) -> None:
        state = loop.state
        if time.perf_counter() > self.deadline:
            state.stop = state.stop or "out of time"
        if state.epoch % self.every == 0 or state.stop or state.epoch == loop.max_epochs:
            weights = loop.step.model.bottleneck.linear.weight.detach().cpu().double().numpy().copy()
            self.kept.append((state.epoch * PER_EPOCH, state.history[-1]["objective"], weights))


def sparse_autoencoder(iterations: int, history_size: int, callbacks: Sequence[Callback]) -> SparseAutoencoder:
    """The exercise's model. Twice the notes' objective is ours with 2β and λ: see docs/sparse_patches.md."""
    return SparseAutoencoder(
        latent_dim=UNITS,
        encoder=MLPEncoder(hidden_dims=()),
        sparsity="kl",
        sparsity_weight=2 * BETA,
        rho=RHO,
        loss=SquaredError(link="sigmoid"),
        penalties=[L2Weights(LAMBDA)],
        scale=None,
        optimizer=LBFGS(PER_EPOCH, history_size),
        max_epochs=-(-iterations // PER_EPOCH),
        validation_fraction=0,
        precision="64-true",
        random_state=0,
        callbacks=callbacks,
    )


# ---------------------------------------------------------------------- the test


def gabor_parts(place: np.ndarray) -> np.ndarray:
    """Envelope · cos and envelope · sin, ``(2, 64)``: a Gabor function is A times one, at some phase.

    ``place`` is row, column, orientation, frequency (cycles a pixel), σ along and across the wave (pixels).
    """
    row, column, angle, frequency, along, across = place
    y, x = ROWS - row, COLUMNS - column
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    envelope = np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2))
    wave = 2 * np.pi * frequency * u
    return np.stack([envelope * np.cos(wave), envelope * np.sin(wave)])


ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].reshape(2, -1)
NAMES = ("row", "column", "orientation", "frequency", "sigma_along", "sigma_across")
LOW = np.array([0, 0, -np.pi, 0.5 / SIDE, 0.5, 0.5])  # at least half a wave to a patch, at most Nyquist's two pixels
HIGH = np.array([SIDE - 1, SIDE - 1, 2 * np.pi, 0.5, SIDE, SIDE])
GRID = [
    np.array([row, column, angle, frequency, width, width])
    for row, column in itertools.product((1.5, 3.5, 5.5), repeat=2)
    for angle in np.arange(8) * np.pi / 8
    for frequency in (0.1, 0.18, 0.3)
    for width in (1.0, 2.0, 4.0)
]
PLANES = np.linalg.qr(np.stack([gabor_parts(start).T for start in GRID]))[0]  # (starts, 64, 2), orthonormal


def fit_gabor(image: np.ndarray, tries: int) -> dict[str, Any]:
    """The least-squares Gabor function of an image ``(64,)``, from the best ``tries`` of 648 starts.

    Amplitude and phase enter linearly and are solved exactly at every step (variable projection), so
    the search has six unknowns: row, column, orientation, frequency and the two widths. No offset is
    fitted; R² is about the image's mean.
    """
    image = image / np.linalg.norm(image)

    def residual(place: np.ndarray) -> np.ndarray:
        parts = gabor_parts(place)
        gram = parts @ parts.T + 1e-12 * np.eye(2)
        return image - np.linalg.solve(gram, parts @ image) @ parts

    explained = np.square(np.einsum("spk,p->sk", PLANES, image)).sum(1)
    starts = [GRID[index] for index in np.argsort(-explained)[:tries]]
    fits = [least_squares(residual, start, bounds=(LOW, HIGH), x_scale=(1, 1, 0.3, 0.05, 1, 1)) for start in starts]
    best = min(fits, key=lambda fit: fit.cost)
    r2, sigma = 1 - 2 * best.cost / np.square(image - image.mean()).sum(), float(min(best.x[4:]))
    place = {name: round(float(value), 3) for name, value in zip(NAMES, best.x, strict=True)}
    return {"r2": float(r2), "sigma": sigma, "gabor": bool(r2 >= R2 and sigma <= WIDTH), **place}


# ---------------------------------------------------------------------- the run


def descend(seed: int, patches: np.ndarray, options: argparse.Namespace) -> tuple[dict[str, Any], np.ndarray]:
    """Train from one start: its course in figures, and the units' weights ``(25, 64)`` at the end."""
    course = Course(60 * options.minutes / len(options.seeds) / options.starts, 400 // PER_EPOCH)
    model = sparse_autoencoder(options.iterations, options.history, [STARTS[options.start](seed), course])
    started = time.process_time()
    model.fit(patches)
    seconds = time.process_time() - started
    rho_hat = model.mean_activations(patches)
    curve = [
        {
            "iterations": iterations,
            "notes_objective": objective / 2,
            "gabor_units": sum(fit_gabor(row, options.tries)["gabor"] for row in weights),
            "dead_units": int((np.linalg.norm(weights, axis=1) < 0.5).sum()),
        }
        for iterations, objective, weights in course.kept
    ]
    found = {**curve[-1], "rho_hat": [float(rho_hat.min()), float(rho_hat.max())], "cpu_seconds": seconds}
    return {**found, "curve": curve}, course.kept[-1][2]


def run(seed: int, images: np.ndarray, options: argparse.Namespace) -> dict[str, Any]:
    """The lowest minimum of several starts on the patches of this seed, and its units under test beside PCA's."""
    patches = squeeze(sample_patches(images, options.patches, seed))
    runs = [descend(100 * seed + start, patches, options) for start in range(options.starts)]
    best, weights = min(runs, key=lambda pair: pair[0]["notes_objective"])
    components = PCA(UNITS).fit(patches).components_
    units, pca = ([fit_gabor(row, options.tries) for row in rows] for rows in (weights, components))
    return {
        "seed": seed,
        **best,
        "gabor_components_of_pca": sum(component["gabor"] for component in pca),
        "starts": [found for found, _ in runs],
        "units": units,
        "pca": pca,
        "images": {"units": weights, "pca": components},
    }


def draw(result: dict[str, Any], path: Path) -> None:
    """The inputs of norm 1 that excite each unit most, Wⱼ / ‖Wⱼ‖, beside PCA's components."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(9.6, 5.6), layout="constrained")
    titles = {"units": "25 sparse units", "pca": "PCA's 25 components"}
    for name, panel in zip(titles, figure.subfigures(1, 2, wspace=0.04), strict=True):
        fits, images = result[name], result["images"][name]
        order = sorted(range(UNITS), key=lambda index: (not fits[index]["gabor"], -fits[index]["r2"]))
        panel.suptitle(f"{titles[name]}: {sum(fit['gabor'] for fit in fits)} Gabor functions")
        for index, axes in zip(order, panel.subplots(5, 5).flat, strict=True):
            limit = np.abs(images[index]).max()
            axes.imshow(images[index].reshape(SIDE, SIDE), cmap="gray", vmin=-limit, vmax=limit)
            fit = fits[index]
            shown = f"{fit['r2']:.2f}, {fit['sigma']:.1f} px" if fit["r2"] > 0 else "none"
            axes.set_xlabel(shown, color="black" if fit["gabor"] else "tab:red", fontsize=8, labelpad=2)
            axes.set(xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def summary(results: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """The figures of all seeds beside the marks."""
    shares = [result["gabor_units"] / UNITS for result in results]
    every = [start["gabor_units"] / UNITS for result in results for start in result["starts"]]
    return {
        "setting": f"{options.patches:,} patches, {options.start} start, lowest J of {options.starts}, "
        f"{options.iterations} iterations, {options.history} pairs",
        "test": f"Gabor fit with R2 >= {R2} and narrower sigma <= {WIDTH} pixels",
        "gabor_share_mean": float(np.mean(shares)),
        "gabor_shares": shares,
        "gabor_share_mark": 0.8,
        "gabor_share_mean_of_all_starts": float(np.mean(every)),
        "dead_units": [result["dead_units"] for result in results],
        "notes_objectives": [result["notes_objective"] for result in results],
        "pca_gabor_shares": [result["gabor_components_of_pca"] / UNITS for result in results],
        "rho_hat_furthest_from_rho": max(abs(value / RHO - 1) for result in results for value in result["rho_hat"]),
        "rho_hat_mark": 0.2,
        "cpu_seconds": sum(start["cpu_seconds"] for result in results for start in result["starts"]),
        "seeds": results,
    }


def write(found: dict[str, Any], options: argparse.Namespace) -> None:
    """The result of this setting in the file: the main one, or with ``--tried`` one line among those tried."""
    whole = json.loads(options.out.read_text()) if options.out.exists() else {}
    tried = whole.pop("tried", {})
    if options.tried:
        tried[found["setting"]] = {name: value for name, value in found.items() if name not in ("seeds", "test")}
    else:
        whole = found
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**whole, "tried": tried}, indent=1))


def table(result: dict[str, Any]) -> str:
    """The main setting and all that were tried, as the documents show them."""
    lines = [
        "| setting | Gabor units, mean | each seed | dead units | notes' J, mean | PCA's components | CPU seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for number, row in enumerate([result, *result["tried"].values()]):
        name = f"**{row['setting']}**" if number == 0 else row["setting"]
        shares, pca = (
            " ".join(str(round(UNITS * share)) for share in row[key]) for key in ("gabor_shares", "pca_gabor_shares")
        )
        dead, mean = " ".join(map(str, row["dead_units"])), np.mean(row["notes_objectives"])
        figures = f"{row['gabor_share_mean']:.0%} | {shares} | {dead} | {mean:.4f} | {pca} | {row['cpu_seconds']:.0f}"
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30, help="most training time, shared among the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of patches and first weights")
    parser.add_argument("--starts", type=int, default=4, help="runs a seed, of which the lowest objective is taken")
    parser.add_argument("--start", choices=list(STARTS), default="centred", help="the first weights")
    parser.add_argument("--iterations", type=int, default=800, help="of L-BFGS")
    parser.add_argument("--history", type=int, default=100, help="pairs that L-BFGS remembers")
    parser.add_argument("--patches", type=int, default=10_000)
    parser.add_argument("--tries", type=int, default=8, help="starts of each Gabor fit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tried", action="store_true", help="add a line to the settings tried; no picture")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sparse_patches.json"))
    parser.add_argument(
        "--picture", type=Path, default=Path("docs/images/sparse_patches.png"), help="of the first seed"
    )
    parser.add_argument("--page", type=Path, default=Path("docs/sparse_patches.md"), help="whose table is written anew")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = np.load(Path(os.environ["ISTHMUS_DATA"]) / "bsd400.npz")
    images = whiten(data["images"].astype(np.float64))
    results = []
    for seed in options.seeds:
        results.append(run(seed, images, options))
        pictures = results[-1].pop("images")
        if len(results) == 1 and not options.tried:
            draw({**results[0], "images": pictures}, options.picture)
        print(line(results[-1]), flush=True)
    write(summary(results, options), options)
    whole = json.loads(options.out.read_text())
    if options.page.exists() and "setting" in whole:
        options.page.write_text(BLOCK.sub(lambda match: match[1] + table(whole) + match[2], options.page.read_text()))


def line(result: dict[str, Any]) -> str:
    """One seed in words."""
    low, high = result["rho_hat"]
    counts = " ".join(str(start["gabor_units"]) for start in result["starts"])
    return (
        f"seed {result['seed']}: {result['gabor_units']} of {UNITS} units and {result['gabor_components_of_pca']} of "
        f"PCA's components are Gabor functions; {result['dead_units']} dead; ρ̂ {low:.5f} to {high:.5f}; "
        f"J {result['notes_objective']:.5f} (all starts: {counts})"
    )


if __name__ == "__main__":
    main()
