"""Modules without layers that can be told apart are refused by name; the others are taken."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import clado_core as cc
from clado_core.errors import InputError
from clado_core.networks.discovery import find_layers
from clado_core.networks.load import load_model
from clado_core.networks.ordinary import evaluating
from tests.core.networks.awkward import IMAGE, Tail

X, Y = torch.zeros(IMAGE), torch.zeros(2, dtype=torch.int64)


def net() -> nn.Module:
    return Tail(nn.Conv2d(2, 4, 3))


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3))


def exported() -> nn.Module:
    return torch.export.export(net().eval(), (X,)).module()


def around_exported() -> nn.Module:
    return nn.Sequential(exported())


REFUSED = {
    "scripted": (lambda: torch.jit.script(net()), "is TorchScript"),
    "traced": (lambda: torch.jit.trace(net(), X), "is TorchScript"),
    "exported": (exported, "is an exported program"),
    "around an exported": (around_exported, "is an exported program"),
    "lazy": (lazy, "The layers 0, 2 are lazy"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_layers_to_be_told_apart_is_one_sentence(kind):
    make, sentence = REFUSED[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = make()
    for use in (lambda: find_layers(module, X), lambda: cc.measure(module, (X, Y))):
        with pytest.raises(InputError, match=sentence) as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["scripted", "exported", "lazy"])
def test_a_file_that_gives_one_is_refused_in_the_same_words(tmp_path, kind):
    (tmp_path / "mine.py").write_text(
        "import warnings\n"
        "from tests.core.networks.test_ordinary import REFUSED\n"
        "def make():\n"
        "    with warnings.catch_warnings():\n"
        "        warnings.simplefilter('ignore')\n"
        f"        return REFUSED['{kind}'][0]()\n"
    )
    with pytest.raises(InputError, match=REFUSED[kind][1]):
        load_model(f"{tmp_path / 'mine.py'}:make")


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: nn.DataParallel(net()), ("module.inner", "module.fc")),
        (lambda: torch.compile(net(), backend="eager"), ("_orig_mod.inner", "_orig_mod.fc")),
        (lambda: torch.fx.symbolic_trace(net()), ("inner", "fc")),
    ],
    ids=["data parallel", "compiled", "traced by fx"],
)
def test_wrapped_modules_are_looked_into(make, names):
    assert find_layers(make(), X).names == names


def test_a_network_without_values_is_refused_where_values_count():
    module = net().to("meta")
    assert find_layers(module, X.to("meta")).names == ("inner", "fc")
    with pytest.raises(InputError, match=r"'fc\.bias' is on the meta device"):
        cc.measure(module, (X, Y))


def test_every_module_is_in_its_own_mode_afterwards():
    module = net().train()
    module.inner.eval()
    with evaluating(module):
        assert not module.training and not module.fc.training
    assert module.training and module.fc.training and not module.inner.training
