"""Which units of a variational code are in use, and what each costs."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.report.blocks import Note, Picture, Section
from isthmus.report.plots import INK, MUTED, TRAIN, axes
from isthmus.report.subject import Subject

__all__ = ["active_units", "posterior"]

ACTIVE = 0.01
LEAST_SHOWN = 1e-8
MOST_UNITS = 64


def posterior(subject: Subject) -> Section | None:
    """KL of each unit, and the variance of its posterior mean with the line above which it is active."""
    if not hasattr(subject.line, "posterior") or not subject.has_code:
        return None
    mean, std = (np.asarray(part, np.float64) for part in subject.line.posterior(subject.shown))
    width = mean.shape[-1]  # of a map each channel is taken as a unit: its KL summed over positions
    kl = 0.5 * (np.square(mean) + np.square(std) - 1 - 2 * np.log(std)).mean(0).reshape(-1, width).sum(0)
    variance = mean.reshape(-1, width).var(0)
    active = variance > ACTIVE
    name = "unit" if mean.ndim == 2 else "channel"
    said = (
        f"{active.sum()} of {len(active)} {name}s are active (variance of the posterior's mean above {ACTIVE:g}; "
        f"Burda et al. 2016). KL(q(z|x) ‖ p(z)) = {kl.sum():.4g} nats a row."
    )
    order = np.argsort(-kl, kind="stable")[:MOST_UNITS]
    return Section("posterior", "Active units", [Note(said), _kl(kl, order, name), _variance(variance, order, name)])


def active_units(subject: Subject) -> np.ndarray:
    """Units by the variance of their value (of the posterior's mean, if there is one), most active first, ``(D,)``."""
    return np.argsort(-subject.units.var(0), kind="stable")


def _kl(kl: np.ndarray, order: np.ndarray, name: str) -> Picture:
    figure, panel = axes(xlabel=name, ylabel="KL, nats a row")
    _bars(panel, kl[order], order)
    return Picture("kl_by_unit", figure, f"KL of each unit, {kl.sum():.4g} nats in all", "In order of the KL.")


def _variance(variance: np.ndarray, order: np.ndarray, name: str) -> Picture:
    figure, panel = axes(xlabel=name, ylabel="variance of the posterior's mean")
    variance = variance.clip(LEAST_SHOWN)  # of constant rows it is 0
    _bars(panel, variance[order], order)
    panel.set_yscale("log")
    panel.axhline(ACTIVE, color=INK, linestyle="--", linewidth=1.1, label=f"active above {ACTIVE:g}")
    panel.set_ylim(min(1e-3, variance.min() * 0.5), max(3.0, variance.max() * 2))
    panel.legend(loc="upper right")
    alt = f"variance of each unit's posterior mean; {(variance > ACTIVE).sum()} above {ACTIVE:g}"
    return Picture("active_units", figure, alt, "The prior's variance is 1. Same order.")


def _bars(panel: Any, values: np.ndarray, order: np.ndarray) -> None:
    panel.bar(range(len(values)), values, color=TRAIN, edgecolor=MUTED, linewidth=0, width=0.85)
    few = len(order) <= 25
    panel.set_xticks(range(len(order)) if few else [], [str(unit) for unit in order] if few else [])
