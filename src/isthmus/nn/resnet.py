"""The residual network of He et al., without its classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["RESNETS", "ResNet"]

RESNETS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
"""Blocks of each stage."""


class ResNet(nn.Module):
    """Colour pictures ``(B, 3, H, W)`` to maps of 64, 64, 128, 256, 512 channels at strides 2, 4, 8, 16, 32.

    He et al., Deep Residual Learning, 2016, table 1. Its tensors are named as in torchvision and timm, so
    that weights published for those load here.
    """

    def __init__(self, blocks: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(64, 64, 1, blocks[0])
        self.layer2 = stage(64, 128, 2, blocks[1])
        self.layer3 = stage(128, 256, 2, blocks[2])
        self.layer4 = stage(256, 512, 2, blocks[3])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [F.relu(self.bn1(self.conv1(x)))]
        x = F.max_pool2d(maps[0], 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps


def stage(width_in: int, width: int, stride: int, blocks: int) -> nn.Sequential:
    """Blocks of one width, the first of which has the stride."""
    return nn.Sequential(Block(width_in, width, stride), *[Block(width, width, 1) for _ in range(blocks - 1)])


class Block(nn.Module):
    """x + two convolutions, then the ReLU; x is projected where its shape changes."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        same = stride == 1 and width_in == width
        project = [] if same else [nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)]
        self.downsample = nn.Sequential(*project)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.downsample(x))
