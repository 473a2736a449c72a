"""A small vision transformer for 8×8 digits, with torch's own ``nn.MultiheadAttention``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clado_core.networks.zoo.blocks import EncoderBlock

PATCH = 2
TOKENS = (8 // PATCH) ** 2


class DigitsViT(nn.Module):
    """20 quantizable layers, about 25,000 weights; input (N, 1, 8, 8), output (N, 10)."""

    def __init__(self, width: int = 32, depth: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(1, width, PATCH, PATCH)
        self.positions = nn.Parameter(torch.empty(1, TOKENS, width).normal_(std=0.02))
        self.encoder = nn.Sequential(*(EncoderBlock(width, heads, 2 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch_embedding(x).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.norm(self.encoder(tokens)).mean(dim=1))
        return logits


def build() -> nn.Module:
    """The network with freshly initialized weights, drawn from torch's current generator."""
    return DigitsViT()
