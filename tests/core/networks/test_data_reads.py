"""Where a network reads what depends on its input as a Python value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clado_core.networks.builtin import BUILTIN_NETWORKS
from clado_core.networks.data_reads import data_reads
from clado_core.networks.load import RANDOM_WEIGHTS, load_model


class _Reader(nn.Module):
    def __init__(self, read: Callable[[_Reader, Tensor], Any]) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("ready", torch.tensor(True))
        self.register_buffer("kept", torch.zeros(3))
        self._read = read

    def forward(self, x: Tensor) -> Tensor:
        self._read(self, x)
        return x


READS: dict[str, Callable[[_Reader, Tensor], Any]] = {
    "if": lambda m, x: 1 if x.mean() > m.threshold else 0,
    "item": lambda m, x: x.max().item(),
    "int": lambda m, x: int(x.sum()),
    "index": lambda m, x: [1, 2][(x.sum() > 0).long()],
    "list": lambda m, x: x.mean(0).tolist(),
    "numpy": lambda m, x: np.asarray(x).sum(),
    "detached": lambda m, x: x.detach().cpu().numpy(),
    "equal": lambda m, x: torch.equal(x, x + 1),
    "contains": lambda m, x: 0.5 in x,
    "number of others": lambda m, x: len((x > 0.5).nonzero()),
    "mask": lambda m, x: x[x > 0.5],
    "one-armed where": lambda m, x: torch.where(x > 0.5),
    "max of Python": lambda m, x: max(x.sum(), x.mean()),
    "through a view": lambda m, x: m.kept.view(1, 3).copy_(x[:1]) is not None and m.kept[0].item(),
    "through an assignment": lambda m, x: m.kept.__setitem__(0, x[0, 0]) or float(m.kept[0]),
}


@pytest.mark.parametrize("name", READS)
def test_a_value_of_the_input_is_noticed_where_it_is_read(name: str) -> None:
    places = data_reads(_Reader(READS[name]), torch.rand(2, 3))
    assert places and {place.partition(":")[0] for place in places} == {Path(__file__).name}


@pytest.mark.parametrize(
    "read",
    [
        lambda m, x: 1 if m.ready else 0,
        lambda m, x: m.threshold.item(),
        lambda m, x: x.shape[0] > 1 and len(x),
        lambda m, x: torch.where(x > m.threshold, x, 0),
        lambda m, x: x.masked_fill(x > 0.5, 0.0),
        lambda m, x: x.topk(2).values,
        lambda m, x: torch.zeros(3).tolist(),
    ],
)
def test_constants_sizes_and_operations_are_no_reads(
    read: Callable[[_Reader, Tensor], Any],
) -> None:
    assert data_reads(_Reader(read), torch.rand(2, 3)) == []


@pytest.mark.parametrize("name", BUILTIN_NETWORKS)
def test_the_built_in_networks_read_nothing(name: str) -> None:
    model = load_model(name, RANDOM_WEIGHTS)
    assert model.input_shape is not None
    assert data_reads(model.module, torch.rand(2, *model.input_shape)) == []
