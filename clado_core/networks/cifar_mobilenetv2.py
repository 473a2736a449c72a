"""MobileNetV2 (Sandler et al., 2018) for 32×32 images, narrow enough to train on a CPU."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

STEM_CHANNELS = 16
LAST_CHANNELS = 256
STAGES = (
    (4, 32, 2, 2),
    (4, 64, 3, 2),
    (4, 96, 2, 1),
)
"""Expansion factor, output channels, blocks, and stride of the stage's first block."""


class InvertedResidual(nn.Module):
    """Expand by 1×1, depthwise 3×3, project by 1×1; a shortcut where the shape is kept."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = expansion * channels_in
        self.expand = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.project = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu6(self.bn1(self.expand(x)))
        out = F.relu6(self.bn2(self.depthwise(out)))
        out = self.bn3(self.project(out))
        shortcut: Tensor = x + out if self.has_shortcut else out
        return shortcut


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
                blocks.append(InvertedResidual(channels, width, expansion, stride))
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
