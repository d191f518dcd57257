"""GRU and LSTM layers as one node of a graph, for sequences of any length.

PyTorch's exporter writes their steps out, so that a graph would take one length alone. Here a layer is one
operator of our own in the traced program, and the operator of ONNX in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.nn.recurrent import Recurrent

__all__ = ["in_one_node", "translations"]


class Gru(nn.Module):
    """A layer of `torch.nn.GRU`, batch first, with its weights in the order of ONNX: update, reset, new."""

    def __init__(self, layer: nn.GRU) -> None:
        super().__init__()
        self.size = layer.hidden_size
        for name, value in _weights(layer, (1, 0, 2)).items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor, begin: Tensor | None = None) -> tuple[Tensor, Tensor]:
        begin = x.new_zeros(1, x.shape[0], self.size) if begin is None else begin
        steps, end = _gru(x.transpose(0, 1), begin, self.inner, self.recurrent, self.bias)
        return steps.transpose(0, 1), end


class Lstm(nn.Module):
    """A layer of `torch.nn.LSTM`, batch first, with its weights in the order of ONNX: in, out, forget, cell."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.size = layer.hidden_size
        for name, value in _weights(layer, (0, 3, 1, 2)).items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor, begin: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        none = x.new_zeros(1, x.shape[0], self.size)
        hidden, cell = (none, none) if begin is None else begin
        steps, *end = _lstm(x.transpose(0, 1), hidden, cell, self.inner, self.recurrent, self.bias)
        return steps.transpose(0, 1), (end[0], end[1])


def in_one_node(line: nn.Module) -> nn.Module:
    """The line with each of its recurrent layers replaced, in place."""
    kinds: dict[type, Callable[[Any], nn.Module]] = {nn.GRU: Gru, nn.LSTM: Lstm}
    for module in list(line.modules()):
        if isinstance(module, Recurrent):
            for layers in (module.onward, module.backward_):
                for number, layer in enumerate(layers):
                    layers[number] = kinds[type(layer)](layer)
    return line


def _weights(layer: Any, order: tuple[int, ...]) -> dict[str, Tensor]:
    """``(1, gates · H, …)`` of the input, of the state, and both biases side by side, gates in this order."""

    def turned(value: Tensor) -> Tensor:
        blocks = value.detach().split(layer.hidden_size)
        return torch.cat([blocks[i] for i in order]).unsqueeze(0)

    bias = torch.cat([turned(layer.bias_ih_l0), turned(layer.bias_hh_l0)], 1)
    return {"inner": turned(layer.weight_ih_l0), "recurrent": turned(layer.weight_hh_l0), "bias": bias}


# ---------------------------------------------------------------------- the operators


@torch.library.custom_op("isthmus::gru", mutates_args=())
def _gru(x: Tensor, begin: Tensor, inner: Tensor, recurrent: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """``(T, B, D)`` and ``(1, B, H)`` to all states and the last, by the formula of `torch.nn.GRU`."""
    w, r, (b, c) = inner[0], recurrent[0], bias[0].chunk(2)
    h, steps = begin[0], []
    for step in x @ w.T + b:
        size = h.shape[-1]
        own = h @ r.T + c
        update, reset = (step + own)[..., : 2 * size].sigmoid().chunk(2, -1)
        new = (step[..., 2 * size :] + reset * own[..., 2 * size :]).tanh()
        h = (1 - update) * new + update * h
        steps.append(h)
    return torch.stack(steps), h.unsqueeze(0).clone()


@_gru.register_fake
def _(x: Tensor, begin: Tensor, inner: Tensor, recurrent: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[0], x.shape[1], begin.shape[-1]), torch.empty_like(begin)


@torch.library.custom_op("isthmus::lstm", mutates_args=())
def _lstm(
    x: Tensor, begin: Tensor, cell: Tensor, inner: Tensor, recurrent: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_gru`, with the cell beside the state, by the formula of `torch.nn.LSTM`."""
    w, r, (b, c) = inner[0], recurrent[0], bias[0].chunk(2)
    h, kept, steps = begin[0], cell[0], []
    for step in x @ w.T + b:
        gate_in, gate_out, forget, new = (step + h @ r.T + c).chunk(4, -1)
        kept = forget.sigmoid() * kept + gate_in.sigmoid() * new.tanh()
        h = gate_out.sigmoid() * kept.tanh()
        steps.append(h)
    return torch.stack(steps), h.unsqueeze(0).clone(), kept.unsqueeze(0).clone()


@_lstm.register_fake
def _(
    x: Tensor, begin: Tensor, cell: Tensor, inner: Tensor, recurrent: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape[0], x.shape[1], begin.shape[-1]), torch.empty_like(begin), torch.empty_like(cell)


def translations() -> dict[Any, Callable[..., Any]]:
    """The two operators as nodes of ONNX, for `torch.onnx.export`."""
    from onnxscript import opset18

    op: Any = opset18

    def gru(x: Any, begin: Any, inner: Any, recurrent: Any, bias: Any) -> Any:
        size = recurrent.shape[-1]
        steps, end = op.GRU(x, inner, recurrent, bias, None, begin, hidden_size=size, linear_before_reset=1)
        return op.Squeeze(steps, [1]), end

    def lstm(x: Any, begin: Any, cell: Any, inner: Any, recurrent: Any, bias: Any) -> Any:
        size = recurrent.shape[-1]
        steps, end, kept = op.LSTM(x, inner, recurrent, bias, None, begin, cell, hidden_size=size)
        return op.Squeeze(steps, [1]), end, kept

    return {torch.ops.isthmus.gru.default: gru, torch.ops.isthmus.lstm.default: lstm}
