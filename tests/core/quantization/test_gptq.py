"""Error-compensating rounding against the slow definition, and what must hold for every weight."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from clado_core.data.sources import load_data
from clado_core.errors import InputError
from clado_core.networks.discovery import find_layers
from clado_core.networks.load import load_model
from clado_core.quantization import gptq as gptq_module
from clado_core.quantization.gptq import gptq, output_error, row_errors
from clado_core.quantization.moments import InputMoments, collect_moments
from clado_core.quantization.weight_swap import weight_slice
from clado_core.quantization.weights import dequantize, round_to_levels, search_scales
from clado_core.records.scheme import QuantizationScheme, integer_range, joint_menu

GRANULARITIES = ("per-channel", "per-tensor")


def moments_of(columns: torch.Tensor) -> InputMoments:
    """Of columns of shape (groups, k, n)."""
    x = columns.double()
    return InputMoments(x @ x.mT, x.mean(-1), x.shape[-1])


def layer(
    groups: int, rows: int, k: int, *, seed: int = 0, n: int = 200
) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight of shape (groups·rows, k) and correlated columns of shape (groups, k, n)."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(groups, k, k, generator=generator)
    x = mixing @ torch.randn(groups, k, n, generator=generator)
    weight = torch.randn(groups * rows, k, generator=generator)
    return weight, F.relu(x + 0.5)


def slow_obq(weight, moments, scales, bits, damping, columns):
    """One row at a time, the inverse of H reduced after every column, all in float64."""
    groups = moments.groups
    rows = len(weight) // groups
    levels = torch.empty_like(weight)
    for r in range(len(weight)):
        H = 2 * moments.second[r // rows].clone()
        H += damping * H.diagonal().mean() * torch.eye(len(H)).double()
        inverse = torch.linalg.inv(H)
        w = weight[r].double().clone()
        scale = scales[r if len(scales) > 1 else 0]
        low, high = integer_range(bits)
        for j in columns[r // rows].tolist():
            levels[r, j] = (w[j].float() / scale).round().clamp(low, high)
            error = w[j] - (levels[r, j] * scale).double()
            w -= error / inverse[j, j] * inverse[:, j]
            inverse -= torch.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    return levels


@pytest.mark.parametrize("groups, rows, k", [(1, 5, 12), (2, 3, 7), (6, 1, 9), (1, 4, 1)])
@pytest.mark.parametrize("order", ["defined", "activation"])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_integers_of_the_slow_definition(groups, rows, k, order, granularity, bits, monkeypatch):
    monkeypatch.setattr(gptq_module, "BLOCK", 4)
    weight, x = layer(groups, rows, k, seed=10 * groups + bits)
    moments = moments_of(x)
    scales = search_scales(weight, bits, QuantizationScheme(granularity))
    made = gptq(weight, moments, scales, bits, damping=0.05, order=order)
    columns = torch.arange(k).expand(groups, k)
    if order == "activation":
        columns = torch.stack([s.diagonal().sort(descending=True)[1] for s in moments.second])
    slow = slow_obq(weight, moments, scales, bits, 0.05, columns)
    nearest = round_to_levels(weight, scales, bits)
    expected = nearest.integers.clone()
    for r in range(len(weight)):
        step = scales[r if len(scales) > 1 else 0]
        errors = [
            ((weight[r] - step * levels[r]).double() @ x[r // rows].double()).square().sum()
            for levels in (slow, nearest.integers)
        ]
        if errors[0] < errors[1]:
            expected[r] = slow[r].to(torch.int8)
    assert torch.equal(made.integers, expected)
    assert k == 1 or bits == 8 or not torch.equal(made.integers, nearest.integers)


@st.composite
def layers(draw):
    """Arguments of ``layer``, and how to quantize it."""
    return {
        "groups": draw(st.sampled_from((1, 1, 2, 5))),
        "rows": draw(st.integers(1, 4)),
        "k": draw(st.integers(1, 12)),
        "seed": draw(st.integers(0, 2**16)),
        "n": draw(st.sampled_from((1, 3, 50))),
    }


@given(
    arguments=layers(),
    bits=st.integers(2, 8),
    granularity=st.sampled_from(GRANULARITIES),
    order=st.sampled_from(gptq_module.ORDERS),
    damping=st.sampled_from((0.0, 1e-9, 0.01, 1.0)),
    size=st.sampled_from((1e-12, 1.0, 1e12)),
    dead=st.sampled_from(("none", "some", "all")),
)
@settings(max_examples=150)
def test_no_channel_is_worse_than_rounded_to_nearest(
    arguments, bits, granularity, order, damping, size, dead
):
    """Few columns and no damping too: then H is singular."""
    weight, x = layer(**arguments)
    weight, x = weight * size, x.double() / size
    if dead != "none":
        x[:, : 1 if dead == "some" else None] = 0
    before, moments = weight.clone(), moments_of(x)
    scales = search_scales(weight, bits, QuantizationScheme(granularity))
    made = gptq(weight, moments, scales, bits, damping=damping, order=order)
    nearest = round_to_levels(weight, scales, bits)
    low, high = integer_range(bits)
    assert torch.equal(weight, before) and torch.equal(made.scales, scales) and made.bits == bits
    assert made.integers.dtype == torch.int8 and made.integers.shape == weight.shape
    assert low <= made.integers.min() and made.integers.max() <= high
    found = row_errors(weight, made, moments)
    assert (found <= row_errors(weight, nearest, moments)).all()
    # In float64: where little is left, float32 differences of weights are off by more than that.
    change = moments.by_group(weight) - moments.by_group(dequantize(made))
    expected = (change @ x).square().sum(-1).flatten()
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6 * float(expected.max()))
    assert output_error(weight, made, moments) == pytest.approx(float(found.sum()))
    if dead != "none":
        same = made.integers.reshape(moments.groups, -1, moments.width) == (
            nearest.integers.reshape(moments.groups, -1, moments.width)
        )
        assert same[:, :, : 1 if dead == "some" else None].all()


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("order", gptq_module.ORDERS)
def test_uncorrelated_inputs_are_rounded_to_nearest(granularity, bits, order):
    """Nothing can take up an error where H is diagonal, whatever its entries."""
    weight = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(bits))
    sizes = torch.rand(12, generator=torch.Generator().manual_seed(1)).double() + 0.1
    scales = search_scales(weight, bits, QuantizationScheme(granularity))
    for second in (torch.eye(12).double(), 1e6 * torch.diag(sizes)):
        moments = InputMoments(second[None], torch.zeros(1, 12).double(), 3)
        made = gptq(weight, moments, scales, bits, order=order)
        assert torch.equal(made.integers, round_to_levels(weight, scales, bits).integers)


def test_ties_are_those_of_rounding_to_nearest():
    """Halves of steps: what is half in float32 seldom is in float64."""
    scales = torch.tensor([0.1, 0.3, 0.7])
    weight = scales[:, None] * (torch.arange(-6, 6) + 0.5)
    moments = InputMoments(torch.eye(12).double()[None], torch.zeros(1, 12).double(), 3)
    nearest = round_to_levels(weight, scales, 4)
    assert torch.equal(gptq(weight, moments, scales, 4).integers, nearest.integers)


def test_two_equal_inputs_by_hand():
    """What the first weight is off, the second takes up: 0.4 + 0.4 becomes 0 + 1 in all."""
    moments = InputMoments(torch.ones(1, 2, 2).double(), torch.ones(1, 2).double(), 1)
    weight, scale = torch.tensor([[0.4, 0.4]]), torch.tensor([1.0])
    assert round_to_levels(weight, scale, 4).integers.tolist() == [[0, 0]]
    made = gptq(weight, moments, scale, 4, damping=1e-6)
    assert made.integers.tolist() == [[0, 1]]
    assert output_error(weight, made, moments) == pytest.approx(0.2**2, rel=1e-5)
    assert output_error(weight, torch.zeros(1, 2), moments) == pytest.approx(0.8**2, rel=1e-5)


def test_dead_inputs_change_nothing_for_the_others():
    weight, x = layer(1, 4, 6)
    alive = torch.tensor([0, 2, 3, 5])
    dead = torch.zeros_like(x)
    dead[:, alive] = x[:, alive]
    scales = search_scales(weight, 3, QuantizationScheme())
    made = gptq(weight, moments_of(dead), scales, 3)
    alone = gptq(weight[:, alive], moments_of(x[:, alive]), scales, 3)
    assert torch.equal(made.integers[:, alive], alone.integers)


def test_at_eight_bits_levels_are_the_nearest_or_next_to_them():
    weight, x = layer(1, 16, 40, n=2000)
    scales = search_scales(weight, 8, QuantizationScheme())
    made = gptq(weight, moments_of(x), scales, 8).integers.int()
    away = (made - round_to_levels(weight, scales, 8).integers).abs()
    assert (away <= 1).float().mean() > 0.7 and away.max() <= 5


def test_h_that_is_not_positive_definite():
    """More damping makes a singular one so; an indefinite one is given up group by group."""
    weight, x = layer(2, 3, 8, n=2)
    moments = moments_of(x)
    scales = search_scales(weight, 3, QuantizationScheme())
    nearest = round_to_levels(weight, scales, 3)
    made = gptq(weight, moments, scales, 3, damping=0)
    assert output_error(weight, made, moments) < 0.5 * output_error(weight, nearest, moments)
    second = moments.second.clone()
    second[0, 0, 1] = second[0, 1, 0] = 1e3 * second[0].diagonal().sum()
    broken = InputMoments(second, moments.mean, moments.count)
    some = gptq(weight, broken, scales, 3)
    whole = gptq(weight, moments, scales, 3)
    assert torch.equal(some.integers[:3], nearest.integers[:3])
    assert torch.equal(some.integers[3:], whole.integers[3:])


def test_shape_layout_and_kind_of_bits_do_not_matter():
    weight, x = layer(1, 5, 12)
    moments, kernel = moments_of(x), weight.reshape(5, 3, 2, 2)
    scales = search_scales(weight, 4, QuantizationScheme())
    flat = gptq(weight, moments, scales, 4)
    for other in (kernel, kernel.contiguous(memory_format=torch.channels_last)):
        made = gptq(other, moments, scales, joint_menu((4,), (8,))[0])
        assert torch.equal(made.integers.flatten(1), flat.integers) and made.bits == 4


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
@pytest.mark.parametrize("granularity, bits", [("per-tensor", 2), ("per-channel", 4)])
def test_output_error_on_shipped_networks(name, granularity, bits):
    """A third to a half of that of rounding to nearest, on images not rounded with too."""
    model, source = load_model(name).module, load_data("digits")
    x = source.split("train").x[:256]
    layers = find_layers(model, x[:1])
    moments = collect_moments(model, layers.layers, x.split(64))
    others = collect_moments(model, layers.layers, source.split("held-out").x[:256].split(64))
    logs = []
    for each in layers.layers:
        weight = weight_slice(model, each)
        scales = search_scales(weight, bits, QuantizationScheme(granularity))
        made = gptq(weight, moments[each.name], scales, bits)
        nearest = round_to_levels(weight, scales, bits)
        for on in (moments, others):
            error = output_error(weight, nearest, on[each.name])
            logs.append(output_error(weight, made, on[each.name]) / error)
    mine, theirs = torch.tensor(logs).log().reshape(-1, 2).mean(0).exp().tolist()
    assert mine < 0.45 and theirs < 0.5


def test_wrong_arguments_are_refused():
    weight, x = layer(1, 2, 3)
    moments, scales = moments_of(x), torch.ones(2)
    for change, sentence in (
        ({"order": "random"}, "Unknown order 'random'"),
        ({"damping": -0.1}, "0 or more, not -0.1"),
        ({"damping": float("nan")}, "0 or more, not nan"),
    ):
        with pytest.raises(InputError, match=sentence):
            gptq(weight, moments, scales, 4, **change)
    with pytest.raises(InputError, match="NaN or infinite"):
        gptq(weight * float("nan"), moments, scales, 4)
    with pytest.raises(InputError, match="its own layer"):
        gptq(weight[:, :2], moments, scales, 4)
    with pytest.raises(InputError, match="scales"):
        gptq(weight, moments, torch.ones(3), 4)
    with pytest.raises(InputError, match="from 2 to 8"):
        gptq(weight, moments, scales, 9)
