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
from isthmus.estimators.inputs import one_array
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
        if self.loss != "auto":
            return super()._loss_for(rows)
        target = rows.x
        binary = bool(((target == 0) | (target == 1)).all())
        loss: Loss = spec.resolve("loss", "binary_cross_entropy" if binary else "gaussian_nll")
        return loss

    @torch.no_grad()
    def posterior(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of q(z|x), each ``(n, latent_dim)``."""
        model = self._fitted("posterior")
        means, deviations = [], []
        for rows, n in self._chunks(self._read(X)):
            _, features, _ = model.encode(rows, noise=torch.zeros_like)
            mean, log_variance = model.bottleneck.posterior(features)  # type: ignore[operator]
            means.append(mean[:n].cpu())
            deviations.append((0.5 * log_variance[:n]).exp().cpu())
        return torch.cat(means).float().numpy(), torch.cat(deviations).float().numpy()

    def interpolate(self, a: Any, b: Any, steps: int = 8) -> np.ndarray:
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
        ends = []
        for name, sample in (("a", a), ("b", b)):
            row = one_array(sample, name)
            row = row[None] if row.shape == self._sample_shape else row
            if row.shape != (1, *self._sample_shape):
                raise DataError(f"{name} must be one sample of shape {self._sample_shape}, got {row.shape}")
            ends.append(self._encode_rows(self._read(row, name=name)))
        share = torch.linspace(0, 1, int(steps)).view(-1, *[1] * (ends[0].dim() - 1))
        return self._frame(self._user_units(self._decode_rows(torch.lerp(ends[0], ends[1], share))))
