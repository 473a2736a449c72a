"""Blocks that several of the built-in networks are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class InvertedResidual(nn.Module):
    """Expand by 1×1, depthwise 3×3, project by 1×1; a shortcut where the shape is kept.

    Source: Sandler et al., 2018.
    """

    def __init__(self, channels_in: int, channels_out: int, width: int, stride: int = 1) -> None:
        super().__init__()
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


class EncoderBlock(nn.Module):
    """Pre-norm attention and MLP, each with a shortcut (Dosovitskiy et al., 2021)."""

    def __init__(self, width: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, mlp_width)
        self.fc2 = nn.Linear(mlp_width, width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm1(x)
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        x = x + attended
        mixed: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return mixed
