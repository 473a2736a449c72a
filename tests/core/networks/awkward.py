"""Networks that compute with weights in other ways than by calling Conv2d and Linear."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGE = (2, 2, 6, 6)
"""What they all take: two samples of two channels."""


class Tail(nn.Module):
    """An inner part, then a Linear over its means."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.fc = inner, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.inner(x).flatten(2).mean(2))


class Tokens(nn.Module):
    """A stem, then something on 16 tokens of width 4."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.stem(x).flatten(2).transpose(1, 2)).transpose(1, 2)


class OwnKernel(nn.Module):
    """A convolution with a parameter of its own, scaled where asked (equalized learning rate)."""

    def __init__(self, scale: float | None) -> None:
        super().__init__()
        self.kernel, self.scale = nn.Parameter(torch.randn(4, 2, 3, 3)), scale

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel if self.scale is None else self.kernel * self.scale)


class Standardized(nn.Conv2d):
    """Weight standardization: the module holds a weight and convolves with another."""

    def forward(self, x: Tensor) -> Tensor:
        axes = (1, 2, 3)
        w = (self.weight - self.weight.mean(axes, keepdim=True)) / self.weight.std(
            axes, keepdim=True
        )
        return F.conv2d(x, w, self.bias)


class Replaced(nn.Module):
    """A module that is called with another weight than it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(2, 4, 3), nn.Parameter(torch.randn(4, 2, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.func.functional_call(self.conv, {"weight": self.other}, (x,))


class Masked(nn.Module):
    """A mask that training keeps beside the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.register_buffer("mask", torch.ones(4, 2, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.conv.weight * self.mask, self.conv.bias)


class FunctionalAttention(Tokens):
    """q, k, v and out of nn.Linear, used by torch's attention function."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(4, 4) for _ in range(4))

    def mix(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1)
        bias = torch.cat([self.q.bias, self.k.bias, self.v.bias])
        sizes = (4, 2, None, bias, None, None, False, 0.0)
        weights = {f"{name}_proj_weight": getattr(self, name).weight for name in "qkv"}
        query = x.mean(0, keepdim=True)
        return F.multi_head_attention_forward(
            query, x, x, *sizes, self.o.weight, self.o.bias, training=False, need_weights=False,
            use_separate_proj_weight=True, **weights,
        )[0].transpose(0, 1)  # fmt: skip


class Parts(Tokens):
    """One Linear whose rows are used in three parts, another as three weights in one."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.a, self.b = nn.Linear(4, 12), nn.Linear(4, 4), nn.Linear(4, 4)

    def mix(self, x: Tensor) -> Tensor:
        w = self.qkv.weight
        q, k, v = (F.linear(x, w[i : i + 4]) for i in (0, 4, 8))
        x = F.scaled_dot_product_attention(q, k, v)
        one, two = F.linear(x, torch.cat([self.a.weight, self.b.weight])).chunk(2, -1)
        return one + two


class Einsum(Tokens):
    """Einsum with a Linear's weight and with a parameter of its own, and a position."""

    def __init__(self) -> None:
        super().__init__()
        self.lin, self.mixer = nn.Linear(4, 4), nn.Parameter(torch.randn(4, 4))
        self.position = nn.Parameter(torch.zeros(16, 4))

    def mix(self, x: Tensor) -> Tensor:
        x = torch.einsum("bnk,ck->bnc", x + self.position, self.lin.weight)
        return torch.einsum("bnk,kc->bnc", x, self.mixer)


class LowRank(Tokens):
    """The product of two weights, then data times that."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)

    def mix(self, x: Tensor) -> Tensor:
        return F.linear(x, self.up.weight @ self.down.weight)


class Distances(Tokens):
    """A Linear whose weight is a table of prototypes."""

    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Linear(4, 4, bias=False)

    def mix(self, x: Tensor) -> Tensor:
        return torch.cdist(x, self.prototypes.weight)


class OtherKinds(Tokens):
    """Recurrent, bilinear, transposed and looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = nn.LSTM(4, 4, batch_first=True), nn.GRU(4, 4, batch_first=True)
        self.table, self.bilinear = nn.Embedding(5, 4), nn.Bilinear(4, 4, 4)
        self.wide, self.up = nn.Conv1d(4, 4, 1), nn.ConvTranspose1d(4, 4, 1)
        self.norm = nn.LayerNorm(4)

    def mix(self, x: Tensor) -> Tensor:
        x = self.gru(self.lstm(x)[0])[0] + self.table(torch.zeros(1, dtype=torch.int64))
        x = self.up(self.wide(self.bilinear(x, x).transpose(1, 2))).transpose(1, 2)
        return self.norm(x)


class Bank(nn.Module):
    """Kernels mixed by what is seen, and one per frequency."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.kernels = nn.Linear(2, 5), nn.Parameter(torch.randn(5, 4 * 2 * 9))
        self.cell = nn.Parameter(torch.randn(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.gate(x.mean((0, 2, 3))).softmax(0) @ self.kernels
        x = F.conv2d(x, mixed.view(4, 2, 3, 3)).flatten(2).transpose(1, 2)
        state = torch.zeros(len(x), 4)
        weights = (self.cell.repeat(2, 1), self.cell.repeat(2, 1))
        return torch._VF.lstm_cell(x.mean(1), (state, state), *weights)[0][..., None]


class Inference(nn.Module):
    """Its own code turns gradients off for good."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.conv(x)


class SharedByParents(nn.Module):
    """One convolution that two parts own; the part that is defined second runs first."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.Conv2d(4, 4, 3, padding=1)
        self.p, self.q = nn.Sequential(shared, nn.ReLU()), nn.Sequential(shared, nn.Tanh())
        self.stem = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.p(self.q(self.stem(x)))


def scripted() -> nn.Module:
    """A convolution as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.script(nn.Conv2d(2, 4, 3))
