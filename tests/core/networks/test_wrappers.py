"""Wrappers are left out of a network, and its parameters keep their names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from clado_core.networks.wrappers import without_wrappers


def _plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))


def _inside() -> nn.Module:
    return nn.Sequential(nn.DataParallel(nn.Conv2d(1, 2, 3)), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.DataParallel(_plain()),
        _inside,
        lambda: nn.DataParallel(nn.Sequential(_inside())),
        # Loads the whole compiler.
        pytest.param(lambda: torch.compile(_plain(), backend="eager"), marks=pytest.mark.slow),
    ],
    ids=["outside", "inside", "both", "compiled"],
)
def test_names_and_outputs_stay(make: Callable[[], nn.Module]) -> None:
    module = make().eval()
    own = without_wrappers(module)
    assert not own.training
    kinds = {type(part).__name__ for part in own.modules()}
    assert not kinds & {"DataParallel", "OptimizedModule"}
    shapes = [{n: p.shape for n, p in each.named_parameters()} for each in (own, module)]
    assert shapes[0] == shapes[1]
    x = torch.rand(2, 1, 4, 4)
    # Compiling for a comparison would take seconds.
    assert torch.equal(own(x), getattr(module, "_orig_mod", module)(x))


def test_a_network_without_wrappers_is_itself() -> None:
    module = _plain()
    assert without_wrappers(module) is module


def test_the_callers_network_keeps_its_wrappers() -> None:
    module = _inside()
    without_wrappers(module)
    assert isinstance(module[0], nn.DataParallel)
