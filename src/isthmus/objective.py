"""The objective: the one place that averages over the batch and multiplies by a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from isthmus.checks import check_parameters, integer
from isthmus.errors import UnsupportedError
from isthmus.model import EncoderDecoder
from isthmus.nn.statistics import batch_mean
from isthmus.part import Penalty
from isthmus.types import Batch, Noise, Trace

__all__ = ["ImportanceWeighted", "Objective", "TrainStep", "log_weights"]

Terms = dict[str, Tensor]


class Objective(nn.Module):
    """total = mean loss + Σ strength · mean penalty, and every term by name, unweighted.

    The mean is Σ w · l / Σ w over the rows' weights w. Itself a part: it may be replaced, as
    `ImportanceWeighted` does.
    """

    n_samples = 1

    def __init__(self, penalties: Sequence[Penalty] = ()) -> None:
        super().__init__()
        self.penalties = nn.ModuleList(penalties)
        names = [penalty.part_name() for penalty in penalties]
        self.names = [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]
        self.input_grad = any(penalty.input_grad for penalty in penalties)

    def data_term(self, trace: Trace, model: EncoderDecoder) -> Tensor:
        """The loss, averaged over the batch."""
        return batch_mean(model.loss(trace.output, trace.target, trace.mask), trace.weight)

    def forward(self, trace: Trace, model: EncoderDecoder, noise: Noise = torch.randn_like) -> tuple[Tensor, Terms]:
        total = self.data_term(trace, model)
        terms = {"loss": total.detach()}
        for name, penalty in zip(self.names, self.penalties, strict=True):
            value = penalty(trace, model, noise)
            if value.dim():
                value = batch_mean(value, trace.weight)
            terms[name] = value.detach()
            total = total + penalty.strength.to(value.dtype) * value  # type: ignore[operator, union-attr]
        terms["objective"] = total.detach()
        return total, terms


class ImportanceWeighted(Objective):
    """−log (1/k) Σᵢ p(x|zᵢ) p(zᵢ) / q(zᵢ|x), a bound that tightens with k (Burda et al. 2016).

    It holds the price of the posterior already, so it refuses `KLPrior` beside it.

    Parameters
    ----------
    k : int
        Samples a row.
    """

    def __init__(self, k: int, penalties: Sequence[Penalty] = ()) -> None:
        super().__init__(penalties)
        check_parameters("ImportanceWeighted", {"k": k}, {"k": integer(1)})
        if "kl_prior" in self.names:
            raise UnsupportedError("ImportanceWeighted already holds KL(q ‖ p): remove KLPrior from penalties")
        self.n_samples = k

    def data_term(self, trace: Trace, model: EncoderDecoder) -> Tensor:
        log_w = log_weights(trace, model).view(-1, self.n_samples)  # (B, k)
        return batch_mean(math.log(self.n_samples) - log_w.logsumexp(1), trace.batch.weight)


class TrainStep(nn.Module):
    """Model and objective in one module that owns every parameter; it alone is compiled, wrapped, saved."""

    def __init__(self, model: EncoderDecoder, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        for penalty in objective.penalties:
            penalty.attach(model)  # type: ignore[operator]

    def forward(self, batch: Batch, noise: Noise = torch.randn_like, *, corrupt: bool = True) -> tuple[Tensor, Terms]:
        trace = self.model(
            batch, self.objective.n_samples, corrupt, noise, scaled=True, input_grad=self.objective.input_grad
        )
        total, terms = self.objective(trace, self.model, noise)
        return total, terms


def log_weights(trace: Trace, model: EncoderDecoder) -> Tensor:
    """log p(x|z) + log p(z) − log q(z|x) at the drawn z, ``(B · n_samples,)``, nats of the scaled data."""
    if not model.loss.is_likelihood:
        raise UnsupportedError(
            f"{model.loss.part_name()} is no likelihood; use 'gaussian_nll', 'binary_cross_entropy' or 'poisson_nll'"
        )
    if trace.latent.log_ratio is None:
        name = model.bottleneck.part_name()
        raise UnsupportedError(f"bottleneck {name!r} has no posterior; use VariationalAutoencoder or 'gaussian'")
    loss: Tensor = model.loss(trace.output, trace.target, trace.mask)
    return -loss - trace.latent.log_ratio
