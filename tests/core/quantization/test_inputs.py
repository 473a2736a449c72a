"""Quantized inputs: the range rule, hooks in every kind of layer, joint choices end to end."""

import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import clado_core as cc
from clado_core.cli import main
from clado_core.errors import InputError
from clado_core.evaluation.evaluate import evaluate
from clado_core.files.assignment_file import read_assignment
from clado_core.networks.discovery import find_layers
from clado_core.networks.inference import measuring
from clado_core.networks.load import load_model, state_digest
from clado_core.quantization.input_ranges import fake_quantize_input, search_range
from clado_core.quantization.inputs import InputQuantizer
from clado_core.quantization.weights import fake_quantize
from clado_core.records.assignment import Assignment
from clado_core.records.scheme import (
    JointBits,
    QuantizationScheme,
    bit_menu,
    input_bits,
    joint_menu,
    parse_bit_menu,
    weight_bits,
)
from clado_core.sensitivity import MeasurementSettings, forecast, measure
from tests.core.small_networks import convolutional

PAPER = QuantizationScheme("per-tensor", act_bits=8)


def test_levels_by_hand():
    """Two bits on [−1, 2]: scale 1, zero point 1, so the levels are −1, 0, 1, 2."""
    x = torch.tensor([-3.0, -0.6, -0.4, 0.5, 1.5, 9.0])
    expected = torch.tensor([-1.0, -1.0, 0.0, 0.0, 2.0, 2.0])
    assert torch.equal(fake_quantize_input(x, -1.0, 2.0, 2), expected)
    assert torch.equal(fake_quantize_input(x, 0.0, 0.0, 2), x)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_range_is_the_best_of_the_shrunk_ones(bits):
    x = torch.randn(5_000, generator=torch.Generator().manual_seed(0)) ** 3
    low, high = search_range(x, bits)
    least, most = float(x.min()), float(x.max())
    assert low / least == pytest.approx(high / most) and 0.05 < high / most <= 1

    def error(share: float) -> float:
        found = fake_quantize_input(x, share * least, share * most, bits)
        return float((found - x).square().mean())

    errors = [error(1 - 0.01 * k) for k in range(95)]
    assert error(high / most) == pytest.approx(min(errors), rel=1e-6)
    assert search_range(x, bits, shrink=False) == (least, most)
    assert search_range(x.abs(), bits)[0] == 0, "zero is always a level"


def test_ranges_are_averaged_over_batches():
    model, layers, _ = convolutional()
    model.eval()
    batches = [torch.full((2, 1, 6, 6), value) for value in (1.0, 3.0)]
    with InputQuantizer(model, layers, (8,), shrink=False) as inputs:
        inputs.calibrate(model, batches)
    assert inputs.ranges[0, 0] == pytest.approx([0.0, 0.9 * 1 + 0.1 * 3])


def by_hand(x: torch.Tensor, act_bits: int) -> torch.Tensor:
    return fake_quantize_input(x, *search_range(x, act_bits), act_bits)


def test_one_candidate_quantizes_its_own_weight_and_input_alone():
    """Every single loss against the three layers written out."""
    model, layers, samples = convolutional()
    how = MeasurementSettings((2, 4), PAPER, batch_size=len(samples), estimator="block")
    matrix = measure(model, layers, samples, settings=how)
    model.eval()
    weights = [model.get_parameter(layer.parameter) for layer in layers.layers]
    for i, (m, bits) in itertools.product(range(3), enumerate((2, 4))):
        w = [weight.detach() for weight in weights]
        w[i] = fake_quantize(w[i], bits, PAPER)
        with torch.no_grad():
            x = by_hand(samples.x, 8) if i == 0 else samples.x
            x = F.relu(model[1](F.conv2d(x, w[0], model[0].bias)))
            x = by_hand(x, 8) if i == 1 else x
            x = F.conv2d(x, w[1], model[3].bias, groups=4).flatten(1)
            x = by_hand(x, 8) if i == 2 else x
            outputs = F.linear(x, w[2], model[6].bias)
            loss = float(F.cross_entropy(outputs.double(), samples.y))
        increase = matrix.single_loss_increase[i, m]
        assert increase == pytest.approx(loss - matrix.base_loss, abs=1e-6)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
@pytest.mark.parametrize("menu", [(2, 8), joint_menu((2,), (3, 8))])
def test_prefix_reuse_gives_the_numbers_of_whole_forwards(name, menu):
    model = load_model(name).module
    x = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    samples = type(convolutional()[2])(x, torch.arange(12) % 10, "random")
    layers = find_layers(model, x[:1])
    scheme = PAPER if menu == (2, 8) else QuantizationScheme()
    before, G = state_digest(model), []
    for reuse in (True, False):
        how = MeasurementSettings(menu, scheme, batch_size=6, reuse=reuse, estimator="block")
        found = measure(model, layers, samples, settings=how)
        assert "not_traced" not in found.provenance.details or not reuse
        G.append(found.G)
    assert np.array_equal(*G) and state_digest(model) == before
    assert not any(module._forward_pre_hooks for module in model.modules())


class Attention(nn.Module):
    """Self-attention over four tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        return self.head(self.attend(x, x, x, need_weights=False)[0].mean(1))


def attention_by_hand(model: Attention, x: torch.Tensor, act_bits: int) -> torch.Tensor:
    """All four projections with quantized inputs, as matrix products."""
    attend = model.attend
    x = by_hand(x.flatten(2).transpose(1, 2), act_bits)
    q, k, v = F.linear(x, attend.in_proj_weight, attend.in_proj_bias).chunk(3, dim=-1)
    q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    return F.linear(by_hand_of(model, mixed, act_bits), attend.out_proj.weight)


def by_hand_of(model: Attention, mixed: torch.Tensor, act_bits: int) -> torch.Tensor:
    return fake_quantize_input(mixed, *model.out_range, act_bits)


def test_attention_projections_have_their_inputs_quantized():
    torch.manual_seed(0)
    model = Attention().eval()
    x = torch.randn(5, 8, 2, 2)
    layers = find_layers(model, x[:1])
    weight = model.attend.out_proj.weight
    with measuring(model), InputQuantizer(model, layers, (3,), shrink=True) as inputs:
        inputs.calibrate(model, [x])
        float_outputs = model(x)
        inputs.apply(dict.fromkeys(range(4), 3))
        model.out_range = tuple(inputs.ranges[3, 0].tolist())
        expected = model.head(attention_by_hand(model, x, 3).mean(1))
        assert torch.allclose(model(x), expected, atol=1e-5)
        inputs.apply({})
        assert torch.equal(model(x), float_outputs)
        inputs.apply({3: 3})
        with pytest.raises(RuntimeError):
            model(torch.randn(5, 7, 2, 2))
        inputs.apply({})
    assert model.attend.out_proj.weight is weight, "put back after a failure too"


def test_joint_menus_and_their_text():
    menu = joint_menu((2, 4), (4, 8))
    assert [str(b) for b in menu] == ["2a4", "2a8", "4a4", "4a8"] and sorted(menu) == list(menu)
    assert parse_bit_menu("4a8,2a4,2a8,4a4") == menu == bit_menu(int(b) for b in menu)
    assert (weight_bits(menu[1]), input_bits(menu[1]), input_bits(4)) == (2, 8, None)
    for wrong, sentence in (
        ("4,4a8", "mixes"),
        ("4a9", "from 2 to 8"),
        ("4a", "not a list of bit-widths"),
    ):
        with pytest.raises(InputError, match=sentence):
            parse_bit_menu(wrong)


def test_joint_choices_from_measuring_to_the_measured_loss(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "digits-resnet --bits 2,8 --act-bits 2,8 --samples 24 --estimator block --device cpu"
    assert main(["measure", *words.split(), "--out", "a.clado", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["bit_widths"] == ["2a2", "2a8", "8a2", "8a8"]
    matrix = cc.load("a.clado")
    assert matrix.input_ranges.shape == (13, 2, 2) and isinstance(matrix.bit_widths[0], JointBits)

    full = 64 * int(matrix.layers.macs.sum())
    assert main(["solve", "a.clado", "--bops", str(full // 3), "--json"]) == 0
    solved = json.loads(capsys.readouterr().out)
    assert solved["bops"] <= full // 3 and set(solved["assignment"].values()) <= {
        "2a2", "2a8", "8a2", "8a8",
    }  # fmt: skip
    (tmp_path / "solved.json").write_text(json.dumps(solved))
    chosen = read_assignment(tmp_path / "solved.json", matrix)
    products = [weight_bits(b) * input_bits(b) for b in chosen.bits]
    assert solved["bops"] == chosen.bops == int(matrix.layers.macs @ np.array(products))
    assert main(["evaluate", "a.clado", "--assignment", "solved.json", "--json"]) == 0
    worse = json.loads(capsys.readouterr().out)["loss"]
    best = dict.fromkeys(matrix.layers.names, "8a8")
    (tmp_path / "best.json").write_text(json.dumps(best))
    assert main(["evaluate", "a.clado", "--assignment", "best.json", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["float_loss"] == pytest.approx(found["loss"], abs=0.01) and worse > found["loss"]


def test_evaluating_quantized_inputs_needs_their_ranges():
    model, layers, samples = convolutional()
    with pytest.raises(InputError, match="give the matrix"):
        evaluate(model, Assignment(layers, (8, 8, 8), PAPER), samples)


class Unseen(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(1, 2, 3), nn.Linear(32, 2)

    def forward(self, x):
        return F.linear(self.first(x).flatten(1), self.head.weight)


def test_what_cannot_be_quantized_is_refused_by_name():
    torch.manual_seed(0)
    x = torch.randn(4, 1, 6, 6)
    samples = type(convolutional()[2])(x, torch.zeros(4, dtype=torch.int64), "random")
    model = Unseen()
    layers = find_layers(model, x[:1])
    with pytest.raises(InputError, match="The inputs of head cannot be quantized"):
        measure(model, layers, samples, settings=MeasurementSettings((2, 4), PAPER))
    with pytest.raises(InputError, match="hvp sees weights alone"):
        MeasurementSettings((2, 4), PAPER, estimator="hvp")
    with pytest.raises(InputError, match="leave act_bits out"):
        MeasurementSettings(joint_menu((2,), (4,)), PAPER)


def test_memory_of_quantized_inputs_is_counted():
    model, layers, samples = convolutional()
    plain, quantized = (
        forecast(model, layers, samples, MeasurementSettings((2, 4), scheme, batch_size=10))
        for scheme in (QuantizationScheme("per-tensor"), PAPER)
    )
    # The largest input of a layer: 4 channels of 4×4.
    assert quantized.memory_bytes - plain.memory_bytes == 10 * 4 * 4 * 16
