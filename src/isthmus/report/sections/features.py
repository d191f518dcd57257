"""What a convolutional encoder looks for, and where in a picture it finds it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.report.blocks import Picture, Section
from isthmus.report.draw import compass, grid
from isthmus.report.plots import CLASSES, blank
from isthmus.report.subject import Subject

__all__ = ["features", "first_convolution"]

MOST_KERNELS, MOST_CURVES, MAPS = 64, 16, 8
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def features(subject: Subject) -> Section | None:
    """The first layer's kernels, and the maps of one picture that vary most, at every level."""
    first = first_convolution(subject.module.encoder)
    if first is None:
        return None
    kernels = first.weight.detach().double().cpu().numpy()  # (channels, C, *positions)
    pictures = [_curves(kernels) if kernels.ndim == 3 else _kernels(kernels)]
    if subject.image_shape is not None:
        pictures.append(_maps(subject))
    return Section("features", "Filters and feature maps", pictures)


def first_convolution(encoder: nn.Module) -> Any:
    """The encoder's first convolution, or None where it has none."""
    return next((layer for layer in encoder.modules() if isinstance(layer, CONVOLUTIONS)), None)


# ---------------------------------------------------------------------- kernels


def _strongest(kernels: np.ndarray, most: int) -> tuple[np.ndarray, str]:
    norms = np.square(kernels).reshape(len(kernels), -1).sum(1)
    chosen = np.sort(np.argsort(-norms, kind="stable")[:most])
    size = " × ".join(map(str, kernels.shape[2:])) if kernels.ndim > 3 else f"{kernels.shape[2]} wide"
    whose = f"all {len(kernels)}" if len(chosen) == len(kernels) else f"the {len(chosen)} largest of {len(kernels)}"
    return kernels[chosen], f"{whose} kernels of the first layer, {size}"


def _kernels(kernels: np.ndarray) -> Picture:
    shown, whose = _strongest(kernels, MOST_KERNELS)
    volume = shown.ndim == 5
    if volume:
        shown = shown[:, :, shown.shape[2] // 2]
    columns = min(16, len(shown))
    width = 0.42 * columns + 0.2
    cut = ", by their middle slice" if volume else ""
    if shown.shape[1] == 3:
        drawn = 0.5 + 0.5 * np.moveaxis(compass(shown), 1, -1)
        figure = grid(drawn, columns, limits=(0.0, 1.0), width=width)
        said = "Grey is 0; each is scaled by its own largest weight."
    else:
        figure = grid(compass(shown[:, 0]), columns, signed=True, limits=(-1.0, 1.0), width=width)
        first = " Of several input channels the first." if shown.shape[1] > 1 else ""
        said = f"Red weights are positive, blue negative, white 0; each is scaled by its own largest weight.{first}"
    return Picture("kernels", figure, whose, f"{whose[0].upper()}{whose[1:]}{cut}. {said}", wide=True)


def _curves(kernels: np.ndarray) -> Picture:
    shown, whose = _strongest(kernels, MOST_CURVES)
    columns = min(8, len(shown))
    lines = -(-len(shown) // columns)
    figure = blank(0.2 + 0.86 * columns, 0.2 + 0.86 * lines)
    panels = np.atleast_1d(figure.subplots(lines, columns, sharex=True, sharey=True)).ravel()
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    peak = float(np.abs(shown).max()) or 1.0
    for panel, kernel in zip(panels, shown, strict=False):
        panel.axhline(0, color="0.7", linewidth=0.6)
        for place, channel in enumerate(kernel[: len(CLASSES)]):
            panel.plot(
                channel, color=CLASSES[place], linewidth=1.2, marker="o" if len(channel) < 12 else "", markersize=2
            )
        panel.set(xticks=[], yticks=[], ylim=(-1.1 * peak, 1.1 * peak))
    several = " A colour for each input channel." if shown.shape[1] > 1 else ""
    said = f"Weights along the signal, on one scale; the grey line is 0.{several}"
    return Picture("kernels", figure, whose, f"{whose[0].upper()}{whose[1:]}. {said}", wide=True)


# ---------------------------------------------------------------------- feature maps


def _maps(subject: Subject) -> Picture:
    row = len(subject) // 2
    levels = _levels(subject, row)
    picture = subject.pictures([subject.rows[row]] if subject.ragged else subject.rows[row : row + 1])[0]
    columns = 1 + max(min(MAPS, len(level)) for level in levels)
    side, ratio = 5.8 / columns, picture.shape[0] / picture.shape[1]
    figure = blank(1.4 + 5.8, len(levels) * (side * ratio + 0.08) + 0.05)
    panels = np.asarray(figure.subplots(len(levels), columns)).reshape(len(levels), columns)
    for panel in panels.ravel():
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    low, high = float(picture.min()), float(picture.max())
    shown = (picture - low) / ((high - low) or 1)
    panels[0, 0].imshow(shown, cmap="gray", interpolation="antialiased")
    for line, (level, maps) in enumerate(zip(panels, levels, strict=True), start=1):
        size = " × ".join(map(str, maps.shape[1:]))
        level[0].set_ylabel(
            f"level {line}\n{size}\n{len(maps)} channels", rotation=0, ha="right", va="center", fontsize=9
        )
        flat = maps if maps.ndim == 3 else maps[:, maps.shape[1] // 2]
        chosen = np.argsort(-flat.reshape(len(flat), -1).var(1), kind="stable")[:MAPS]
        for panel, channel in zip(level[1:], flat[chosen], strict=False):
            panel.imshow(channel, cmap="gray", interpolation="antialiased" if channel.shape[1] > 100 else "nearest")
    alt = f"feature maps of one picture at {len(levels)} levels of the encoder"
    said = f"Row {subject.index[row]} (above left) and the channels that vary most over it, a line for each level."
    cut = " Volumes by their middle slice." if subject.positions == 3 else ""
    return Picture(
        "feature_maps", figure, alt, f"{said} Each map from its lowest (black) to its highest value.{cut}", True
    )


def _levels(subject: Subject, row: int) -> list[np.ndarray]:
    """The last map of each size and width that the encoder makes, ``(C, *positions)`` each, the largest first."""
    module, found = subject.module, {}
    positions = subject.positions

    def keep(layer: nn.Module, given: Any, out: Any) -> None:
        if isinstance(out, Tensor) and out.dim() == positions + 2:
            found[tuple(out.shape)] = out[0].double().cpu().numpy()

    layers = [layer for layer in module.encoder.modules() if layer is not module.encoder]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        module.eval()
        with torch.no_grad():
            module.encode(subject.batch(np.array([row])), noise=torch.zeros_like)
    finally:
        for hook in hooks:
            hook.remove()
    return sorted(found.values(), key=lambda maps: -maps[0].size)
