"""The contractive autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from isthmus.bottlenecks import Dense
from isthmus.checks import Check, integer, number, optional
from isthmus.estimators.base import EncoderDecoderEstimator
from isthmus.part import Bottleneck, Penalty
from isthmus.penalties import Contractive

__all__ = ["ContractiveAutoencoder"]


@dataclass(eq=False, repr=False)
class ContractiveAutoencoder(EncoderDecoderEstimator):
    """A code that moves little when the input does (Rifai et al. 2011).

    J = mean over rows of loss + λ ‖∂z/∂x‖²_F, in scaled units.

    Parameters
    ----------
    contraction : float
        λ.
    n_probes : int or None
        None is the exact norm, one backward pass a unit; a number is that many probes of Hutchinson's
        estimator, for many units.
    bottleneck : str or Bottleneck
        "auto" is ``Dense("sigmoid")``, as in the paper.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from isthmus import ContractiveAutoencoder
    >>> X = load_digits().data
    >>> model = ContractiveAutoencoder(latent_dim=8, max_epochs=2, random_state=0).fit(X)
    >>> sorted(set(model.history_[-1]) & {"loss", "contractive"})
    ['contractive', 'loss']
    """

    bottleneck: Any = "auto"
    contraction: float = 0.1
    n_probes: int | None = None

    allowed: ClassVar[dict[str, Check]] = {
        **EncoderDecoderEstimator.allowed,
        "contraction": number(0),
        "n_probes": optional(integer(1)),
    }

    def _bottleneck_for(self) -> Bottleneck:
        if self.bottleneck != "auto":
            return super()._bottleneck_for()
        return Dense("sigmoid")

    def _penalties(self) -> list[Penalty]:
        return [Contractive(self.contraction, self.n_probes)]
