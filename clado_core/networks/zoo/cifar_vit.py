"""A small vision transformer for 32×32 images, with torch's own ``nn.MultiheadAttention``.

Its patches come from three convolutions (Xiao et al., 2021), which lets a transformer learn from
50,000 images in few passes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clado_core.networks.zoo.blocks import EncoderBlock

TOKENS = (32 // 4) ** 2


class CifarViT(nn.Module):
    """34 quantizable layers (q, k and v count singly); input (N, 3, 32, 32), output (N, 10)."""

    def __init__(self, width: int = 96, depth: int = 5, heads: int = 3) -> None:
        super().__init__()
        half = width // 2
        self.stem = nn.Sequential(
            *(nn.Conv2d(3, half, 3, 2, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU()),
            *(nn.Conv2d(half, half, 3, 1, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU()),
        )
        self.patch_embedding = nn.Conv2d(half, width, 3, 2, 1)
        self.positions = nn.Parameter(torch.empty(1, TOKENS, width).normal_(std=0.02))
        self.encoder = nn.Sequential(*(EncoderBlock(width, heads, 2 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch_embedding(self.stem(x)).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.norm(self.encoder(tokens)).mean(dim=1))
        return logits


def build() -> nn.Module:
    """The network with freshly initialized weights, drawn from torch's current generator."""
    return CifarViT()
