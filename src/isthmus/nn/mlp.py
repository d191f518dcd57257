"""Fully connected layers: activations and normalisations by name, and the stack of both MLPs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from isthmus.checks import choice, instance, integers, number, optional

__all__ = ["ACTIVATIONS", "MLP_PARAMETERS", "NORMALIZATIONS", "DenseBlock", "activation_of", "dense_stack"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
}

NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


MLP_PARAMETERS = {
    "hidden_dims": integers(1),
    "activation": choice(ACTIVATIONS),
    "normalization": optional(choice(NORMALIZATIONS)),
    "dropout": number(0, 1, open_high=True),
    "residual": instance(bool, "True or False"),
}


def activation_of(name: str | None) -> nn.Module:
    """The activation of that name; None is the identity."""
    return ACTIVATIONS[name or "identity"]()


class DenseBlock(nn.Module):
    """Linear → normalisation → activation → dropout; ``residual`` adds the input where widths agree."""

    def __init__(
        self, width_in: int, width: int, activation: str, normalization: str | None, dropout: float, residual: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(width_in, width)]
        if normalization is not None:
            layers.append(NORMALIZATIONS[normalization](width))
        layers.append(activation_of(activation))
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers)
        self.residual = residual and width_in == width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def dense_stack(
    width: int, hidden_dims: Sequence[int], activation: str, normalization: str | None, dropout: float, residual: bool
) -> tuple[nn.Sequential, int]:
    """One block a hidden width, and the width that comes out."""
    blocks: list[nn.Module] = []
    for hidden in hidden_dims:
        block = DenseBlock(width, hidden, activation, normalization, dropout, residual)
        blocks.extend([block] if block.residual else block.layers)
        width = hidden
    return nn.Sequential(*blocks), width
