"""The quantizer: levels, scales, and what must hold for every weight."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clado_core.errors import InputError
from clado_core.quantization.weights import (
    dequantize,
    fake_quantize,
    quantize,
    round_to_levels,
    search_scales,
)
from clado_core.records.scheme import QuantizationScheme, integer_range, joint_menu

SCHEMES = [
    QuantizationScheme(granularity, rule)
    for granularity in ("per-channel", "per-tensor")
    for rule in ("mse", "min-max")
]


@st.composite
def weights(draw):
    """Random weights of random magnitudes, some channels constant or zero."""
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(rows, columns, generator=generator)
    weight = weight * 10.0 ** draw(st.integers(-20, 20))
    special = draw(st.sampled_from(["none", "zero", "constant"]))
    if special != "none":
        weight[0] = 0.0 if special == "zero" else weight[0, 0]
    return weight


@given(weights(), st.integers(2, 8), st.sampled_from(SCHEMES))
@settings(max_examples=150, deadline=None)
def test_levels_scales_and_error(weight, bits, scheme):
    before = weight.clone()
    result = quantize(weight, bits, scheme)
    low, high = integer_range(bits)
    assert torch.equal(weight, before)
    assert result.integers.dtype == torch.int8 and result.integers.shape == weight.shape
    assert low <= result.integers.min() and result.integers.max() <= high
    assert result.scales.dtype == torch.float32 and (result.scales > 0).all()
    assert len(result.scales) == (len(weight) if scheme.granularity == "per-channel" else 1)
    back = dequantize(result)
    again = round_to_levels(back, result.scales, bits)
    assert torch.equal(again.integers, result.integers)
    if scheme.range_rule == "min-max":
        half_step = result.scales.reshape(-1, 1) / 2
        assert ((back - weight).abs() <= half_step * (1 + 1e-4)).all()


@given(weights(), st.integers(2, 8), st.sampled_from(["per-channel", "per-tensor"]))
@settings(max_examples=100, deadline=None)
def test_searched_range_is_never_worse_than_the_full_one(weight, bits, granularity):
    def error(rule):
        made = fake_quantize(weight, bits, QuantizationScheme(granularity, rule))
        return ((made - weight).double() / weight.abs().max().clamp_min(1e-30)).square().sum()

    assert error("mse") <= error("min-max") * (1 + 1e-5) + 1e-12


@pytest.mark.parametrize("scheme", SCHEMES)
def test_error_falls_with_every_bit(scheme):
    weight = torch.randn(8, 200, generator=torch.Generator().manual_seed(0))
    errors = [(fake_quantize(weight, b, scheme) - weight).square().mean() for b in range(2, 9)]
    assert errors == sorted(errors, reverse=True)


def test_scale_search_by_hand():
    # One weight of −1 at 2 bits: s = (1 − 0.25)/1.5 = 0.5 makes it exactly −2·s.
    scales = search_scales(torch.tensor([[-1.0]]), 2, QuantizationScheme())
    assert scales.item() == pytest.approx(0.5)
    full = search_scales(torch.tensor([[-1.0]]), 2, QuantizationScheme(range_rule="min-max"))
    assert full.item() == pytest.approx(1 / 1.5)


def test_halves_round_to_even():
    made = round_to_levels(torch.tensor([[0.5, 1.5, 2.5, -0.5, -1.5]]), torch.tensor([1.0]), 4)
    assert made.integers.tolist() == [[0, 2, 2, 0, -2]]


def test_zero_weight_stays_zero():
    made = quantize(torch.zeros(2, 3), 2, QuantizationScheme())
    assert made.scales.tolist() == [1.0, 1.0] and not dequantize(made).any()


def test_type_of_the_weight_is_kept():
    weight = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert fake_quantize(weight, 4, QuantizationScheme()).dtype == torch.float64


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad):
    with pytest.raises(InputError, match="NaN or infinite"):
        quantize(torch.tensor([[1.0, bad]]), 4, QuantizationScheme())


def test_bits_out_of_range_are_refused():
    with pytest.raises(InputError, match="from 2 to 8"):
        quantize(torch.ones(1, 1), 9, QuantizationScheme())


def test_a_joint_choice_quantizes_the_weight_by_its_own_part():
    weight = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    scheme = QuantizationScheme()
    joint, plain = quantize(weight, joint_menu((4,), (8,))[0], scheme), quantize(weight, 4, scheme)
    assert torch.equal(joint.integers, plain.integers) and joint.bits == plain.bits == 4
    assert torch.equal(joint.scales, plain.scales)
