"""The variational autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from isthmus import spec
from isthmus.checks import Check, number
from isthmus.errors import DataError, ParameterError
from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.estimators.inputs import fits, one_array
from isthmus.part import Loss, Penalty
from isthmus.penalties import KLPrior
from isthmus.types import Batch

__all__ = ["VariationalAutoencoder"]


@dataclass(eq=False, repr=False)
class VariationalAutoencoder(EncoderDecoderEstimator):
    """A latent-variable model p(z) p(x|z), trained by the ELBO (Kingma & Welling 2014).

    J = mean over rows of −log p(x|z) + β KL(q(z|x) ‖ p(z)), in nats, z drawn by reparameterisation.

    Parameters
    ----------
    beta : float
        β; 1 is the ELBO, more is a β-VAE (Higgins et al. 2017).
    free_bits : float
        λ, nats a unit below which its KL costs nothing (Kingma et al. 2016).
    loss : str or Loss
        "auto" is "binary_cross_entropy" where all data are 0 or 1, else "gaussian_nll" with a learnt
        variance a feature. It must be a likelihood for `elbo` and `log_likelihood`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from isthmus import VariationalAutoencoder
    >>> X = (load_digits().data > 8).astype(float)
    >>> model = VariationalAutoencoder(latent_dim=8, max_epochs=2, random_state=0).fit(X)
    >>> model.elbo(X).shape, model.sample(16).shape
    ((1797,), (16, 64))
    """

    bottleneck: Any = "gaussian"
    loss: Any = "auto"
    beta: float = 1.0
    free_bits: float = 0.0

    allowed: ClassVar[dict[str, Check]] = {
        **EncoderDecoderEstimator.allowed,
        "beta": number(0),
        "free_bits": number(0),
    }

    def _penalties(self) -> list[Penalty]:
        return [KLPrior(self.beta, self.free_bits)]

    def _loss_for(self, rows: Batch) -> Loss:
        if self.loss != "auto" or self._layout == "texts":
            return super()._loss_for(rows)
        target = rows.x
        binary = bool(((target == 0) | (target == 1)).all())
        loss: Loss = spec.resolve("loss", "binary_cross_entropy" if binary else "gaussian_nll")
        return loss

    @torch.no_grad()
    def posterior(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of q(z|x), each ``(n, latent_dim)``."""
        model = self._fitted("posterior")

        def of(rows: Batch) -> torch.Tensor:
            mean, log_variance = model.bottleneck.posterior(model.encode(rows, noise=torch.zeros_like)[1])  # type: ignore[operator]
            return torch.stack([mean, (0.5 * log_variance).exp()], -1)

        mean, deviation = self._mapped(of, self._read(X)).float().unbind(-1)
        return mean.numpy(), deviation.numpy()

    def interpolate(self, a: Any, b: Any, steps: int = 8) -> Any:
        """From a to b in ``steps`` equal steps of the code's mean, ends included: ``(steps, *sample)``.

        Parameters
        ----------
        a, b : array
            One sample each, with or without the leading axis of one row.
        steps : int
            At least 2.
        """
        self._fitted("interpolate")
        if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 2:
            raise ParameterError(f"steps must be a whole number of at least 2, got {steps!r}")
        ends, lengths = [], []
        for name, sample in (("a", a), ("b", b)):
            rows = self._read(self._one(sample, name), name=name)
            lengths.append(rows.x.shape[1] if rows.x_mask is None else int(rows.x_mask.sum()))
            ends.append(self._encode_rows(rows))
        share = torch.linspace(0, 1, int(steps))
        z = torch.lerp(ends[0], ends[1], share.view(-1, *[1] * (ends[0].dim() - 1)))
        between = (
            np.linspace(lengths[0], lengths[1], int(steps)).round().astype(int) if self._layout == "series" else None
        )
        return self._decoded(z, between)

    def _one(self, sample: Any, name: str) -> Any:
        """One sample as rows of one."""
        if self._layout == "texts":
            return [sample] if isinstance(sample, str) else sample
        row = one_array(sample, name)
        row = row[None] if row.ndim == len(self._sample_shape) else row
        if row.ndim != len(self._sample_shape) + 1 or len(row) != 1 or not fits(row.shape[1:], self._sample_shape):
            raise DataError(f"{name} must be one sample of shape {self._sample_shape}, got {row.shape}")
        return row
