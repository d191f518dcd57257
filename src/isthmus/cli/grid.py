"""Every encoder with every bottleneck, built for each form of data."""

from __future__ import annotations

from isthmus.errors import IsthmusError
from isthmus.losses import SquaredError
from isthmus.model import EncoderDecoder
from isthmus.spec import registry
from isthmus.training.rng import isolated_rng
from isthmus.types import Space

__all__ = ["DATA", "build_grid"]

DATA = {"table": Space((16,)), "sequence": Space((16, 4)), "image": Space((16, 16, 1))}
LATENT_DIM = 4


def build_grid() -> dict[str, dict[str, dict[str, str | None]]]:
    """encoder → bottleneck → form of data → None where the line builds, else why it does not."""
    return {
        encoder: {
            bottleneck: {data: _try(encoder, bottleneck, space) for data, space in DATA.items()}
            for bottleneck in registry("bottleneck")
        }
        for encoder in registry("encoder")
    }


def _try(encoder_name: str, bottleneck_name: str, space: Space) -> str | None:
    decoders = registry("decoder")
    if encoder_name not in decoders:
        return f"no decoder mirrors {encoder_name!r}"
    encoder, bottleneck = registry("encoder")[encoder_name](), registry("bottleneck")[bottleneck_name]()
    width = None if bottleneck_name == "identity" else LATENT_DIM
    try:
        with isolated_rng(0):
            line = EncoderDecoder(encoder, bottleneck, decoders[encoder_name].mirror(encoder), SquaredError())
            line.build(space, latent_dim=width)
    except IsthmusError as error:
        return str(error)
    return None
