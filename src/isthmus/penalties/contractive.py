"""The contractive autoencoder's penalty."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.checks import integer, optional
from isthmus.errors import UnsupportedError
from isthmus.part import Penalty
from isthmus.types import Noise, Trace, sum_features

__all__ = ["Contractive"]


class Contractive(Penalty):
    """‖∂z/∂x‖²_F per sample: how far the code moves when the (scaled) input does.

    Rifai et al., Contractive Auto-Encoders, 2011. Exact by one backward pass a unit; for many units
    Hutchinson's estimator (1990): E‖Jᵀv‖² = ‖J‖²_F for v ~ N(0, I), one pass a probe, unbiased. Batch
    normalisation couples the rows of a batch; the Jacobian then counts what a row does to the others.

    Parameters
    ----------
    weight : float
        λ.
    n_probes : int or None
        None is exact; a number is that many probes of Hutchinson's estimator.
    """

    formula: ClassVar[str] = "λ ‖∂z/∂x‖²"
    input_grad: ClassVar[bool] = True
    allowed: ClassVar = {**Penalty.allowed, "n_probes": optional(integer(1))}

    def __init__(self, weight: float = 0.1, n_probes: int | None = None) -> None:
        super().__init__(weight)
        self.n_probes = n_probes

    def forward(self, trace: Trace, model: nn.Module, noise: Noise = torch.randn_like) -> Tensor:
        x, z, mask = trace.seen.x, trace.latent.z, trace.latent.bypass.mask
        if len(z) != len(x):
            raise UnsupportedError("contractive needs one sample a row: use it with n_samples = 1")
        if mask is not None and z.dim() > 2:
            z = torch.where(mask.unsqueeze(-1), z, 0.0)
        z = z.flatten(1)  # (B, D)
        if not x.requires_grad:
            raise UnsupportedError("contractive needs seen.x as a leaf: call the model with input_grad=True")

        def squared(direction: Tensor) -> Tensor:
            (row,) = torch.autograd.grad(z, x, direction, create_graph=True)
            return sum_features(row.square())

        if self.n_probes is not None:
            return torch.stack([squared(noise(z)) for _ in range(self.n_probes)]).mean(0)
        units = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        return torch.stack([squared(unit.expand_as(z)) for unit in units]).sum(0)
