"""A residual CNN for 8×8 digits: plain and depthwise (inverted) residual blocks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from clado_core.networks.zoo.blocks import InvertedResidual


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al., 2016)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.downsample(x))


class DigitsResNet(nn.Module):
    """13 quantizable layers, about 38,000 weights; input (N, 1, 8, 8), output (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 24, 3, 1, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            BasicBlock(24, 24),
            BasicBlock(24, 32, stride=2),
            InvertedResidual(32, 32, width=64),
            InvertedResidual(32, 48, width=64, stride=2),
        )
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = self.blocks(self.stem(x)).mean(dim=(2, 3))
        logits: Tensor = self.head(features)
        return logits


def build() -> nn.Module:
    """The network with freshly initialized weights, drawn from torch's current generator."""
    return DigitsResNet()
