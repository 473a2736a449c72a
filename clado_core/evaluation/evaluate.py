"""Quantize a network as an assignment says, and measure what it does to loss and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scipy.stats import binomtest
from torch import nn

from clado_core.data.sources import Samples
from clado_core.errors import InputError
from clado_core.evaluation.evaluator import image_outcomes
from clado_core.networks.inference import (
    make_batches,
    measuring,
    reference_outputs,
    run_batch,
)
from clado_core.quantization.inputs import quantizing_inputs
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import act_widths


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
    with measuring(model), _ready(model, assignment, matrix) as swap:
        before = reference_outputs(model, batches)
        swap.apply(dict(enumerate(assignment.bits)))
        after = []
        for batch in batches:
            after.append(run_batch(model, batch))
            if on_progress:
                on_progress(len(after), len(batches))
    quantized, reference = image_outcomes(after, batches), image_outcomes(before, batches)
    interval = wilson_interval(int(quantized.right.sum()), len(samples))
    found = (quantized.top1, quantized.loss, len(samples), interval)
    return Evaluation(*found, reference.top1, reference.loss)


@contextmanager
def _ready(
    model: nn.Module, assignment: Assignment, matrix: SensitivityMatrix | None
) -> Iterator[WeightSwap]:
    """The network's weights, and its inputs where the assignment quantizes them, to be swapped."""
    layers, scheme = assignment.layers, assignment.scheme
    menu = assignment.bits if matrix is None else matrix.bit_widths
    ranges = None if matrix is None else matrix.input_ranges
    if act_widths(menu, scheme) and ranges is None:
        raise InputError(
            "The assignment quantizes inputs, and the ranges that were measured with are not "
            "given; give the matrix."
        )
    with (
        quantizing_inputs(model, layers, menu, scheme, ranges=ranges) as inputs,
        WeightSwap(model, layers, scheme, inputs=inputs) as swap,
    ):
        yield swap


def wilson_interval(right: int, n: int, /) -> tuple[float, float]:
    """95 % confidence interval of a proportion; holds near 0 and 1, unlike the normal one.

    Source: Wilson, 1927.
    """
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
