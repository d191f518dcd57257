"""The objective: the one place that averages over the batch and multiplies by a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isthmus.checks import check_parameters, integer, number
from isthmus.errors import UnsupportedError
from isthmus.model import EncoderDecoder
from isthmus.nn.share import all_rows, own_rows
from isthmus.nn.statistics import batch_mean
from isthmus.part import Penalty
from isthmus.types import Batch, Noise, Trace

__all__ = ["OBJECTIVES", "ImportanceWeighted", "Objective", "TrainStep", "Trimmed", "log_weights"]

Terms = dict[str, Tensor]


class Objective(nn.Module):
    """total = mean loss + Σ strength · mean penalty, and every term by name, unweighted.

    The mean is Σ w · l / Σ w over the rows' weights w. Itself a part: it may be replaced, as
    `ImportanceWeighted` does.
    """

    kind: ClassVar[str] = "objective"
    n_samples = 1

    def __init__(self, penalties: Sequence[Penalty] = ()) -> None:
        super().__init__()
        self.penalties = nn.ModuleList(penalties)
        names = [penalty.part_name() for penalty in penalties]
        self.names = [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]
        self.input_grad = any(penalty.input_grad for penalty in penalties)

    def get_params(self, deep: bool = False) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"penalties": list(self.penalties)}

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

    def get_params(self, deep: bool = False) -> dict[str, Any]:
        return {"k": self.n_samples, **super().get_params()}

    def data_term(self, trace: Trace, model: EncoderDecoder) -> Tensor:
        log_w = log_weights(trace, model).view(-1, self.n_samples)  # (B, k)
        return batch_mean(math.log(self.n_samples) - log_w.logsumexp(1), trace.batch.weight)


class Trimmed(Objective):
    """The mean over a batch without its worst rows: trimmed likelihood, which outliers cannot bend.

    A row's total is its loss + Σ strength · penalty; the rows with the highest, as many whole ones as
    fit into ``fraction`` of the batch's weight, are left out (Neykov & Müller 2003: maximum trimmed
    likelihood; Rousseeuw 1984 for squared errors). The terms by name are means over the rows kept. The
    first ``after`` steps leave out none, since a network that knows nothing yet cannot tell which rows
    are bad; nor does evaluation (``eval()``).

    Parameters
    ----------
    fraction : float
        In [0, 1).
    after : int
        Steps before the first one that trims.
    """

    steps: Tensor

    def __init__(self, fraction: float, penalties: Sequence[Penalty] = (), after: int = 0) -> None:
        super().__init__(penalties)
        allowed = {"fraction": number(0, 1, open_high=True), "after": integer(0)}
        check_parameters("Trimmed", {"fraction": fraction, "after": after}, allowed)
        self.fraction = fraction
        self.after = after
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def get_params(self, deep: bool = False) -> dict[str, Any]:
        return {"fraction": self.fraction, "after": self.after, **super().get_params()}

    def forward(self, trace: Trace, model: EncoderDecoder, noise: Noise = torch.randn_like) -> tuple[Tensor, Terms]:
        values = {"loss": model.loss(trace.output, trace.target, trace.mask)}
        total = values["loss"]
        for name, penalty in zip(self.names, self.penalties, strict=True):
            values[name] = penalty(trace, model, noise)
            total = total + penalty.strength.to(total.dtype) * values[name]  # type: ignore[operator, union-attr]
        weight = self._kept(total.detach(), trace.weight)  # (B,)
        mean = batch_mean(total, weight)
        terms = {name: batch_mean(value, weight) if value.dim() else value for name, value in values.items()}
        return mean, {name: value.detach() for name, value in [*terms.items(), ("objective", mean)]}

    def _kept(self, total: Tensor, weight: Tensor | None) -> Tensor | None:
        """The rows' weights with 0 for those left out; every shape is fixed, so that it traces."""
        if not self.training:
            return weight
        own = torch.ones_like(total) if weight is None else weight
        weight, total = all_rows(own), all_rows(total)
        order = total.argsort()
        before = weight[order].cumsum(0) - weight[order]  # the weight of all better rows
        share = torch.where(self.steps < self.after, 1.0, 1.0 - self.fraction) * (1 - 1e-6)
        self.steps.add_(1)
        kept = before < share * weight.sum()
        return own * own_rows(kept[order.argsort()])


OBJECTIVES: dict[str, type[Objective]] = {
    "objective": Objective,
    "importance_weighted": ImportanceWeighted,
    "trimmed": Trimmed,
}
"""By name, for what is saved."""


class TrainStep(nn.Module):
    """Model and objective in one module that owns every parameter; it alone is compiled, wrapped, saved."""

    def __init__(self, model: EncoderDecoder, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.attach()

    def attach(self) -> None:
        """Show the penalties the model, whose parameters they may keep."""
        for penalty in self.objective.penalties:
            penalty.attach(self.model)  # type: ignore[operator]

    def forward(self, batch: Batch, noise: Noise = torch.randn_like, *, corrupt: bool = True) -> tuple[Tensor, Terms]:
        trace = self.model(
            batch, self.objective.n_samples, corrupt, noise, scaled=True, input_grad=self.objective.input_grad
        )
        total, terms = self.objective(trace, self.model, noise)
        return total, terms

    def rehearse(self, batch: Batch) -> list[str]:
        """The terms' names, from one pass without noise; what a penalty refuses, it refuses here."""
        was_training = self.training
        self.eval()
        _, terms = self(batch, torch.zeros_like)
        self.train(was_training)
        return list(terms)


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
