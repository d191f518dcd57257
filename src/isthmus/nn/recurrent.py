"""Recurrent layers over padded sequences, and the states that they hand from step to step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.nn.dropout import Dropout

__all__ = ["CELLS", "Recurrent", "reversed_rows"]

CELLS: dict[str, Callable[..., nn.Module]] = {"gru": nn.GRU, "lstm": nn.LSTM}

State = tuple[Tensor, ...]
"""The hidden state, ``(B, layers, H)``, and an LSTM's cell beside it: batch first, so that rows can be selected."""


class Recurrent(nn.Module):
    """Layers of GRU (Cho et al. 2014) or LSTM (Hochreiter & Schmidhuber 1997) cells, in one direction or two.

    Padding lies at the end of a row, so that it cannot reach a position ahead of it. The layer that goes
    backwards is given each row turned round within its own length.

    Parameters
    ----------
    cell : {"gru", "lstm"}
    width_in, hidden_size, num_layers : int
    bidirectional : bool
        A second network from the end to the beginning, side by side with the first: width 2 · hidden_size.
    dropout : float
        Of what a layer hands to the next one.
    """

    def __init__(
        self,
        cell: str,
        width_in: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [width_in] + [hidden_size * (1 + bidirectional)] * (num_layers - 1)
        self.onward = nn.ModuleList(CELLS[cell](width, hidden_size, batch_first=True) for width in widths)
        backward = [CELLS[cell](width, hidden_size, batch_first=True) for width in widths] if bidirectional else []
        self.backward_ = nn.ModuleList(backward)
        self.dropout = Dropout(dropout)
        self.n_states = 2 if cell == "lstm" else 1
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.width = hidden_size * (1 + bidirectional)
        for layer in [*self.onward, *self.backward_]:
            start_(layer)

    def forward(self, x: Tensor, mask: Tensor | None = None, state: State | None = None) -> tuple[Tensor, State]:
        """``(B, T, width_in)`` to ``(B, T, width)``, and the states after the last step (of an onward network)."""
        ends: list[State] = []
        for number, layer in enumerate(self.onward):
            begin = None if state is None else tuple(part[:, number : number + 1].transpose(0, 1) for part in state)
            h, end = self._run(layer, x, begin)
            if self.backward_:
                turned, _ = self._run(self.backward_[number], reversed_rows(x, mask), None)
                h = torch.cat([h, reversed_rows(turned, mask)], -1)
            ends.append(end)
            x = self.dropout(h) if number < self.num_layers - 1 else h
        return x, tuple(torch.cat([end[i] for end in ends]).transpose(0, 1) for i in range(self.n_states))

    def _run(self, layer: nn.Module, x: Tensor, begin: State | None) -> tuple[Tensor, State]:
        if begin is None:
            h, end = layer(x)
        else:
            begin = tuple(part.contiguous() for part in begin)
            h, end = layer(x, begin if self.n_states == 2 else begin[0])
        return h, end if self.n_states == 2 else (end,)


def start_(layer: Any) -> None:
    """Glorot's start for the input's weights, orthogonal blocks for the state's, and no bias but an LSTM's 1 to keep.

    Saxe et al. 2014; Jozefowicz et al. 2015 for the bias of the forget gate.
    """
    size = layer.hidden_size
    for name, weight in layer.named_parameters():
        if "bias" in name:
            nn.init.zeros_(weight)
            if isinstance(layer, nn.LSTM) and "ih" in name:
                with torch.no_grad():
                    weight[size : 2 * size] = 1.0
        else:
            for block in weight.split(size):
                (nn.init.orthogonal_ if "hh" in name else nn.init.xavier_uniform_)(block.detach())


def reversed_rows(x: Tensor, mask: Tensor | None) -> Tensor:
    """Each row of ``(B, T, D)`` turned round within its length; padding stays where it is. Its own inverse."""
    if mask is None:
        return x.flip(1)
    length, position = mask.sum(1, keepdim=True), torch.arange(x.shape[1], device=x.device)
    index = torch.where(position < length, length - 1 - position, position)  # (B, T)
    return x.gather(1, index.unsqueeze(-1).expand(x.shape))
