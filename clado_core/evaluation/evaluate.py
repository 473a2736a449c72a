"""Quantize a network as an assignment says, and measure what it does to loss and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from torch import Tensor, nn

from clado_core.data.seen import measured_on
from clado_core.data.sources import DataSource, Samples
from clado_core.errors import InputError
from clado_core.evaluation.evaluator import image_outcomes
from clado_core.networks.inference import (
    Batch,
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
from clado_core.repairs.repaired import Repaired, repaired_in


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
        noise: How much the float network's outputs differ from run to run, as in ``Steadiness``.
        measured_on: How many of the samples the matrix was measured on too, which a choice by it
            has seen; None where that is not known.
    """

    top1: float
    loss: float
    n: int
    ci95: tuple[float, float]
    float_top1: float
    float_loss: float
    noise: float = 0.0
    measured_on: int | None = None


def evaluate(
    model: nn.Module,
    choice: Assignment | Repaired,
    samples: Samples,
    /,
    *,
    batch_size: int = 256,
    matrix: SensitivityMatrix | None = None,
    source: DataSource | None = None,
    allow_noise: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Quantize for real, run the samples, and put the weights back.

    Args:
        model: The network that was measured, on its device.
        choice: Bit-widths to round to nearest, or what they are shipped as.
        samples: Best held out from training and measuring.
        batch_size: Samples per forward.
        matrix: What was measured; its ``input_ranges`` are needed where inputs are quantized.
        source: Where the samples come from, to tell which of them were measured on.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
        on_progress: Called with (batches done, batches in all).

    Raises:
        InputError: Inputs are to be quantized, and their ranges are not known.
        MeasurementError: The network cannot run the samples, or gives other outputs each time.
    """
    batches = make_batches(model, samples, batch_size)
    chosen = choice if isinstance(choice, Assignment) else choice.assignment
    ready = _ready(model, chosen, matrix)
    with measuring(model, batches, allow_noise=allow_noise) as steady, ready as swap:
        before = image_outcomes(reference_outputs(model, batches), batches)
        swap.apply(dict(enumerate(chosen.bits)))
        with repaired_in(model, choice) if isinstance(choice, Repaired) else nullcontext():
            after = image_outcomes(_run(model, batches, on_progress), batches)
    found = (after.top1, after.loss, len(samples), after.ci95, before.top1, before.loss)
    seen = None if matrix is None else measured_on(samples, matrix.provenance, source=source)
    return Evaluation(*found, steady.noise, seen)


def _run(
    model: nn.Module, batches: list[Batch], on_progress: Callable[[int, int], None] | None
) -> list[Tensor]:
    outputs = []
    for batch in batches:
        outputs.append(run_batch(model, batch))
        if on_progress:
            on_progress(len(outputs), len(batches))
    return outputs


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
