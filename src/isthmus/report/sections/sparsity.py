"""How active each unit is, against how active it should be."""

from __future__ import annotations

import numpy as np

from isthmus.report.blocks import Note, Picture, Section
from isthmus.report.draw import mark, over
from isthmus.report.plots import TRAIN, VALIDATION, axes
from isthmus.report.subject import Subject

__all__ = ["sparsity"]

ACTIVE = 1e-3


def sparsity(subject: Subject) -> Section | None:
    """ρ̂ of each unit against ρ (KL), mean |z| of each (L1), and how many units a row has active."""
    kl, l1 = subject.penalty("kl_sparsity"), subject.penalty("l1_activity")
    if (kl is None and l1 is None) or (subject.ragged and not subject.has_code):
        return None
    values = subject.codes.reshape(-1, subject.codes.shape[-1]).astype(np.float64)  # at every position of a map
    mean = values.mean(0) if kl is not None else np.abs(values).mean(0)
    if kl is not None:
        within = np.abs(mean / kl.rho - 1) <= 0.2
        said = (
            f"Asked for ρ = {kl.rho:g}; the mean of ρ̂ over {len(mean)} units is {mean.mean():.3g}, "
            f"from {mean.min():.3g} to {mean.max():.3g}; {within.sum()} units lie within 20 % of ρ."
        )
    else:
        said = f"Mean |z| over {len(mean)} units is {mean.mean():.3g}."
    level = 0.5 if kl is not None else ACTIVE
    counts = (np.abs(values) > level).sum(1)
    pictures = [_means(mean, None if kl is None else kl.rho)]
    if counts.min() < counts.max():
        pictures.append(_counts(counts, level, subject.codes))
    else:
        said += f" {counts[0] or 'No'} units are above {level:g} in {'every' if counts[0] else 'any'} row."
    return Section("sparsity", "Sparsity", [Note(said), *pictures])


def _means(mean: np.ndarray, rho: float | None) -> Picture:
    symbol = "mean activation ρ̂" if rho is not None else "mean |z|"
    figure, panel = axes(xlabel="unit, in order of its activity", ylabel=symbol)
    panel.bar(range(len(mean)), np.sort(mean)[::-1], color=TRAIN, width=0.85)
    panel.xaxis.get_major_locator().set_params(integer=True)
    if rho is not None:
        panel.axhline(rho, color=VALIDATION, linestyle="--", label=f"ρ = {rho:g}")
        panel.legend()
    alt = f"bars of the {symbol} of {len(mean)} units" + ("" if rho is None else f" against ρ = {rho:g}")
    return Picture("sparsity", figure, alt, "Over all rows shown.")


def _counts(counts: np.ndarray, level: float, codes: np.ndarray) -> Picture:
    where = "row" if codes.ndim == 2 else "position"
    figure, panel = axes(xlabel=f"units above {level:g} in a {where}", ylabel=f"{where}s")
    panel.hist(counts, bins=np.arange(counts.min(), counts.max() + 2) - 0.5, color=TRAIN)
    mark(panel, counts.mean(), f"mean {counts.mean():.3g}")
    panel.xaxis.get_major_locator().set_params(integer=True)
    over(panel)
    alt = f"histogram of how many units are active in a {where}, mean {counts.mean():.3g}"
    return Picture("active_per_row", figure, alt, f"Of {codes.shape[-1]} units.")
