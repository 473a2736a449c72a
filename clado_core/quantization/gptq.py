"""Round a layer's weight so that its output changes least: what one weight is off, others take up.

Columns are rounded one after another. The error of each is spread over those not yet rounded, by
the inverse of H = 2 Σ x xᵀ, the Hessian of the squared output error: with H⁻¹ = UᵀU, U upper
triangular, column j that is off by e_j changes the columns l > j by −e_j·U_jl/U_jj. Scales are
given, so the format and its bytes are those of rounding to nearest. Source: Frantar et al., 2022.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from clado_core.errors import InputError
from clado_core.quantization.moments import InputMoments
from clado_core.quantization.weights import (
    QuantizedWeight,
    dequantize,
    nearest_levels,
    round_to_levels,
)
from clado_core.records.scheme import bit_menu, weight_bits

Order: TypeAlias = Literal["defined", "activation"]
ORDERS: tuple[Order, ...] = get_args(Order)

DAMPING = 0.01
"""Share of the mean diagonal of H that is added to the diagonal (Frantar et al., 2022)."""
MORE_DAMPING, MOST_DAMPING = 10.0, 10.0
"""Where H is still not positive definite, damping is multiplied, up to the most."""
BLOCK = 128
"""Columns whose errors reach the columns after the block in one product."""


def gptq(
    weight: Tensor,
    moments: InputMoments,
    scales: Tensor,
    bits: int,
    /,
    *,
    damping: float = DAMPING,
    order: Order = "activation",
) -> QuantizedWeight:
    """Round a weight with error compensation; no output channel is worse than rounded to nearest.

    Each group of a grouped convolution has its own H. Inputs that are always zero neither give nor
    take errors. Where H is not positive definite, damping is raised; where that does not help, and
    for output channels whose error on these inputs did not fall, weights are rounded to nearest.

    Args:
        weight: Shape (out_channels, ...), finite; not changed.
        moments: Of the inputs of its layer.
        scales: As of ``search_scales``, shape (out_channels,) or (1,).
        bits: 2 to 8; of a joint choice the weight's part counts.
        damping: 0 or more.
        order: "activation" rounds columns of large inputs first, "defined" takes them as they are.

    Raises:
        InputError: An argument is outside those listed, or the moments are another layer's.
    """
    _check(weight, scales, damping, order)
    (bits,) = map(weight_bits, bit_menu((bits,)))
    rows = moments.by_group(weight)
    steps = scales.to(rows.device, torch.float32).expand(len(weight)).reshape(rows.shape[:2])
    columns = _column_order(moments, order)
    second = moments.second.take_along_dim(columns[:, :, None], 1)
    factors = inverse_factors(second.take_along_dim(columns[:, None, :], 2), damping)
    levels = _compensate(rows.take_along_dim(columns[:, None, :], 2), factors, steps, bits)
    levels = levels.take_along_dim(columns.argsort()[:, None, :], 2)
    integers = levels.to(weight.device, torch.int8).reshape(weight.shape)
    made = QuantizedWeight(integers, scales.to(torch.float32), bits)
    return better_rows(weight, moments, round_to_levels(weight, scales, bits), made)


def row_errors(weight: Tensor, rounded: QuantizedWeight | Tensor, moments: InputMoments) -> Tensor:
    """Σ ((w − ŵ)·x)² of each output channel over all columns, shape (out_channels,), float64."""
    values = dequantize(rounded) if isinstance(rounded, QuantizedWeight) else rounded
    change = moments.by_group(weight) - moments.by_group(values)
    return ((change @ moments.second) * change).sum(-1).flatten().clamp_min(0.0)


def output_error(
    weight: Tensor, rounded: QuantizedWeight | Tensor, moments: InputMoments, /
) -> float:
    """‖(W − Ŵ)X‖² = tr((W − Ŵ) Σ x xᵀ (W − Ŵ)ᵀ), over all columns and output channels.

    Args:
        weight: Shape (out_channels, ...).
        rounded: What stands for it, as integers and scales or as a weight of the same shape.
        moments: Of the inputs of its layer.
    """
    return float(row_errors(weight, rounded, moments).sum())


def better_rows(
    weight: Tensor, moments: InputMoments, old: QuantizedWeight, new: QuantizedWeight, /
) -> QuantizedWeight:
    """Of two roundings with the same scales, for each output channel that of less error."""
    errors = [row_errors(weight, each, moments) for each in (old, new)]
    chosen = (errors[1] < errors[0]).to(weight.device).reshape(-1, *[1] * (weight.ndim - 1))
    integers = torch.where(chosen, new.integers, old.integers)
    return QuantizedWeight(integers, old.scales, old.bits)


def damped(second: Tensor, damping: float, /) -> Tensor:
    """Second moments with a share of their mean diagonal added to the diagonal, group by group.

    Inputs that are always zero are left out of the mean and get the mean, or 1 where all are so:
    nothing else stands in their rows and columns, so any positive value will do.

    Args:
        second: Shape (groups, k, k).
        damping: The share.
    """
    diagonal = second.diagonal(dim1=1, dim2=2)
    alive = diagonal > 0
    mean = diagonal.sum(1, keepdim=True) / alive.sum(1, keepdim=True).clamp_min(1)
    dead = torch.where(mean > 0, mean, 1.0)
    return second + torch.diag_embed(torch.where(alive, damping * mean, dead))


def inverse_factors(second: Tensor, damping: float, /) -> Tensor:
    """U with (Σ x xᵀ, damped)⁻¹ = UᵀU, upper triangular, for each group.

    The identity for groups where even the most damping gives none.

    Args:
        second: Shape (groups, k, k).
        damping: Share to begin with.
    """
    identity = torch.eye(second.shape[-1]).to(second)
    factors = identity.expand_as(second).clone()
    left = torch.arange(len(second), device=second.device)
    while len(left):
        # H = VVᵀ with V upper is the Cholesky factor of H with rows and columns reversed.
        lower, info = torch.linalg.cholesky_ex(damped(second[left], damping).flip(1, 2))
        upper = lower.flip(1, 2)
        found = torch.linalg.solve_triangular(upper, identity.expand_as(upper), upper=True)
        good = (info == 0) & found.flatten(1).isfinite().all(1)
        factors[left[good]] = found[good]
        left = left[~good]
        if damping >= MOST_DAMPING:
            break
        damping = max(damping * MORE_DAMPING, DAMPING)
    return factors


def _column_order(moments: InputMoments, order: Order) -> Tensor:
    """Positions of columns in the order of rounding, shape (groups, k)."""
    diagonal = moments.second.diagonal(dim1=1, dim2=2)
    if order == "activation":
        return diagonal.argsort(dim=1, descending=True, stable=True)
    return torch.arange(moments.width, device=diagonal.device).expand_as(diagonal)


def _compensate(rows: Tensor, factors: Tensor, steps: Tensor, bits: int) -> Tensor:
    """Integer levels of columns rounded one after another.

    Args:
        rows: Shape (groups, rows, k), float64; overwritten.
        factors: U, shape (groups, k, k).
        steps: Scales, shape (groups, rows), float32.
        bits: Bit-width.
    """
    levels = torch.empty_like(rows, dtype=torch.float32)
    for start in range(0, rows.shape[-1], BLOCK):
        end = min(start + BLOCK, rows.shape[-1])
        errors = torch.empty_like(rows[:, :, start:end])
        for j in range(start, end):
            column = rows[:, :, j]
            # In float32 as rounding to nearest: an untouched column gives the very same levels.
            levels[:, :, j] = nearest_levels(column.to(torch.float32), steps, bits)
            error = (column - levels[:, :, j] * steps) / factors[:, j, None, j]
            errors[:, :, j - start] = error
            rows[:, :, j + 1 : end] -= error[:, :, None] * factors[:, None, j, j + 1 : end]
        rows[:, :, end:] -= errors @ factors[:, start:end, end:]
    return levels


def _check(weight: Tensor, scales: Tensor, damping: float, order: Order) -> None:
    if order not in ORDERS:
        raise InputError(f"Unknown order '{order}': choose one of {', '.join(ORDERS)}.")
    if not (math.isfinite(damping) and damping >= 0):
        raise InputError(f"Damping must be 0 or more, not {damping}.")
    if not weight.isfinite().all():
        raise InputError(
            "The weight holds NaN or infinite values, which no integers can stand for."
        )
    if scales.shape not in ((1,), (len(weight),)):
        raise InputError(
            f"There are {tuple(scales.shape)} scales for {len(weight)} output channels; give one "
            "for each, or one in all."
        )
