"""What each unit of the code responds to, and what it makes the decoder do."""

from __future__ import annotations

import numpy as np
from torch import nn

from isthmus.report.blocks import Note, Picture, Section
from isthmus.report.draw import compass, grid, heatmap
from isthmus.report.sections.features import first_convolution
from isthmus.report.subject import Subject

__all__ = ["units"]

MOST_UNITS = 64
MOST_COLUMNS = 60


def units(subject: Subject) -> Section | None:
    """Average inputs weighted by a unit's activation, what the decoder adds for it, and first weights."""
    if subject.layout != "rows" or not subject.has_code or (subject.image_shape is None and subject.rows.ndim > 2):
        return None
    activity = subject.units
    deviation = activity.std(0)
    chosen = np.sort(np.argsort(-deviation, kind="stable")[:MOST_UNITS])
    chosen = chosen[deviation[chosen] > 0]
    if not len(chosen):
        return None
    weighted = _weighted(subject, (activity[:, chosen] - activity[:, chosen].mean(0)) / deviation[chosen])
    decoded = _decoded(subject, chosen, deviation[chosen]) if subject.decodes else None
    shown = (
        f"the {len(chosen)} most active of {activity.shape[1]} units"
        if len(chosen) < activity.shape[1]
        else "all units"
    )
    draw = _images if subject.image_shape is not None else _table
    pictures = draw(subject, weighted, decoded, shown)
    if (first := _first_weights(subject)) is not None and subject.image_shape is not None:
        pictures.append(_weights(subject, *first))
    return Section("units", "What each unit responds to", [Note(f"Shown: {shown}, row by row."), *pictures])


def _weighted(subject: Subject, activity: np.ndarray) -> np.ndarray:
    """mean of (x − x̄) · (z − z̄)/std(z), ``(units, *shape)``: what the input has more of when the unit is high."""
    rows = subject.rows.reshape(len(subject), -1).astype(np.float64)
    return (activity.T @ (rows - rows.mean(0)) / len(rows)).reshape(-1, *subject.rows.shape[1:])


def _decoded(subject: Subject, chosen: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """½ [decoder(z̄ + s e) − decoder(z̄ − s e)] with s one deviation of the unit, ``(units, *shape)``."""
    middle = np.repeat(subject.codes.mean(0, keepdims=True), len(chosen), 0).astype(np.float64)
    step = np.zeros_like(middle)
    for index, (unit, size) in enumerate(zip(chosen, deviation, strict=True)):
        step[index, ..., unit] = size
    return 0.5 * (subject.decode(middle + step) - subject.decode(middle - step))


def _images(subject: Subject, weighted: np.ndarray, decoded: np.ndarray | None, shown: str) -> list[Picture]:
    said = "The input's difference from the mean image, averaged with the unit's standardised activation as weight."
    pictures = [_tiles(subject, "responses", weighted, f"average input of {shown}, weighted by activation", said)]
    if decoded is not None:
        said = "What one standard deviation more of the unit adds to the output, from the mean code."
        pictures.append(_tiles(subject, "decoded_units", decoded, f"change of the output for {shown}", said))
    return pictures


def _tiles(subject: Subject, name: str, rows: np.ndarray, alt: str, said: str) -> Picture:
    images = subject.pictures(rows)
    columns = min(8, len(images))
    if images.ndim == 3:
        figure = grid(compass(images), columns, signed=True, width=min(4.6, 0.6 * columns))
        return Picture(name, figure, alt, f"{said} Red more, blue less; each image has its own scale.")
    low, high = images.min((1, 2, 3), keepdims=True), images.max((1, 2, 3), keepdims=True)
    figure = grid((images - low) / np.where(high > low, high - low, 1), columns, width=min(4.6, 0.6 * columns))
    return Picture(name, figure, alt, f"{said} Each image is stretched to its own range.")


def _table(subject: Subject, weighted: np.ndarray, decoded: np.ndarray | None, shown: str) -> list[Picture]:
    columns = np.arange(weighted.shape[1])
    if len(columns) > MOST_COLUMNS:
        strongest = np.argsort(-np.abs(weighted / subject.spread).max(0), kind="stable")
        columns = np.sort(strongest[:MOST_COLUMNS])
    names = [subject.columns[column] for column in columns]
    note = "" if len(columns) == weighted.shape[1] else f" The {len(columns)} columns that respond most."
    correlation = (weighted / subject.spread)[:, columns]
    figure = heatmap(correlation, names, "correlation", 1.0)
    wide = len(columns) > 20
    alt = f"correlation of {shown} with the columns"
    pictures = [Picture("responses", figure, alt, f"Correlation of each unit with each column.{note}", wide)]
    if decoded is not None:
        figure = heatmap((decoded / subject.spread)[:, columns], names, "deviations of the column")
        said = f"What one deviation more of a unit adds to the output, from the mean code.{note}"
        pictures.append(Picture("decoded_units", figure, f"change of the output for {shown}", said, wide))
    return pictures


def _first_weights(subject: Subject) -> tuple[np.ndarray, bool] | None:
    """Weights of the first linear map where it reads the row itself, and whether its outputs are the code."""
    module, size = subject.module, subject.rows[0].size
    if first_convolution(module.encoder) is not None:
        return None
    for part in (module.encoder, module.bottleneck):
        linear = next((layer for layer in part.modules() if isinstance(layer, nn.Linear)), None)
        if linear is not None:
            weights = linear.weight.detach().double().cpu().numpy()
            return (weights, part is module.bottleneck) if linear.in_features == size else None
    return None


def _weights(subject: Subject, weights: np.ndarray, direct: bool) -> Picture:
    norms = np.linalg.norm(weights, axis=1)
    chosen = np.sort(np.argsort(-norms, kind="stable")[:MOST_UNITS])
    rows = weights[chosen]
    shape = subject.rows.shape[1:]
    if len(shape) > 2:  # the network's rows are channels last
        rows = np.moveaxis(rows.reshape(len(rows), *shape[1:], shape[0]), -1, 1)
    whose = "of each unit" if direct else f"of {len(rows)} of {len(weights)} units of the first layer"
    said = f"The input of norm 1 that excites a unit most, w/‖w‖, {whose}, in scaled units."
    return _tiles(subject, "first_weights", rows.reshape(len(rows), *shape), f"first weights {whose}", said)
