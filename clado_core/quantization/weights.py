"""Weight quantization as pure functions: search the scale, round, and go back.

Symmetric: w ≈ s·q with q an integer in [−2^(b−1), 2^(b−1)−1] and one scale s per output channel
or one per tensor. Rounding is half to even, as ``torch.round`` and ONNX do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float32, Int8
from torch import Tensor

from clado_core.errors import InputError
from clado_core.records.scheme import QuantizationScheme, bit_menu, integer_range, weight_bits

Levels: TypeAlias = Int8[Tensor, "..."]
Scales: TypeAlias = Float32[Tensor, "rows"]

RANGE_STEPS = 95
RANGE_STEP = 0.01
"""The range is shrunk in 1 % steps, 95 times, as in the quantizer CLADO was measured with."""


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedWeight:
    """A weight as integers and scales; ``dequantize`` gives the float32 weight back.

    Args:
        integers: Weight's shape, int8, levels within ``integer_range(bits)``.
        scales: Shape (out_channels,) or (1,), float32, positive.
        bits: Bit-width.
    """

    integers: Levels
    scales: Scales
    bits: int


def search_scales(weight: Tensor, bits: int, scheme: QuantizationScheme, /) -> Scales:
    """Choose the scale per output channel or tensor.

    "min-max" takes s₀ = amax / ((2^b − 1)/2), so that no weight is off by more than s₀/2; "mse"
    takes the best of s₀·(1 − 0.01·k), k = 0 … 94, by mean squared error (the largest on ties).

    Args:
        weight: Any shape, output channels first; finite.
        bits: 2 to 8.
        scheme: Granularity and range rule.

    Returns:
        Shape (out_channels,) or (1,), float32; 1 where a channel is all zeros.

    Raises:
        InputError: The weight holds NaN or infinite values, or ``bits`` is out of range.

    Source: CLADO's released code (MQBench's MSE observer).
    """
    (bits,) = map(weight_bits, bit_menu((bits,)))
    rows = weight.detach().to(torch.float32)
    rows = rows.flatten(1) if scheme.granularity == "per-channel" else rows.reshape(1, -1)
    largest = rows.abs().amax(dim=1, keepdim=True)
    if not torch.isfinite(largest).all():
        raise InputError(
            "The weight holds NaN or infinite values, which no integers can stand for."
        )
    # Relative to the largest magnitude, squares of tiny or huge weights stay within float32.
    relative = rows / largest.clamp_min(torch.finfo(torch.float32).tiny)
    best = _best_relative_scales(relative, bits, RANGE_STEPS if scheme.range_rule == "mse" else 1)
    scales = (best * largest).clamp_min(torch.finfo(torch.float32).tiny)
    return torch.where(largest > 0, scales, 1.0).flatten()


def _best_relative_scales(relative: Tensor, bits: int, steps: int) -> Tensor:
    """Of s₀·(1 − 0.01·k), k < steps, the scale of least squared error for each row, shape (n, 1).

    Args:
        relative: Shape (n, m), magnitudes up to 1.
        bits: 2 to 8.
        steps: At least 1, which keeps s₀.
    """
    first = 2 / (2**bits - 1)
    best_error = torch.full_like(relative[:, :1], torch.inf)
    best = torch.full_like(best_error, first)
    for k in range(steps):
        scale = first * (1 - RANGE_STEP * k)
        error = (
            (nearest_levels(relative, scale, bits) * scale - relative).square().sum(1, keepdim=True)
        )
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best = torch.where(better, scale, best)
    return best


def quantize(weight: Tensor, bits: int, scheme: QuantizationScheme, /) -> QuantizedWeight:
    """Quantize a weight: q = clamp(round(w/s)).

    Args:
        weight: Shape (out_channels, ...); not changed.
        bits: 2 to 8; of a joint choice the weight's part counts.
        scheme: Granularity and range rule.
    """
    return round_to_levels(weight, search_scales(weight, bits, scheme), bits)


def round_to_levels(weight: Tensor, scales: Tensor, bits: int, /) -> QuantizedWeight:
    """Quantize with given scales, shape (out_channels,) or (1,).

    Applied to its own dequantized result it changes nothing.
    """
    bits = weight_bits(bits)
    values = weight.detach().to(torch.float32)
    levels = nearest_levels(values, _per_row(scales, values.ndim), bits)
    return QuantizedWeight(levels.to(torch.int8), scales.to(torch.float32), bits)


def dequantize(quantized: QuantizedWeight, /) -> Tensor:
    """The float32 weight that the integers stand for: s·q."""
    integers = quantized.integers
    return integers.to(torch.float32) * _per_row(quantized.scales, integers.ndim)


def fake_quantize(weight: Tensor, bits: int, scheme: QuantizationScheme, /) -> Tensor:
    """Quantize and dequantize; shape and type of the weight are kept."""
    return dequantize(quantize(weight, bits, scheme)).to(weight.dtype)


def nearest_levels(values: Tensor, scale: Tensor | float, bits: int, /) -> Tensor:
    """clamp(round(x/s)) in the type of the values; the scale is broadcast."""
    low, high = integer_range(bits)
    return torch.round(values / scale).clamp_(low, high)


def _per_row(scales: Tensor, ndim: int) -> Tensor:
    return scales.to(torch.float32).reshape(-1, *[1] * (ndim - 1))
