"""Layers found in torchvision's networks, against the published table, and in awkward ones."""

import pytest
import torch
from torch import nn
from torchvision import models

from clado_core.errors import InputError, MeasurementError
from clado_core.networks.discovery import find_layers
from clado_core.sensitivity.plan import forward_count
from tests.core.networks.awkward import IMAGE, SharedByParents, Tail

# name, layers, weights, forwards at M=3 without the reference (method.md, section 5)
PAPER_TABLE = [
    ("resnet18", 19, 11_157_504, 1_596),
    ("resnet34", 35, 21_258_240, 5_460),
    ("resnet50", 52, 23_445_504, 12_090),
    ("mobilenet_v2", 51, 2_188_896, 11_628),
    ("mobilenet_v3_large", 61, 2_942_040, 16_653),
    ("regnet_x_3_2gf", 79, 14_224_128, 27_966),
    ("regnet_y_3_2gf", 109, 17_843_904, 53_301),
    ("vit_b_16", 72, 84_934_656, 23_220),
]


def on_meta(name: str) -> nn.Module:
    if name.startswith("regnet"):  # its constructor computes with tensors
        return models.get_model(name).to("meta")
    with torch.device("meta"):
        return models.get_model(name)


@pytest.mark.parametrize(("name", "n_layers", "n_weights", "forwards"), PAPER_TABLE)
def test_paper_layers_of_torchvision(name, n_layers, n_weights, forwards):
    image = torch.empty(1, 3, 224, 224, device="meta")
    table = find_layers(on_meta(name), image, selection="paper")
    assert len(table) == n_layers
    assert table.total_weights == n_weights
    assert forward_count(n_layers, 3) - 1 == forwards


def test_macs_count_groups_and_calls_per_sample():
    image = torch.empty(2, 3, 224, 224, device="meta")
    table = find_layers(on_meta("mobilenet_v2"), image)
    assert table.macs.sum() == 300_774_272
    resnet = find_layers(on_meta("resnet50"), image)
    assert resnet.macs.sum() == 4_089_184_256


def test_whole_file_is_the_state_dict():
    model = on_meta("resnet18")
    table = find_layers(model, torch.empty(1, 3, 224, 224, device="meta"), selection="paper")
    state = model.state_dict().values()
    assert table.other_bytes + 4 * table.total_weights == sum(
        v.numel() * v.element_size() for v in state
    )


@pytest.mark.parametrize(
    ("name", "layer", "block"),
    [
        ("resnet18", "layer1.0.conv1", "layer1.0"),
        ("resnet18", "conv1", "conv1"),
        ("mobilenet_v3_large", "features.4.block.2.fc1", "features.4"),
        (
            "vit_b_16",
            "encoder.layers.encoder_layer_3.self_attention.v_proj",
            "encoder.layers.encoder_layer_3",
        ),
    ],
)
def test_block_names(name, layer, block):
    table = find_layers(on_meta(name), torch.empty(1, 3, 224, 224, device="meta"))
    assert table.layers[table.index(layer)].block == block


def test_a_wrapper_is_no_block():
    wrapped = nn.Sequential(nn.Identity(), models.resnet18())
    table = find_layers(wrapped, torch.zeros(1, 3, 32, 32))
    assert table.layers[table.index("1.layer2.0.conv1")].block == "1.layer2.0"
    assert len(find_layers(wrapped, torch.zeros(1, 3, 32, 32), selection="paper")) == 19


class Attention(nn.Module):
    """Queries of 6 tokens attend to 4 tokens of another width."""

    def __init__(self, **widths):
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True, **widths)
        self.key_width = widths.get("kdim", 8)

    def forward(self, x):
        n = len(x)
        keys = x.new_zeros(n, 4, self.key_width)
        return self.attend(x.new_zeros(n, 6, 8), key=keys, value=keys)[0].mean(1)


@pytest.mark.parametrize("widths", [{}, {"kdim": 5, "vdim": 5}])
def test_attention_projections(widths):
    table = find_layers(Attention(**widths), torch.zeros(3, 1, 2, 2))
    k = widths.get("kdim", 8)
    assert table.names == tuple(f"attend.{p}" for p in ("q_proj", "k_proj", "v_proj", "out_proj"))
    assert [layer.shape for layer in table.layers] == [(8, 8), (8, k), (8, k), (8, 8)]
    assert [layer.macs for layer in table.layers] == [64 * 6, 8 * k * 4, 8 * k * 4, 64 * 6]
    packed = not widths
    assert [layer.row_start for layer in table.layers] == ([0, 8, 16, 0] if packed else [0] * 4)
    assert table.layers[3].parameter == "attend.out_proj.weight"


def test_encoder_layer_with_a_fused_path_is_seen():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x):
            return self.layer(x.flatten(2).transpose(1, 2)).mean(1)

    with torch.no_grad():
        table = find_layers(Encoder().eval(), torch.zeros(1, 8, 2, 2))
    assert len(table) == 6


def test_a_module_called_twice_counts_both_calls():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1)

        def forward(self, x):
            return self.conv(self.conv(x)).mean((2, 3))

    model = Twice().train()
    assert find_layers(model, torch.zeros(1, 2, 3, 3)).layers[0].macs == 2 * 4 * 9
    assert model.training, "the network is left in the mode it was in"


def test_tied_weights_are_refused_by_name():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[1].weight
    with pytest.raises(InputError, match=r"'1' is shared by 1\.weight and 2\.weight"):
        find_layers(model, torch.zeros(1, 1, 2, 2))


def test_parametrized_weights_are_refused():
    model = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    with pytest.raises(InputError, match="parametrization"):
        find_layers(model, torch.zeros(1, 1, 2, 2))


def test_unreached_layers_are_named():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.unused = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            return self.main(x.flatten(1))

    with pytest.raises(MeasurementError, match="does not reach unused") as caught:
        find_layers(Auxiliary(), torch.zeros(1, 1, 2, 2))
    assert caught.value.layer == "unused"


def test_wrong_input_shape_is_one_sentence():
    with pytest.raises(MeasurementError, match=r"cannot run inputs of shape \(1, 3, 8, 8\)"):
        find_layers(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.zeros(1, 3, 8, 8))


class Functional(nn.Module):
    """One module is called and used by a function too, one is never called."""

    def __init__(self):
        super().__init__()
        self.both, self.never = nn.Conv2d(2, 2, 1), nn.Linear(4, 3)

    def forward(self, x):
        x = nn.functional.conv2d(self.both(x), self.both.weight)
        return nn.functional.linear(x.mean((2, 3)).repeat(1, 2), weight=self.never.weight)


def test_weights_used_by_functions_count_as_reached():
    table = find_layers(Functional(), torch.zeros(2, 2, 3, 3))
    assert table.macs.tolist() == [2 * 4 * 9, 12]


def test_a_module_that_two_parents_own_is_one_layer():
    table = find_layers(Tail(SharedByParents()), torch.randn(IMAGE))
    assert table.names == ("inner.p.0", "inner.stem", "fc")
    assert table.layers[0].macs == 2 * 4 * 4 * 9 * 16


@pytest.mark.parametrize("problem", [AssertionError("Wrong height"), KeyError("x"), RuntimeError()])
def test_whatever_the_networks_own_code_raises_is_one_sentence(problem):
    class Raises(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            raise problem

    with pytest.raises(MeasurementError, match="cannot run inputs of shape") as caught:
        find_layers(Raises(), torch.zeros(1, 1, 2, 2))
    assert "\n" not in str(caught.value)
