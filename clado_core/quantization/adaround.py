"""Learn which way to round each weight of a layer.

A weight is s·(q + h(v)) with h a sigmoid stretched to reach 0 and 1 and v learned: at first the
output error alone decides, then a growing penalty 1 − |2h − 1|^β drives each h to 0 or 1. The
output error depends on the inputs' moments alone, so no image is run. Source: Nagel et al., 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clado_core.quantization.descent import descend
from clado_core.quantization.gptq import DAMPING, better_rows, damped
from clado_core.quantization.moments import InputMoments
from clado_core.quantization.weights import QuantizedWeight
from clado_core.records.scheme import integer_range

STEPS = 1000
LEARNING_RATE = 0.03
PENALTY = 0.1
"""Of a weight halfway, in units of the error that one level makes in a mean input."""
FREE_SHARE = 0.2
"""Of the steps, at the beginning, without a penalty."""
STRETCH = 0.1
"""How far h reaches beyond 0 and 1 before it is cut."""


def adaround(
    weight: Tensor, start: QuantizedWeight, moments: InputMoments, /, *, steps: int = STEPS
) -> QuantizedWeight:
    """Learn roundings, then let single columns descend; no output channel gets worse.

    Each weight may stay at the level that it starts with, or go to the next one on the side of its
    float value; descending may take it further. Scales are kept. Repeats bit for bit on one device.
    A thousand steps take a CPU about a second where weights have a few hundred inputs, and minutes
    where they have thousands.

    Args:
        weight: Shape (out_channels, ...), finite.
        start: What stands for it so far, such as ``gptq`` gives.
        moments: Of the inputs of its layer.
        steps: Of learning; 0 or more.

    Returns:
        Of no more ``output_error`` than the start, in any output channel.
    """
    best = descend(weight, start, moments)
    learned = QuantizedWeight(_learn(weight, start, moments, steps), start.scales, start.bits)
    return better_rows(weight, moments, best, descend(weight, learned, moments))


@torch.no_grad()
def _learn(weight: Tensor, start: QuantizedWeight, moments: InputMoments, steps: int) -> Tensor:
    """Integers learned, int8, in the weight's shape."""
    rows = moments.by_group(weight)
    scales = start.scales.to(rows).expand(len(weight)).reshape(*rows.shape[:2], 1)
    low, high = integer_range(start.bits)
    # In levels: rows do not depend on each other, so each may be in its own unit.
    x = (rows / scales).to(torch.float32)
    first = moments.by_group(start.integers).to(torch.float32)
    base = x.floor().clamp(first - 1, first).clamp(low, high - 1)
    second = damped(moments.second, DAMPING)
    second = (second / second.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]).to(torch.float32)
    # Halfway between the start's rounding and what leaves the weight as it is.
    wanted = ((x - base).clamp(0, 1) + (first - base)) / 2
    share = (wanted.clamp(0.02, 0.98) + STRETCH) / (1 + 2 * STRETCH)
    v = share.logit()
    optimizer = torch.optim.Adam([v], lr=LEARNING_RATE)
    for step in range(steps):
        share = v.sigmoid()
        h = share * (1 + 2 * STRETCH) - STRETCH
        slope = share * (1 - share) * ((h > 0) & (h < 1))
        h.clamp_(0, 1)
        gradient = 2 * (base + h - x) @ second
        if (done := step / steps) >= FREE_SHARE:
            gradient -= PENALTY * _penalty_slope(h, (done - FREE_SHARE) / (1 - FREE_SHARE))
        v.grad = gradient * slope
        optimizer.step()
    levels = base + (v >= 0)
    return levels.to(weight.device, torch.int8).reshape(weight.shape)


def _penalty_slope(h: Tensor, done: float) -> Tensor:
    """d|2h − 1|^β/dh, β falling from 20 to 2 along a cosine."""
    beta = 2 + 9 * (1 + math.cos(math.pi * done))
    offset = 2 * h - 1
    return 2 * beta * offset.abs().pow(beta - 1) * offset.sign()
