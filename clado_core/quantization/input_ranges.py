"""What range of a tensor's values to represent by b bits, and rounding to it.

Affine, one scale and zero point per tensor: x ≈ s·(q − z) with q in [0, 2^b − 1]. The range is
the best by mean squared error among the observed one shrunk in 1 % steps. Source: CLADO's released
code (MQBench's MSE observer).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clado_core.quantization.straight_through import round_straight
from clado_core.quantization.weights import RANGE_STEP, RANGE_STEPS

SEARCHED_VALUES = 1 << 16
"""At most this many values of a tensor, drawn with a fixed seed, decide its range."""
SEED = 20250705


def search_range(x: Tensor, bits: int, /, *, shrink: bool = True) -> tuple[float, float]:
    """Lowest and highest value to represent, 0 among them.

    Args:
        x: Any shape.
        bits: 2 to 8.
        shrink: False takes the observed range ("min-max").
    """
    low, high = (min(float(x.min()), 0.0), max(float(x.max()), 0.0))
    if not math.isfinite(high - low):
        return 0.0, 0.0  # the reference loss will not be finite either, and says so
    if not shrink or low == high:
        return low, high
    values = x.detach().flatten().to(torch.float32)
    if len(values) > SEARCHED_VALUES:
        generator = torch.Generator().manual_seed(SEED)
        drawn = torch.randint(len(values), (SEARCHED_VALUES,), generator=generator)
        values = values[drawn.to(values.device)]
    steps = [1 - RANGE_STEP * k for k in range(RANGE_STEPS)]
    errors = [
        (fake_quantize_input(values, step * low, step * high, bits) - values).square().mean()
        for step in steps
    ]
    best = steps[int(torch.stack(errors).argmin())]
    return best * low, best * high


def fake_quantize_input(x: Tensor, low: float, high: float, bits: int, /) -> Tensor:
    """s·(clamp(round(x/s) + z, 0, 2^b − 1) − z) with s = (high − low)/(2^b − 1), z = round(−low/s).

    Clamped first, which gives the same levels; gradients pass within, as by ``round_straight``.

    Args:
        x: Any shape; not changed.
        low: At most 0; ``high`` is at least 0. Where both are 0 the input is returned.
        high: Highest value represented.
        bits: 2 to 8.
    """
    if low == high:
        return x
    levels = 2**bits - 1
    scale = (high - low) / levels
    zero = round(-low / scale)
    return round_straight((x / scale).clamp_(-zero, levels - zero)).mul_(scale)
