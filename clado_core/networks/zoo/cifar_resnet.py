"""ResNet for 32×32 images (He et al., 2016, section 4.2): what the measuring benchmark runs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64)


class CifarBlock(nn.Module):
    """Two 3×3 convolutions; where the shape changes, the shortcut is strided and zero-padded."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.stride = stride
        self.new_channels = channels_out - channels_in

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.new_channels:
            half = self.new_channels // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """6n + 2 quantizable layers; input (N, 3, 32, 32), output (N, 10).

    Args:
        blocks_per_width: n: 3 gives ResNet-20, 9 gives ResNet-56.
    """

    def __init__(self, blocks_per_width: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        blocks, channels = [], WIDTHS[0]
        for width in WIDTHS:
            for k in range(blocks_per_width):
                blocks.append(CifarBlock(channels, width, 2 if k == 0 and width > 16 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = self.blocks(F.relu(self.bn(self.stem(x)))).mean(dim=(2, 3))
        logits: Tensor = self.head(features)
        return logits


def build() -> nn.Module:
    """ResNet-20 with freshly initialized weights, drawn from torch's current generator."""
    return CifarResNet()
