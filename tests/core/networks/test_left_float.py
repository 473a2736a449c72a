"""What stays float is named, whatever way the network computes with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision import models

from clado_core.errors import InputError
from clado_core.networks.discovery import find_layers
from clado_core.records.layers import LayerTable
from tests.core.networks import awkward
from tests.core.networks.awkward import IMAGE, Tail


def table_of(inner: nn.Module) -> LayerTable:
    """Of the network around an inner part, which is left in its mode."""
    return find_layers(Tail(inner), torch.randn(IMAGE))


def weights_left(table: LayerTable) -> dict[str, str]:
    """Weights that stay float → why."""
    return {part.name: part.why for part in table.float_parts or () if part.is_weight}


COMPUTED = "the network multiplies with another weight, computed from this one"
OTHER_KIND = "layers of this kind are not searched"

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...], dict[str, str]]] = {
    "own kernel": (
        lambda: awkward.OwnKernel(None),
        (),
        {"kernel": "used in a convolution outside the layers that are searched"},
    ),
    "own kernel, scaled": (
        lambda: awkward.OwnKernel(0.5),
        (),
        {"kernel": "a convolution uses a weight computed from it"},
    ),
    "standardized": (lambda: awkward.Standardized(2, 4, 3), (), {"": COMPUTED}),
    "replaced": (
        awkward.Replaced,
        (),
        {
            "conv": "its module is called with another weight",
            "other": "used in a convolution outside the layers that are searched",
        },
    ),
    "masked": (
        awkward.Masked,
        (),
        {"conv": COMPUTED, "mask": "a convolution uses a weight computed from it"},
    ),
    "functional attention": (awkward.FunctionalAttention, ("stem", "q", "k", "v", "o"), {}),
    "parts": (awkward.Parts, ("stem", "qkv", "a", "b"), {}),
    "einsum": (
        awkward.Einsum,
        ("stem", "lin"),
        {"mixer": "used in a matrix product outside the layers that are searched"},
    ),
    "low rank": (awkward.LowRank, ("stem",), {"down": COMPUTED, "up": COMPUTED}),
    "distances": (
        awkward.Distances,
        ("stem",),
        {"prototypes": "used by _cdist_forward, in no product"},
    ),
    "other kinds": (
        awkward.OtherKinds,
        ("stem",),
        dict.fromkeys(("lstm", "gru", "bilinear", "wide", "up"), OTHER_KIND)
        | {"table": "looked up, not multiplied"},
    ),
    "bank of kernels": (
        awkward.Bank,
        ("gate",),
        {
            "kernels": "used in a matrix product outside the layers that are searched",
            "cell": "used in a matrix product outside the layers that are searched",
        },
    ),
    "inference mode": (awkward.Inference, ("conv",), {}),
    "TorchScript": (
        awkward.scripted,
        (),
        {"weight": "used in a convolution outside the layers that are searched"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_weight_is_searched_or_named_with_the_reason(case):
    make, searched, left = CASES[case]
    table = table_of(make())
    assert table.names == (*(f"inner.{name}" for name in searched), "fc")
    assert weights_left(table) == {f"inner.{k}" if k else "inner": why for k, why in left.items()}


@pytest.mark.parametrize("case", CASES)
def test_parts_and_searched_weights_are_the_whole_file(case):
    network = Tail(CASES[case][0]())
    table = find_layers(network, torch.randn(IMAGE))
    whole = sum(value.numel() * 4 for value in network.state_dict().values())
    assert table.float_bytes == whole
    assert sum(part.n_bytes for part in table.float_parts) == table.other_bytes
    assert len({part.name for part in table.float_parts}) == len(table.float_parts)


def test_weights_used_in_parts_count_every_part():
    """Per sample: 16 tokens, 4 channels each; one query."""
    parts = {layer.name: layer.macs for layer in table_of(awkward.Parts()).layers}
    assert parts["inner.qkv"] == 16 * 4 * 12 and parts["inner.a"] == parts["inner.b"] == 16 * 16
    attention = {layer.name: layer.macs for layer in table_of(awkward.FunctionalAttention()).layers}
    assert [attention[f"inner.{name}"] for name in "qkvo"] == [16, 16 * 16, 16 * 16, 16]


def test_biases_normalization_and_buffers_are_named_too():
    parts = {part.name: part for part in table_of(awkward.OtherKinds()).float_parts}
    assert (parts["inner.stem.bias"].kind, parts["inner.stem.bias"].n_bytes) == ("bias", 16)
    assert (parts["inner.norm"].kind, parts["inner.norm"].n_bytes) == ("LayerNorm", 32)
    assert (parts["inner.lstm"].kind, parts["inner.lstm"].n_bytes) == ("LSTM", 4 * (2 * 64 + 32))
    einsum = {part.name: part for part in table_of(awkward.Einsum()).float_parts}
    assert einsum["inner.position"].kind == "parameter" and not einsum["inner.position"].is_weight
    norm = table_of(nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))).float_parts
    # Scale, shift, running mean and variance, and an int64 count.
    assert {p.name: p.n_bytes for p in norm}["inner.1"] == 4 * 16 + 8


def test_layers_that_nobody_asked_for_are_named():
    with torch.device("meta"):
        model = models.resnet18()
    table = find_layers(model, torch.empty(1, 3, 64, 64, device="meta"), selection="paper")
    left = weights_left(table)
    assert left == dict.fromkeys(("conv1", "fc"), "left out of the search, as asked for")


def test_a_weight_of_two_modules_that_is_left_out_is_counted_once():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[3].weight = model[1].weight
    table = find_layers(model, torch.zeros(1, 1, 2, 2), selection="paper")
    assert table.names == ("2",)
    assert table.float_bytes == 4 * (2 * 16 + 3 * 4)


def test_an_embedding_whose_weight_a_layer_shares_is_refused():
    class Tied(awkward.Tokens):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(4, 4), nn.Linear(4, 4, bias=False)
            self.out.weight = self.table.weight

        def mix(self, x):
            return self.out(x + self.table(torch.zeros(1, dtype=torch.int64)))

    with pytest.raises(InputError, match=r"shared by inner\.out\.weight and inner\.table\.weight"):
        table_of(Tied())


def test_nothing_that_can_be_searched_is_said_with_the_reasons():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = awkward.Standardized(2, 4, 3)

        def forward(self, x):
            return self.conv(x).mean((2, 3))

    with pytest.raises(InputError, match=r"no layer to quantize.*'conv' \(the network multiplies"):
        find_layers(Net(), torch.randn(IMAGE))


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize(
    "change",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
    ],
)
def test_weights_computed_when_they_are_read_are_refused_with_the_remedy(change):
    with pytest.raises(InputError, match=r"'inner' is computed from others .* prune\.remove"):
        table_of(change(nn.Conv2d(2, 4, 3)))
