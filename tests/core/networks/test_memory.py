"""Channels innermost where a network runs so, channels-first where it runs on nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import clado_core as cc
from clado_core.networks.placement import fit_memory, is_channels_last, place, placed
from tests.core.commands import call

CPU = torch.device("cpu")
NETWORK = """
import torch
from torch import nn
from torch.nn import functional as F

class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(16, 3)
    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return self.head(x.view(x.size(0), -1))

def net():
    return LeNet()
"""


class _Net(nn.Module):
    """A view or a reshape after a convolution, and a buffer that every run changes."""

    def __init__(self, *, view: bool) -> None:
        super().__init__()
        self.view = view
        self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(16, 3)
        self.register_buffer("runs", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        x = F.relu(self.conv(x))
        flat = x.view(x.size(0), -1) if self.view else x.flatten(1)
        out: Tensor = self.head(flat)
        return out


@pytest.mark.parametrize("view", [True, False])
def test_only_a_network_that_needs_it_is_put_back(view: bool) -> None:
    module, x = _Net(view=view).train(), torch.rand(3, 2, 4, 4)
    place(module, CPU)
    fit_memory(module, x)
    assert is_channels_last(module) is not view
    assert module.training and float(module.runs) == 0.0
    place(module, CPU, channels_last=False)


@pytest.mark.parametrize("view", [True, False])
def test_a_callers_network_keeps_its_memory(view: bool) -> None:
    module, x = _Net(view=view), torch.rand(3, 2, 4, 4)
    before = [(parameter.data_ptr(), parameter.stride()) for parameter in module.parameters()]
    with placed(module, x) as device:
        assert device == CPU and is_channels_last(module) is not view
    assert before == [(p.data_ptr(), p.stride()) for p in module.parameters()]


def test_a_view_after_a_convolution_is_measured_evaluated_and_refined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    rng = np.random.default_rng(0)
    data, artifact = tmp_path / "data.npz", tmp_path / "net.clado"
    np.savez(data, x=rng.normal(size=(40, 2, 6, 6)).astype("f4"), y=rng.integers(0, 3, 40))
    spec = f"{tmp_path}/net.py:net"
    words = ["measure", spec, "--data", str(data), "--samples", "8", "--bits", "2,4"]
    code, _, said = call(capsys, *words, "--device", "cpu", "--out", str(artifact))
    assert code == 0, said
    code, chosen, said = call(capsys, "solve", str(artifact), "--avg-bits", "3", "--refine", "2")
    assert code == 0, said
    (tmp_path / "chosen.json").write_text(json.dumps(chosen))
    choice = ["--assignment", str(tmp_path / "chosen.json")]
    code, result, said = call(capsys, "evaluate", str(artifact), *choice, "--device", "cpu")
    assert code == 0 and result["n"] > 0, said


def test_the_same_in_python() -> None:
    module = _Sequential().eval()
    x, y = torch.randn(12, 2, 4, 4), torch.arange(12) % 3
    matrix = cc.measure(module, (x, y), bit_widths=(2, 4), estimator="logit-gram")
    budget = cc.bits_for_average(3, matrix.layers)
    problem = cc.AllocationProblem(matrix, budget_bits=budget)
    refined = cc.refine(problem, module, (x, y), k=1)
    assert cc.evaluate(module, refined, (x, y)).n == 12


class _Sequential(nn.Sequential):
    """As ``_Net``, without state."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(2, 4, 3), nn.ReLU())
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self[1](self[0](x))
        out: Tensor = self.head(x.view(x.size(0), -1))
        return out
