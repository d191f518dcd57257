"""Which parameters count as weights."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["weights_of"]


def weights_of(model: nn.Module) -> list[Tensor]:
    """Every matrix or kernel that maps activations: two axes or more, so neither a bias nor a gain."""
    return [parameter for parameter in model.parameters() if parameter.dim() > 1]
