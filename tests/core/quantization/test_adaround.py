"""Descent and learned rounding, against enumeration and what must hold for every weight."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from clado_core.quantization import descent as descent_module
from clado_core.quantization.adaround import adaround
from clado_core.quantization.descent import descend
from clado_core.quantization.gptq import gptq, output_error, row_errors
from clado_core.quantization.moments import InputMoments
from clado_core.quantization.weights import QuantizedWeight, round_to_levels, search_scales
from clado_core.records.scheme import QuantizationScheme, integer_range


def layer(rows: int, k: int, *, groups: int = 1, seed: int = 0, n: int = 200):
    """A weight of shape (groups·rows, k) and moments of correlated inputs."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(groups, k, k, generator=generator)
    x = F.relu(mixing @ torch.randn(groups, k, n, generator=generator) + 0.5).double()
    weight = torch.randn(groups * rows, k, generator=generator)
    return weight, InputMoments(x @ x.mT, x.mean(-1), n)


def rounded_both_ways(weight, moments, bits, granularity="per-channel"):
    scales = search_scales(weight, bits, QuantizationScheme(granularity))
    return round_to_levels(weight, scales, bits), gptq(weight, moments, scales, bits)


@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 9)),
    groups=st.sampled_from((1, 3)),
    bits=st.integers(2, 8),
    seed=st.integers(0, 2**16),
    n=st.sampled_from((1, 4, 60)),
    granularity=st.sampled_from(("per-channel", "per-tensor")),
    size=st.sampled_from((1e-8, 1.0, 1e8)),
)
@settings(max_examples=25)
def test_no_channel_gets_worse(sizes, groups, bits, seed, n, granularity, size):
    weight, moments = layer(*sizes, groups=groups, seed=seed, n=n)
    weight = weight * size
    low, high = integer_range(bits)
    for start in rounded_both_ways(weight, moments, bits, granularity):
        before = start.integers.clone()
        results = descend(weight, start, moments), adaround(weight, start, moments, steps=5)
        assert torch.equal(start.integers, before)
        for made in results:
            assert made.integers.dtype == torch.int8 and made.integers.shape == weight.shape
            assert low <= made.integers.min() and made.integers.max() <= high
            assert torch.equal(made.scales, start.scales) and made.bits == bits
            old, new = (row_errors(weight, each, moments) for each in (start, made))
            assert (new <= old).all()


def test_after_descent_no_single_change_helps(monkeypatch):
    """Checked level by level, with blocks smaller than the layer."""
    monkeypatch.setattr(descent_module, "BLOCK", 3)
    weight, moments = layer(3, 7, groups=2)
    start, _ = rounded_both_ways(weight, moments, 3)
    made = descend(weight, start, moments, damping=0)
    errors = row_errors(weight, made, moments)
    assert errors.sum() < 0.9 * output_error(weight, start, moments)
    low, high = integer_range(3)
    for r, j, level in itertools.product(range(6), range(7), range(low, high + 1)):
        other = made.integers.clone()
        other[r, j] = level
        changed = row_errors(weight, QuantizedWeight(other, made.scales, 3), moments)
        assert changed[r] >= errors[r] * (1 - 1e-9)


def best_errors(weight, scales, bits, moments):
    """Of every channel, the least error of all its integers."""
    low, high = integer_range(bits)
    levels = torch.cartesian_prod(*[torch.arange(low, high + 1).double()] * weight.shape[1])
    found = []
    for w, s in zip(weight.double(), scales.double(), strict=True):
        change = w - s * levels
        found.append(((change @ moments.second[0]) * change).sum(1).min())
    return torch.stack(found)


def test_against_enumeration():
    """Six weights of four levels: each step comes nearer to the best of all 4,096 roundings."""
    excess = {name: 0.0 for name in ("nearest", "gptq", "descent", "adaround")}
    exact = 0
    for seed in range(8):
        weight, moments = layer(4, 6, seed=seed)
        nearest, start = rounded_both_ways(weight, moments, 2)
        best = best_errors(weight, start.scales, 2, moments)
        results = {
            "nearest": nearest,
            "gptq": start,
            "descent": descend(weight, start, moments),
            "adaround": adaround(weight, start, moments, steps=300),
        }
        for name, made in results.items():
            errors = row_errors(weight, made, moments)
            assert (errors >= best * (1 - 1e-9)).all()
            excess[name] += float((errors / best).mean() - 1) / 8
        exact += int((errors <= best * (1 + 1e-9)).sum())
    assert excess["adaround"] < excess["descent"] < excess["gptq"] < excess["nearest"]
    assert exact >= 24 and excess["adaround"] < 0.1, "of 32 channels"


def test_learning_goes_beyond_descent_and_repeats():
    weight, moments = layer(8, 40)
    _, start = rounded_both_ways(weight, moments, 3)
    made, again = (adaround(weight, start, moments, steps=300) for _ in range(2))
    assert torch.equal(made.integers, again.integers)
    lower = output_error(weight, descend(weight, start, moments), moments)
    assert output_error(weight, made, moments) < 0.95 * lower
    none = adaround(weight, start, moments, steps=0)
    assert output_error(weight, none, moments) <= lower


def test_inputs_that_are_always_zero_and_kernels():
    weight, moments = layer(3, 8)
    second = moments.second.clone()
    second[:, 2], second[:, :, 2] = 0, 0
    for dead in (second, torch.zeros_like(second)):
        given = InputMoments(dead, moments.mean, moments.count)
        nearest, start = rounded_both_ways(weight, given, 3)
        kernel = weight.reshape(3, 2, 2, 2).contiguous(memory_format=torch.channels_last)
        shaped = QuantizedWeight(start.integers.reshape(3, 2, 2, 2), start.scales, 3)
        for function in (descend, lambda *a: adaround(*a, steps=30)):
            made = function(weight, start, given)
            assert torch.equal(made.integers[:, 2], nearest.integers[:, 2])
            other = function(kernel, shaped, given)
            assert torch.equal(other.integers.flatten(1), made.integers)
