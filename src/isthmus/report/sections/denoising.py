"""Clean, damaged, restored."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from isthmus import metrics
from isthmus.report.blocks import Block, Note, Picture, Section, Table, short
from isthmus.report.draw import Strip, examples, profile, strips
from isthmus.report.plots import INK, MUTED, TRAIN, VALIDATION, axes
from isthmus.report.rows import every, real, taken
from isthmus.report.sections.series import channels_of, scaled, unit_of
from isthmus.report.subject import Subject

__all__ = ["denoising"]

MEASURED, LEAST_SIDE = 500, 11
"""Pictures that PSNR and SSIM are taken of, and the shortest side that SSIM's window fits."""
MOST_HEADS, CHANGED = 5, ("damaged", "restored")
"""The most columns with their PSNR above, and what it is taken of."""
LOOKS: dict[str, tuple[str, Any]] = {"damaged": (MUTED, ":"), "restored": (VALIDATION, "--"), "clean": (INK, "-")}


def denoising(subject: Subject) -> Section | None:
    """Examples of a model that was trained to undo damage, and the error before and after."""
    series = subject.layout == "series"
    if (
        not subject.rebuilds
        or subject.layout == "texts"
        or (subject.ragged and not series and subject.image_shape is None)
    ):
        return None
    if (damaged := _damaged(subject)) is None:
        return None
    restored = subject.reconstruction if subject.clean is not None else _restored(subject, damaged)
    before, after = (_error(rows, subject.truth) for rows in (damaged, restored))
    damage, left = (float(np.sqrt(np.square(error).mean())) for error in (before, after))
    undone = f" {short(100 * (1 - left**2 / damage**2), 2)} % of the squared error is undone." if damage > 0 else ""
    blocks: list[Block] = [
        Note(f"The damage is {short(damage)} units of X (root mean square), and {short(left)} are left.{undone}")
    ]
    lines = {"clean": subject.truth, "damaged": damaged, "restored": restored}
    if subject.image_shape is not None:
        blocks += [_measures(subject, lines), _pictures(subject, lines)]
    elif series:
        blocks += [_steps(subject, lines, row) for row in every(len(subject), 2)]
    else:
        index = every(len(subject), 2)
        blocks += [_profile(subject, lines, row) for row in index]
    return Section("denoising", "Clean, damaged, restored", [*blocks, _before_after(before, after)])


def _damaged(subject: Subject) -> Any:
    if subject.clean is not None:
        return real(subject.rows)
    if subject.module.corruption is None or not hasattr(subject.line, "corrupt"):
        return None
    if subject.layout == "series":
        return real(list(subject.line.corrupt(subject.rows)))
    if subject.ragged:
        return [real(subject.line.corrupt(row[np.newaxis])[0]) for row in subject.rows]
    return real(subject.line.corrupt(subject.shown))


def _restored(subject: Subject, damaged: Any) -> Any:
    if subject.layout == "series":
        return real(list(subject.line.reconstruct(damaged)))
    return real(subject.line.reconstruct(subject.like(damaged, subject.line)))


def _error(rows: Any, truth: Any) -> np.ndarray:
    """Of each row, root mean square over its numbers."""
    return np.array([np.sqrt(np.square(row - true).mean()) for row, true in zip(rows, truth, strict=True)])


# ---------------------------------------------------------------------- pictures


def _measures(subject: Subject, lines: dict[str, Any]) -> Table:
    """PSNR and, where scikit-image is and its window fits, SSIM of the damaged and the restored."""
    index = every(len(subject), MEASURED)
    shaped = {name: _shaped(subject, taken(rows, index)) for name, rows in lines.items()}
    top, whence = _range(subject)
    sides = min(min(row.shape[-subject.positions or -2 :]) for row in shaped["clean"])
    with_ssim = subject.positions != 1 and sides >= LEAST_SIDE and importlib.util.find_spec("skimage") is not None
    rows = []
    for name in CHANGED:
        pair = shaped["clean"], shaped[name]
        row = [name, f"{metrics.psnr(*pair, data_range=top):.2f}"]
        if with_ssim:
            row.append(f"{metrics.ssim(*pair, data_range=top, dims=max(2, subject.positions)):.4f}")
        rows.append(row)
    head = ("pictures", "PSNR, dB", *(["SSIM"] if with_ssim else []))
    caption = f"Against the clean ones, means over {len(index):,} pictures; the range is {short(top)}, {whence}."
    return Table(head, rows, caption)


def _shaped(subject: Subject, rows: Any) -> Any:
    return rows if subject.positions else subject.pictures(rows)


def _range(subject: Subject) -> tuple[float, str]:
    """The largest value less the smallest that a picture may have, and why."""
    kind = (subject.rows if subject.clean is None else subject.clean)[0].dtype
    if kind.kind == "u":
        return float(np.iinfo(kind).max), f"that of {kind}"
    low, high = min(row.min() for row in subject.truth), max(row.max() for row in subject.truth)
    if low >= 0 and 0.5 < high <= 1:
        return 1.0, "as values lie between 0 and 1"
    return float(high - low) or 1.0, "that of the clean pictures shown"


def _pictures(subject: Subject, lines: dict[str, Any]) -> Picture:
    assert subject.image_shape is not None
    index = every(len(subject), examples(subject.image_shape[1]))
    drawn = {name: subject.pictures(taken(rows, index)) for name, rows in lines.items()}
    strip = [Strip(name, images) for name, images in drawn.items()]
    said = "Evenly spaced over the data; one scale for all, that of the clean."
    if drawn["clean"].ndim == 3:
        difference = drawn["restored"] - drawn["clean"]
        ends = float(np.nanquantile(np.abs(difference), 0.99)) or 1.0
        strip.append(Strip("difference", difference, signed=True, bar="units of X", limits=(-ends, ends)))
        said += " Difference, restored less clean: red is too high there, blue too low; 1 % lies beyond the bar's ends."
    alt = f"{len(index)} clean pictures, the same damaged, and restored"
    heads = _decibels(subject, lines, index) if len(index) <= MOST_HEADS else []
    said += " Above: the PSNR, damaged → restored." if heads else ""
    return Picture("restored", strips(strip, heads), alt, said, wide=True)


def _decibels(subject: Subject, lines: dict[str, Any], index: np.ndarray) -> list[str]:
    """The PSNR of each picture before and after."""
    top, _ = _range(subject)
    pairs = [[_shaped(subject, taken(lines[name], index)) for name in ("clean", which)] for which in CHANGED]
    before, after = ([metrics.psnr([true], [row], top) for true, row in zip(*pair, strict=True)] for pair in pairs)
    return [f"{first:.1f} → {then:.1f} dB" for first, then in zip(before, after, strict=True)]


# ---------------------------------------------------------------------- tables


def _profile(subject: Subject, lines: dict[str, Any], row: int) -> Picture:
    figure, panel = profile(subject.names, subject.rows[0].size, f"row {row}")
    shift = subject.truth.mean(0)
    for name, rows in lines.items():
        colour, dash = LOOKS[name]
        panel.plot(((rows[row] - shift) / subject.spread).ravel(), color=colour, linestyle=dash, label=name)
    panel.legend()
    return Picture(
        f"triplet_{row}",
        figure,
        f"row {row}: damaged, restored and clean",
        "One row, in deviations of each column from its mean.",
    )


def _steps(subject: Subject, lines: dict[str, Any], row: int) -> Picture:
    """One series: the channel that varies most."""
    channel = int(channels_of(subject)[subject.steps.std(0)[channels_of(subject)].argmax()])
    where = f", channel {channel}" if subject.steps.shape[1] > 1 else ""
    figure, panel = axes(xlabel="step", ylabel=unit_of(subject), title=f"series {subject.index[row]}{where}")
    for name, (colour, dash) in LOOKS.items():
        panel.plot(scaled(subject, lines[name][row])[:, channel], color=colour, linestyle=dash, label=name)
    panel.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(ncols=3, loc="outside lower center")
    return Picture(f"triplet_{row}", figure, f"series {row}: damaged, restored and clean", "One series.")


def _before_after(before: np.ndarray, after: np.ndarray) -> Picture:
    figure, panel = axes(4.0, 3.4, xlabel="RMS error of the damaged row, units of X", ylabel="of the restored row")
    index = every(len(before), 3000)
    panel.scatter(before[index], after[index], s=9, color=TRAIN, alpha=0.45, linewidths=0, rasterized=True)
    limit = max(before.max(), after.max())
    panel.plot([0, limit], [0, limit], color=MUTED, linewidth=1)
    alt = f"error after restoring against error before, means {short(after.mean())} and {short(before.mean())}"
    return Picture("before_after", figure, alt, "Below the line a row was improved.")
