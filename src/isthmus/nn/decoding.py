"""Writing a sequence step by step: the likeliest class, a drawn one, or the best of several beams.

Every function takes a decoder's ``step(previous, state) -> (output, state)`` and the state it starts from; a
state has ``select(rows)``. Rows that have ended are taken out, so that they cost nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from isthmus.types import wide

__all__ = ["Written", "beam_search", "drawn", "likeliest", "unrolled", "write"]

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


class Written(NamedTuple):
    """Classes without the end, and log p of the whole, its end included, in nats."""

    classes: list[int]
    log_probability: float


def likeliest(logits: Tensor) -> Tensor:
    """The class of the highest logit, ``(B,)``; ``max`` finds it in a third of ``argmax``'s time."""
    return logits.max(-1).indices


def drawn(
    generator: torch.Generator, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0
) -> Callable[[Tensor], Tensor]:
    """A choice at random: of softmax(logits / temperature), cut to the likeliest classes and scaled to one again.

    ``top_k`` leaves that many (Fan et al. 2018); ``top_p`` the fewest that hold so much probability (the
    nucleus, Holtzman et al. 2020).
    """

    def choose(logits: Tensor) -> Tensor:
        wanted = logits.cpu().double()  # where the generator is, and neither temperature nor top_p is rounded to 0
        below = wanted - wanted.max(-1, keepdim=True).values
        p, order = (below / temperature).softmax(-1).sort(-1, descending=True)
        if top_k is not None:
            p[:, top_k:] = 0
        p = torch.where(p.cumsum(-1) - p < top_p, p, 0.0)
        rank = torch.multinomial(p.float(), 1, generator=generator)
        return order.gather(1, rank).squeeze(1).to(logits.device)

    return choose


@torch.no_grad()
def write(
    step: Step,
    state: Any,
    n: int,
    begin: int,
    end: int,
    max_length: int,
    choose: Callable[[Tensor], Tensor] = likeliest,
    lengths: Tensor | None = None,
) -> list[Written]:
    """n sequences, each until its end or ``max_length`` classes; of exactly ``lengths`` where they are given."""
    rows, previous = torch.arange(n), torch.full((n,), begin)
    classes: list[list[int]] = [[] for _ in range(n)]
    total = torch.zeros(n, dtype=torch.float64)
    for t in range(max_length if lengths is None else int(lengths.max())):
        logits, state = step(previous, state)
        if lengths is not None:
            logits = logits.index_fill(1, torch.tensor([end], device=logits.device), -math.inf)
        previous = choose(logits)
        total[rows] += _log_p(logits, previous.unsqueeze(1)).squeeze(1).cpu()
        for row, found in zip(rows.tolist(), previous.tolist(), strict=True):
            if found != end:
                classes[row].append(found)
        going = (previous != end).cpu() if lengths is None else lengths[rows] > t + 1
        if not going.all():
            kept = going.nonzero().squeeze(1)
            if len(kept) == 0:
                break
            rows, previous, state = rows[kept], previous[kept.to(previous.device)], state.select(kept)
    return [Written(found, log_p) for found, log_p in zip(classes, total.tolist(), strict=True)]


@torch.no_grad()
def unrolled(step: Step, state: Any, first: Tensor, n_steps: int, predict: Callable[[Tensor], Tensor]) -> Tensor:
    """The outputs of ``n_steps`` steps on real numbers, each reading the prediction of the one before."""
    previous, outputs = first, []
    for _ in range(n_steps):
        output, state = step(previous, state)
        previous = predict(output)
        outputs.append(output)
    return torch.stack(outputs, 1)


@torch.no_grad()
def beam_search(
    step: Step,
    state: Any,
    n: int,
    begin: int,
    end: int,
    max_length: int,
    beam_size: int = 5,
    length_penalty: float = 1.0,
    n_best: int = 1,
) -> list[list[Written]]:
    """The ``n_best`` sequences of each of n rows that ``beam_size`` beams find, best first.

    A sequence's worth is log p / lp with lp = ((5 + length)/6)^length_penalty, its end counted (Wu et al.
    2016). One ends where its end is among the ``beam_size`` likeliest steps; a row is done once so many have.
    """
    width, rows = beam_size, torch.arange(n)
    state = state.select(rows.repeat_interleave(width))
    previous = torch.full((n * width,), begin)
    alive = torch.full((n, width), -math.inf, dtype=torch.float64)
    alive[:, 0] = 0.0  # the beams begin alike: one counts
    paths = torch.empty(n, width, 0, dtype=torch.long)
    found: list[list[tuple[float, Written]]] = [[] for _ in range(n)]
    for t in range(max_length + 1):
        logits, state = step(previous, state)
        if t == max_length:  # nothing but the end is left
            ended = alive + _log_p(logits, torch.full((len(logits), 1), end)).cpu().view_as(alive)
            _collect(found, rows, ended, paths, ended > -math.inf, length_penalty)
            break
        likely = logits.topk(min(2 * width, logits.shape[-1]), -1).indices  # of each beam: no other can win
        log_p, likely = _log_p(logits, likely).cpu().view(len(rows), width, -1), likely.cpu()
        best, place = (alive.unsqueeze(-1) + log_p).flatten(1).topk(min(2 * width, log_p[0].numel()), 1)
        beam, chosen = place // log_p.shape[-1], likely.view(len(rows), -1).gather(1, place)
        ends = (chosen == end) & (best > -math.inf)
        first = torch.arange(ends.shape[1]) < width
        _collect(found, rows, best, paths.gather(1, _along(beam, paths)), ends & first, length_penalty)
        order = ends.long().argsort(stable=True, dim=1)[:, :width]  # those that go on, best first
        alive = torch.where(ends, -math.inf, best).gather(1, order)
        beam, chosen = beam.gather(1, order), chosen.gather(1, order)
        paths = torch.cat([paths.gather(1, _along(beam, paths)), chosen.unsqueeze(-1)], -1)
        going = [
            len(found[row]) < max(width, n_best) and path > -math.inf
            for row, path in zip(rows.tolist(), alive[:, 0].tolist(), strict=True)
        ]
        kept = torch.tensor(going).nonzero().squeeze(1)
        if len(kept) == 0:
            break
        source = (kept.unsqueeze(1) * width + beam[kept]).flatten()
        state, previous = state.select(source), chosen[kept].flatten()
        rows, alive, paths = rows[kept], alive[kept], paths[kept]
    return [[written for _, written in sorted(row, key=lambda pair: -pair[0])[:n_best]] for row in found]


def _log_p(logits: Tensor, classes: Tensor) -> Tensor:
    """log p of these classes ``(B, k)``, float64; sums over steps lose nothing."""
    return wide(logits).log_softmax(-1).gather(1, classes.to(logits.device)).double()


def _penalty(length: int, power: float) -> float:
    return ((5 + length) / 6) ** power


def _along(beam: Tensor, paths: Tensor) -> Tensor:
    return beam.unsqueeze(-1).expand(-1, -1, paths.shape[-1])


def _collect(
    found: list[list[tuple[float, Written]]],
    rows: Tensor,
    log_p: Tensor,
    paths: Tensor,
    which: Tensor,
    power: float,
) -> None:
    """Add the sequences of ``which`` to those that have ended."""
    for i, j in which.nonzero().tolist():
        classes, value = paths[i, j].tolist(), float(log_p[i, j])
        found[int(rows[i])].append((value / _penalty(len(classes) + 1, power), Written(classes, value)))
