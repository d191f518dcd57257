"""Any network that gives a list of maps, as an encoder."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.checks import either, instance, integer, number, optional, sequence
from isthmus.errors import ParameterError, ShapeError
from isthmus.nn.conv import (
    Style,
    channels_first_view,
    channels_last_view,
    cut,
    dimensions,
    downsampled,
    level_blocks,
    strided_mask,
)
from isthmus.nn.pretrained import load_weights, named_network, network_name, read_weights
from isthmus.part import Encoder, built
from isthmus.types import Features, Seen, Space

__all__ = ["BackboneEncoder"]

PROBE = 64
"""Positions along each axis of the picture that shows a network's strides."""


class BackboneEncoder(Encoder):
    """A network that gives a list of maps, pretrained or not, between a stem of our own and a U-Net's decoder.

    Its maps must halve, from any stride on: 2, 4, 8, 16, 32 or 4, 8, 16, 32. The levels that it lacks, from
    full resolution to its first map, are the stem's: a convolution block each, always trained. So every
    level has a skip and `UNetDecoder` mirrors it. Pictures are padded to a whole multiple of the last
    stride with the mean, and each map is cut to ceil(n / stride) of n positions, so that any size is allowed.

    A saved model holds the weights, and names the network: a network that is an object has no name, and
    saving it is refused. Let a subclass of your own make it in ``new_network``, and give that to
    ``isthmus.load(path, parts=[...])``.

    Parameters
    ----------
    network : str or nn.Module
        "resnet18", "resnet34" (He et al. 2016), or one of timm's, such as "timm/convnext_tiny"; or a module
        that takes ``(B, C, H, W)`` and gives a list of such maps. `build` copies it.
    weights : str or path, optional
        The weights to begin with: a ``.safetensors`` file, one of ``torch.save``, or
        "hub:owner/name[@revision]", ``model.safetensors`` on the Hugging Face hub. None: random ones, or the
        module's own. A trained model is loaded without them.
    frozen : bool
        The network is not trained; the statistics of its normalisations stay, too.
    mean, std : sequence of float, optional
        The network reads (x − mean) / std, with a number for each of its channels; a grey picture is repeated
        in all of them, which leaves pretrained kernels as they are. Those of ImageNet are for pictures in [0, 1],
        as ``scale="auto"`` makes of bytes; for others give your own, or both None: x as it is.
    stem : int
        Width of the stem's levels.

    Examples
    --------
    >>> encoder = BackboneEncoder().build(Space((50, 40, 1)))
    >>> encoder.out.shape, [skip.shape for skip in encoder.out.skips[:2]]
    ((2, 2, 512), [(50, 40, 32), (25, 20, 64)])
    """

    formula: ClassVar[str] = "h₁ … hₗ = network((x − μ) / σ); skips stem(x), h₁ … hₗ₋₁"
    any_size: ClassVar[bool] = True
    shift: Tensor
    scale: Tensor
    first_weights: ClassVar[tuple[str, ...]] = ("weights",)
    allowed: ClassVar = {
        "network": either(network_name, instance(nn.Module, "a module")),
        "weights": optional(instance((str, os.PathLike), "a path or hub:owner/name")),
        "frozen": instance(bool, "True or False"),
        "mean": optional(sequence(number(), "a number a channel", 1)),
        "std": optional(sequence(number(0, open_low=True), "a number above 0 a channel", 1)),
        "stem": integer(1),
    }

    def __init__(
        self,
        network: str | nn.Module = "resnet18",
        weights: Any = None,
        frozen: bool = False,
        mean: Sequence[float] | None = (0.485, 0.456, 0.406),
        std: Sequence[float] | None = (0.229, 0.224, 0.225),
        stem: int = 32,
    ) -> None:
        super().__init__()
        self.network = network
        self.weights = weights
        self.frozen = frozen
        self.mean = mean
        self.std = std
        self.stem = stem

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "network":  # an argument as given: the submodule is the copy that `build` makes
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @classmethod
    def decoder_name(cls) -> str:
        """The U-Net's, for a subclass too."""
        return "unet"

    def check(self) -> None:
        super().check()
        if len({None if given is None else len(given) for given in (self.mean, self.std)}) > 1:
            raise ParameterError(
                f"{type(self).__name__}: mean and std must be equally long or both None, got {self.mean} and {self.std}"
            )

    def new_network(self) -> nn.Module:
        """The network, with the weights that training begins with unless there are ``weights``."""
        return named_network(self.network) if isinstance(self.network, str) else copy.deepcopy(self.network)

    def build(self, space: Space) -> Self:
        super().build(space)
        space = Space.of(space)
        dims = dimensions("backbone encoder", space.shape, 2)
        if space.classes is not None:
            raise ShapeError(f"backbone encoder needs real inputs, got {space}")
        *sizes, channels = space.shape
        width = channels or 1
        reads = width if self.mean is None else len(self.mean)
        if width not in (1, reads):
            raise ShapeError(f"backbone encoder reads 1 or {reads} channels, as many as mean has numbers, got {width}")
        for name, values in (("shift", self.mean or [0.0]), ("scale", self.std or [1.0])):
            self.register_buffer(name, torch.tensor(values, dtype=torch.get_default_dtype()), persistent=False)
        self.backbone = self.new_network()
        if self.weights is not None:
            load_weights(self.backbone, read_weights(self.weights), self.weights)
        if self.frozen:
            self.backbone.requires_grad_(False)
        maps = maps_of(self.backbone, reads)
        self.levels, style = nn.ModuleList(), Style(normalization="batch")
        for level in range(maps[0][1].bit_length() - 1):  # until the stride of the first map
            stride = (2,) * dims if level else None
            self.levels.append(level_blocks(dims, width, self.stem, style, 1, False, stride))
            width = self.stem
        maps = [*((self.stem, 2**level) for level in range(len(self.levels))), *maps]
        self.strides = [stride for _, stride in maps]
        self.total_stride = [self.strides[-1]] * dims
        spaces = [Space((*downsampled(sizes, stride), wide)) for wide, stride in maps]
        self.out = spaces.pop()._replace(skips=tuple(spaces), condition=space.condition)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """A frozen network stays in the mode of prediction, so that its statistics do not move."""
        super().train(mode)
        if self.frozen and self.out is not None:
            self.backbone.eval()
        return self

    def forward(self, seen: Seen) -> Features:
        built(self)
        x = channels_first_view(seen.x)  # (B, C, H, W)
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        read = channels_first_view((seen.x - self.shift) / self.scale)
        height, width = read.shape[2:]
        stride = self.strides[-1]
        more = [(size + stride - 1) // stride * stride - size for size in (width, height)]
        maps += self.backbone(F.pad(read, [0, more[0], 0, more[1]]))
        *skips, h = [
            channels_last_view(cut(found, downsampled((height, width), stride)))
            for found, stride in zip(maps, self.strides, strict=True)
        ]
        mask = strided_mask(seen.bypass.mask, self.strides[-1])
        return Features(h, seen.bypass._replace(mask=mask, skips=tuple(skips)))


@torch.no_grad()
def maps_of(network: nn.Module, channels: int) -> list[tuple[int, int]]:
    """Channels and stride of each map, found with a picture of zeros.

    Raises
    ------
    ShapeError
        Where the network cannot read the picture, gives no list of maps, or one whose strides do not double.
    """
    name, training = type(network).__name__, network.training
    like = next(network.parameters(), torch.empty(0))
    try:
        maps = network.eval()(like.new_zeros(1, channels, PROBE, PROBE))
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise ShapeError(f"{name} cannot read a picture of {channels} x {PROBE} x {PROBE}: {reason}") from error
    network.train(training)
    if not isinstance(maps, (list, tuple)) or not all(isinstance(found, Tensor) and found.dim() == 4 for found in maps):
        raise ShapeError(f"{name} must give a list of maps (B, C, H, W), got {type(maps).__name__}")
    strides = [[PROBE // size for size in found.shape[2:]] for found in maps]
    first = strides[0][0] if strides else 0
    if first not in (1, 2, 4, 8, 16, 32) or strides != [[first * 2**level] * 2 for level in range(len(strides))]:
        raise ShapeError(f"{name} must give maps whose strides double, such as 2, 4, 8, got {strides}")
    return [(found.shape[1], stride) for found, (stride, _) in zip(maps, strides, strict=True)]
