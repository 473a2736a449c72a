"""Networks small enough to measure within a test."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clado_core.data.sources import Samples
from clado_core.networks.discovery import find_layers
from clado_core.records.layers import LayerTable


class ParallelLinears(nn.Module):
    """f(x) = Σ_i W_i·x_i: with a squared loss, exactly quadratic in all weights together."""

    def __init__(self, n_layers: int, width: int, outputs: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(width, outputs, bias=False) for _ in range(n_layers))

    def forward(self, x: Tensor) -> Tensor:
        pieces = x.flatten(1).chunk(len(self.parts), dim=1)
        return sum(part(piece) for part, piece in zip(self.parts, pieces, strict=True))


def quadratic(n_layers: int = 4, seed: int = 0) -> tuple[nn.Module, LayerTable, Samples]:
    """A float64 network, its layers, and 24 samples of two classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ParallelLinears(n_layers, 6, 3).double()
        x = torch.randn(24, 1, n_layers, 6)
    samples = Samples(x, torch.arange(24) % 2, "random")
    return model, find_layers(model, x[:1].double()), samples


def fitted_quadratic(n_layers: int) -> tuple[nn.Module, LayerTable, Samples]:
    """As ``quadratic``, but trained: every bit taken away costs, so that budgets decide."""
    model, layers, samples = quadratic(n_layers)
    x = samples.x.double().flatten(1)
    y = nn.functional.one_hot(samples.y, 3).double()
    ridge = x.T @ x + 0.5 * torch.eye(x.shape[1], dtype=torch.float64)
    fitted = torch.linalg.solve(ridge, x.T @ y).T
    with torch.no_grad():
        for part, weight in zip(model.parts, fitted.chunk(n_layers, dim=1), strict=True):
            part.weight.copy_(weight)
    return model, layers, samples


def convolutional(seed: int = 0) -> tuple[nn.Module, LayerTable, Samples]:
    """Three float32 layers with batch norm and dropout, in training mode on purpose."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, groups=4),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(16, 3),
        )
        x = torch.randn(20, 1, 6, 6)
    return model, find_layers(model, x[:1]), Samples(x, torch.arange(20) % 3, "random")


def squared_error(outputs: Tensor, labels: Tensor, reference: Tensor, /) -> Tensor:
    """Σ ½‖f − onehot(y)‖², float64."""
    target = nn.functional.one_hot(labels, outputs.shape[1]).double()
    return (outputs.double() - target).square().sum() / 2
