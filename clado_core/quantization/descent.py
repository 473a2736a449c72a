"""Lower the output error of a rounded weight, one column at a time.

With all other weights held, the best level of a weight follows from the error that the others
leave. Columns take turns until no weight changes; the error never rises. As coordinate descent on
a quadratic over integers it goes on where one pass of ``gptq`` ends.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clado_core.quantization.gptq import BLOCK, DAMPING, better_rows, damped
from clado_core.quantization.moments import InputMoments
from clado_core.quantization.weights import QuantizedWeight
from clado_core.records.scheme import integer_range

MOST_SWEEPS = 20
WORTH = 1e-9
"""A change must lower the error by this share of one level's own, or rounding noise goes on."""


def descend(
    weight: Tensor,
    start: QuantizedWeight,
    moments: InputMoments,
    /,
    *,
    damping: float = DAMPING,
) -> QuantizedWeight:
    """Integers that no change of a single one makes better; scales are kept.

    Args:
        weight: Shape (out_channels, ...), finite.
        start: What stands for it so far.
        moments: Of the inputs of its layer.
        damping: As of ``gptq``; with few inputs it keeps weights that those do not tell apart near
            their float values.

    Returns:
        Of no more ``output_error`` than the start, in any output channel.
    """
    rows, second = moments.by_group(weight), damped(moments.second, damping)
    levels = moments.by_group(start.integers)
    steps = start.scales.to(rows).expand(len(weight)).reshape(*rows.shape[:2], 1)
    pull = (rows - levels * steps) @ second
    for _ in range(MOST_SWEEPS):
        before = levels.clone()
        for first in range(0, moments.width, BLOCK):
            block = slice(first, first + BLOCK)
            old = levels[:, :, block].clone()
            inner = second[:, block, block]
            _sweep(levels[:, :, block], pull[:, :, block].clone(), inner, steps, start.bits)
            pull -= ((levels[:, :, block] - old) * steps) @ second[:, block]
        if torch.equal(before, levels):
            break
    integers = levels.to(weight.device, torch.int8).reshape(weight.shape)
    return better_rows(weight, moments, start, QuantizedWeight(integers, start.scales, start.bits))


def _sweep(levels: Tensor, pull: Tensor, second: Tensor, steps: Tensor, bits: int) -> None:
    """Give each column in turn its best level; ``levels`` and ``pull`` are overwritten.

    Args:
        levels: Shape (groups, rows, k).
        pull: (W − Ŵ) Σ x xᵀ, the same shape.
        second: Shape (groups, k, k).
        steps: Scales, shape (groups, rows, 1).
        bits: Bit-width.
    """
    low, high = integer_range(bits)
    units = second.diagonal(dim1=1, dim2=2)[:, None] * steps
    for j in range(levels.shape[-1]):
        wanted = torch.where(units[:, :, j] > 0, pull[:, :, j] / units[:, :, j], 0.0)
        old = levels[:, :, j]
        move = (old + wanted).round().clamp(low, high) - old
        # The error falls by (2·wanted − move)·move times that of one level.
        move = torch.where((2 * wanted - move) * move > WORTH, move, 0.0)
        levels[:, :, j] += move
        pull -= (move[:, :, None] * steps) * second[:, None, j]
