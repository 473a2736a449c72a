"""Rounding that gradients pass through as if it were not there (straight-through estimator).

Source: Bengio et al., 2013; of scales: Esser et al., 2020 (LSQ).
"""

from __future__ import annotations

import torch
from torch import Tensor

from clado_core.records.scheme import integer_range


def round_straight(x: Tensor, /) -> Tensor:
    """round(x), half to even, whose derivative is 1; a new tensor."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return torch.round(x)
    # Exact: the difference is at most 1/2, and so a float number.
    return x + (torch.round(x) - x).detach()


def fake_quantize_straight(weight: Tensor, scales: Tensor, bits: int, /) -> Tensor:
    """s·clamp(round(w/s)), with gradients for the weight and for its scales.

    Within the range d/dw = 1 and d/ds = round(w/s) − w/s; beyond it 0 and the bound.

    Args:
        weight: Shape (out_channels, ...), float32.
        scales: Shape (out_channels,) or (1,), float32, positive.
        bits: 2 to 8.

    Returns:
        In the weight's shape; the values are those of ``round_to_levels``, dequantized.
    """
    scale = scales.reshape(-1, *[1] * (weight.ndim - 1))
    low, high = integer_range(bits)
    return round_straight((weight / scale).clamp(low, high)) * scale
