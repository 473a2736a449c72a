"""Networks of kinds that exporters have been reported to write wrongly, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import clado_core as cc
from clado_core import exports
from clado_core.exports.network import quantize_weights
from clado_core.networks.discovery import find_layers

SHAPE = (2, 8, 8)
MENU = (2, 3, 4, 8)
Change = Callable[[Tensor], Tensor]


class Small(nn.Module):
    """Two convolutions and a classifier; something happens between them."""

    def __init__(self, between: Change = lambda x: x) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.second(self.between(F.relu(self.first(x)))))
        out: Tensor = self.head(x.mean((2, 3)))
        return out


def _chunk(x: Tensor) -> Tensor:
    a, _ = x.chunk(2, 1)
    a += 1.0
    return x


def _flattened(x: Tensor) -> Tensor:
    y = x.flatten(2)
    y += 1.0
    return x


def _late(x: Tensor) -> Tensor:
    y = x[:, :2]
    x.mul_(0.25)
    return torch.cat([y, y], 1)


def _viewed(x: Tensor) -> Tensor:
    x.view(x.shape[0], 4, 64)[:, :, ::2].mul_(0.0)
    return x


def _transposed(x: Tensor) -> Tensor:
    x.transpose(1, 2).add_(1.0)
    return x


def _split(x: Tensor) -> Tensor:
    for part in x.split(2, 1):
        part.mul_(1.5)
    return x


def _assigned(x: Tensor) -> Tensor:
    x[:, ::2] = 0.0
    x[:, 1::2] *= 2
    return x


IN_PLACE_ON_VIEWS: dict[str, Change] = {
    change.__name__.strip("_"): change
    for change in (_chunk, _flattened, _late, _viewed, _transposed, _split, _assigned)
}
"""The older exporter writes all but the last one wrong."""


class Padded(nn.Module):
    """Padding "same", which the older exporter leaves to runtimes that lack it with a dilation."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, padding="same", **options)
        self.head = nn.Linear(4 * 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.conv(x).flatten(1))
        return out


class Norm(nn.Module):
    """Local response normalization, whose older graph once failed ONNX's checker."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.LocalResponseNorm(3)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(F.relu(self.conv(x))).mean((2, 3)))
        return out


class LeNet(nn.Module):
    """A view after a convolution, as in many tutorials; it runs on channels-first memory only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.head = nn.Linear(36, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        out: Tensor = self.head(x.view(x.size(0), -1))
        return out


class Twins(nn.Module):
    """Layers with equal weights, some of them zero, and a parameter equal to one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(2, 8, 4, 4)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head, self.also = nn.Linear(8, 5), nn.Linear(8, 5)
        nn.init.zeros_(self.also.weight)
        self.again = nn.Parameter(self.head.weight.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(self.embed(x).flatten(2).transpose(1, 2)).mean(1)
        out: Tensor = self.head(x) + self.also(x) + (x @ self.again.sign().T)
        return out


class Clashing(Small):
    """Its own parameters have the names that the exported file gives to others."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("weight_scale", "weight_quantized", "weight_float", "weight_bits"):
            self.first.register_parameter(name, nn.Parameter(torch.rand(1)))
        for name in ("input", "output", "c0", "v0"):
            self.register_parameter(name, nn.Parameter(torch.rand(1)))

    def forward(self, x: Tensor) -> Tensor:
        own = dict(self.named_parameters())
        out = super().forward(x)
        for name in ("input", "output", "c0", "v0", "first.weight_scale", "first.weight_quantized"):
            out = out * (1 + own[name])
        return out + own["first.weight_float"] * own["first.weight_bits"]


class Spread(nn.Module):
    """``nn.DataParallel`` inside the network."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.DataParallel(nn.Conv2d(2, 4, 3))
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(F.relu(self.body(x)).mean((2, 3)))
        return out


def built(make: Callable[[], nn.Module]) -> nn.Module:
    """A network with the same random weights every time, ready to be exported."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval().requires_grad_(False)


def job_of(module: nn.Module, shape: tuple[int, int, int] = SHAPE) -> exports.ExportJob:
    """An export with bit-widths of 2, 3, 4 and 8 in turn."""
    kind = next(module.parameters()).dtype
    layers = find_layers(module, torch.rand(2, *shape).to(kind))
    matrix = cc.SensitivityMatrix("odd", np.eye(len(MENU) * len(layers)), layers, MENU)
    bits = tuple(MENU[i % len(MENU)] for i in range(len(layers)))
    configuration = exports.Configuration(matrix, cc.Assignment(layers, bits, matrix.scheme))
    weights = quantize_weights(module, configuration)
    return exports.ExportJob(configuration, exports.QuantizedNetwork(module, weights, shape))


@contextmanager
def quantized(job: exports.ExportJob) -> Iterator[nn.Module]:
    """The job's network with its quantized weights written into it, for as long as this lasts."""
    network = job.require_network()
    state = {name: value.clone() for name, value in network.module.state_dict().items()}
    for weight in network.weights.values():
        held = network.module.get_parameter(weight.layer.parameter).data
        start = weight.layer.row_start
        held[start : start + weight.layer.out_channels] = torch.from_numpy(weight.dequantized)
    try:
        yield network.module
    finally:
        network.module.load_state_dict(state)


def largest_difference(job: exports.ExportJob, run: Callable[[np.ndarray], Any]) -> float:
    """Of a file's outputs from the quantized network's, relative, over batches of 1, 2 and 5."""
    network, worst = job.require_network(), 0.0
    assert network.input_shape is not None
    kind = next(network.module.parameters()).dtype
    generator = torch.Generator().manual_seed(7)
    with quantized(job) as module, torch.no_grad():
        for size in (1, 2, 5):
            x = torch.randn(size, *network.input_shape, generator=generator).to(kind)
            wanted = module(x.clone()).float().numpy()
            got = np.asarray(run(x.numpy()), np.float32)
            assert got.shape == wanted.shape
            worst = max(worst, float(np.abs(got - wanted).max() / np.abs(wanted).max()))
    return worst
