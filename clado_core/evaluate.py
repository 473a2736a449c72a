"""Quantize a network as an assignment says, and measure what it does to loss and accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clado_core.activations import quantizing_inputs
from clado_core.datasets import Samples
from clado_core.errors import InputError
from clado_core.inference import (
    Batch,
    cross_entropy,
    make_batches,
    measuring,
    reference_outputs,
    run_batch,
)
from clado_core.matrix import SensitivityMatrix
from clado_core.scheme import act_widths
from clado_core.solution import Assignment
from clado_core.weight_swap import WeightSwap

Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measured, not predicted: what the quantized network does on n samples.

    Args:
        top1: Fraction classified right by the quantized network.
        loss: Its mean cross-entropy.
        n: Number of samples.
        ci95: Wilson interval of ``top1``, 95 %.
        float_top1: Fraction classified right without quantization.
        float_loss: Mean cross-entropy without quantization.
    """

    top1: float
    loss: float
    n: int
    ci95: tuple[float, float]
    float_top1: float
    float_loss: float


def evaluate(
    model: nn.Module,
    assignment: Assignment,
    samples: Samples,
    /,
    *,
    batch_size: int = 256,
    matrix: SensitivityMatrix | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Quantize for real, run the samples, and put the weights back.

    Args:
        model: The network that was measured, on its device.
        assignment: One bit-width per layer, with the scheme they are quantized by.
        samples: Best held out from training and measuring.
        batch_size: Samples per forward.
        matrix: What was measured; its ``input_ranges`` are needed where inputs are quantized.
        on_progress: Called with (batches done, batches in all).

    Raises:
        InputError: Inputs are to be quantized, and their ranges are not known.
    """
    batches = make_batches(model, samples, batch_size)
    menu = assignment.bits if matrix is None else matrix.bit_widths
    ranges = None if matrix is None else matrix.input_ranges
    if act_widths(menu, assignment.scheme) and ranges is None:
        raise InputError(
            "The assignment quantizes inputs, and the ranges that were measured with are not "
            "given; give the matrix."
        )
    with (
        measuring(model),
        quantizing_inputs(
            model, assignment.layers, menu, assignment.scheme, ranges=ranges
        ) as inputs,
        WeightSwap(model, assignment.layers, assignment.scheme, inputs=inputs) as swap,
    ):
        before = reference_outputs(model, batches)
        swap.apply(dict(enumerate(assignment.bits)))
        after = []
        for batch in batches:
            after.append(run_batch(model, batch))
            if on_progress:
                on_progress(len(after), len(batches))
    n = len(samples)
    right, loss = _score(after, batches)
    float_right, float_loss = _score(before, batches)
    return Evaluation(
        right / n, loss / n, n, wilson_interval(right, n), float_right / n, float_loss / n
    )


def wilson_interval(right: int, n: int, /) -> tuple[float, float]:
    """95 % confidence interval of a proportion; holds near 0 and 1, unlike the normal one.

    Source: Wilson, 1927.
    """
    p, z2 = right / n, Z_95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _score(outputs: list[Tensor], batches: list[Batch]) -> tuple[int, float]:
    """Number right, and summed cross-entropy."""
    right, loss = 0, torch.zeros((), dtype=torch.float64)
    for logits, batch in zip(outputs, batches, strict=True):
        right += int((logits.argmax(1) == batch.y).sum())
        loss += cross_entropy(logits, batch.y, logits).cpu()
    return right, float(loss)
