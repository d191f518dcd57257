"""In how many directions the code still moves with the input."""

from __future__ import annotations

import numpy as np
import torch

from isthmus.report.blocks import Note, Picture, Section
from isthmus.report.plots import TRAIN, axes
from isthmus.report.rows import every
from isthmus.report.subject import Subject

__all__ = ["jacobian"]

MOST_ROWS, MOST_UNITS, MOST_NUMBERS = 256, 512, 2**24


def jacobian(subject: Subject) -> Section | None:
    """The singular values of ∂z/∂x of a contractive model, mean and spread over rows (Rifai et al. 2011)."""
    if subject.penalty("contractive") is None or not subject.has_code or subject.flat_codes.shape[1] > MOST_UNITS:
        return None
    size = subject.flat_codes.shape[1] * max(row.size for row in subject.rows)
    index = every(len(subject), max(2, min(MOST_ROWS, MOST_NUMBERS // size)))
    values = np.linalg.svd(_jacobians(subject, index), compute_uv=False)  # (n, min(D, d))
    squared = np.square(values).sum(1).mean()
    low, high = np.quantile(values, (0.1, 0.9), axis=0)
    place = np.arange(1, values.shape[1] + 1)
    figure, panel = axes(xlabel="rank", ylabel="singular value of ∂z/∂x, scaled units")
    panel.fill_between(place, low, high, color=TRAIN, alpha=0.25, linewidth=0, label="10 to 90 % of rows")
    panel.plot(place, values.mean(0), color=TRAIN, marker="o" if len(place) <= 40 else "", markersize=3.5, label="mean")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.legend()
    said = (
        f"‖∂z/∂x‖² = {squared:.4g}, mean over {len(index)} rows, in scaled units: what the penalty lowers. Few large "
        "singular values mean that the code follows a few directions of the data and ignores the others."
    )
    alt = (
        f"singular values of the encoder's Jacobian, from {values[:, 0].mean():.3g} down to {values[:, -1].mean():.3g}"
    )
    picture = Picture("jacobian", figure, alt, f"Mean over {len(index)} rows and the middle 80 % of them.")
    return Section("jacobian", "How the code moves with the input", [Note(said), picture])


def _jacobians(subject: Subject, index: np.ndarray) -> np.ndarray:
    """∂z/∂x of each row, ``(n, D, d)``, one backward pass a unit."""
    module = subject.module
    module.eval()
    with torch.enable_grad():
        seen, _, latent = module.encode(subject.batch(index), noise=torch.zeros_like, input_grad=True)
        z = latent.z.flatten(1)
        rows = [
            torch.autograd.grad(z[:, unit].sum(), seen.x, retain_graph=True)[0].flatten(1) for unit in range(z.shape[1])
        ]
    return torch.stack(rows, 1).double().cpu().numpy()
