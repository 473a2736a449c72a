"""MobileNetV2 (Sandler et al., 2018) for 32×32 images, narrow enough to train on a CPU."""

from __future__ import annotations

from torch import Tensor, nn

from clado_core.networks.zoo.blocks import InvertedResidual

STEM_CHANNELS = 16
LAST_CHANNELS = 256
STAGES = (
    (4, 32, 2, 2),
    (4, 64, 3, 2),
    (4, 96, 2, 1),
)
"""Expansion factor, output channels, blocks, and stride of the stage's first block."""


class CifarMobileNetV2(nn.Module):
    """24 quantizable layers, 7 of them depthwise; input (N, 3, 32, 32), output (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, STEM_CHANNELS, 3, 1, 1, bias=False),
            nn.BatchNorm2d(STEM_CHANNELS),
            nn.ReLU6(),
        )
        blocks, channels = [], STEM_CHANNELS
        for expansion, width, count, first_stride in STAGES:
            for k in range(count):
                stride = first_stride if k == 0 else 1
                blocks.append(InvertedResidual(channels, width, expansion * channels, stride))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(
            nn.Conv2d(channels, LAST_CHANNELS, 1, bias=False),
            nn.BatchNorm2d(LAST_CHANNELS),
            nn.ReLU6(),
        )
        self.head = nn.Linear(LAST_CHANNELS, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = self.last(self.blocks(self.stem(x))).mean(dim=(2, 3))
        logits: Tensor = self.head(features)
        return logits


def build() -> nn.Module:
    """The network with freshly initialized weights, drawn from torch's current generator."""
    return CifarMobileNetV2()
