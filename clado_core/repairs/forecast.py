"""About how long candidates and repairs take, before they start: a few steps are timed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import nn

from clado_core.data.sources import Samples
from clado_core.networks.inference import make_batches, measuring, run_batch
from clado_core.quantization.moments import collect_moments
from clado_core.quantization.weight_swap import weight_slice
from clado_core.records.assignment import Assignment
from clado_core.records.layers import LayerInfo, LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import Rounding
from clado_core.records.scheme import BitWidths, QuantizationScheme, weight_bits
from clado_core.repairs.candidates import BATCH_SIZE, round_weight
from clado_core.repairs.database import widths
from clado_core.repairs.finetune import MOST_TO_NORMALIZE, Finetuning, seconds_per_step
from clado_core.repairs.reconstruct import seconds_to_reconstruct
from clado_core.repairs.repair import rounded_to_nearest

TRIED, TRIED_AFTER = 5, 3
"""Runs over all images that judge: of a repair, the float network's included, and of each part that
goes on from there."""


@dataclass(frozen=True, slots=True)
class RepairForecast:
    """Seconds of each part, from a few timed steps.

    Args:
        repair_s: Rounding, statistics, and what judges them.
        reconstruct_s: Of blocks; 0 where that is not asked for.
        finetune_s: Of all epochs; 0 where that is not asked for.
    """

    repair_s: float
    reconstruct_s: float
    finetune_s: float

    @property
    def seconds(self) -> float:
        """In all."""
        return self.repair_s + self.reconstruct_s + self.finetune_s


def forecast_repair(
    model: nn.Module,
    matrix: SensitivityMatrix,
    assignment: Assignment,
    images: tuple[Samples, Samples],
    /,
    *,
    rounding: Rounding,
    unmade: LayerTable | None,
    reconstruct: bool = False,
    plan: Finetuning | None = None,
    batch_size: int = 64,
) -> RepairForecast:
    """About how long a repair takes.

    Args:
        model, matrix, assignment: As for ``repair``.
        images: To calibrate with, and to judge by.
        rounding: "nearest", "gptq" or "adaround".
        unmade: Layers whose candidate is in no database; None where all of them are.
        reconstruct: Whether blocks are reconstructed then.
        plan: Of the fine-tuning; None without.
        batch_size: Per forward.

    Raises:
        InputError, MeasurementError: As for the parts that are planned.
    """
    calibration, judges = images
    each = _seconds_per_image(model, judges, batch_size)
    judging, again = each * len(judges), each * len(calibration)
    start = rounded_to_nearest(model, assignment)
    making = _seconds_to_round(model, assignment, calibration, unmade, rounding)
    learning = tuning = 0.0
    if reconstruct:
        learning = seconds_to_reconstruct(model, matrix, start, calibration)
        learning += TRIED_AFTER * judging + again
    if plan is not None:
        tuning = plan.steps * seconds_per_step(model, matrix, start, plan)
        tuning += TRIED_AFTER * judging + each * min(MOST_TO_NORMALIZE, len(plan.images))
    return RepairForecast(making + TRIED * judging + again, learning, tuning)


def _seconds_to_round(
    model: nn.Module,
    assignment: Assignment,
    calibration: Samples,
    unmade: LayerTable | None,
    rounding: Rounding,
) -> float:
    if unmade is None:
        return 0.0
    one = (min(weight_bits(bits) for bits in assignment.bits),)
    how = (model, unmade, assignment.scheme, one, calibration)
    return seconds_to_make(*how, n_images=len(calibration), rounding=rounding)


def seconds_to_make(
    model: nn.Module,
    layers: LayerTable,
    scheme: QuantizationScheme,
    menu: BitWidths,
    images: Samples,
    /,
    *,
    n_images: int,
    rounding: Rounding,
) -> float:
    """About how long a database takes: one batch is run, and two layers are rounded.

    The least one tells what every layer takes, however small; the median one what more weights do.

    Args:
        model: The float network, on its device.
        layers: Its searched layers.
        scheme: The quantizer.
        menu: Bit-widths.
        images: Such as it will be calibrated with; the first batch is run.
        n_images: To calibrate with.
        rounding: As of ``Candidates``.
    """
    first = make_batches(model, images, BATCH_SIZE)[0].x
    started = time.perf_counter()
    moments = collect_moments(model, layers.layers, [first])
    seeing = (time.perf_counter() - started) * n_images / len(first)
    by_work = sorted(layers.layers, key=_work)
    bits, seconds = widths(menu), []
    timed = [by_work[0], by_work[0], by_work[len(layers) // 2]]
    for layer in timed:  # the first also loads what rounding needs
        weight, started = weight_slice(model, layer).clone(), time.perf_counter()
        round_weight(weight, moments[layer.name], bits[0], scheme, rounding=rounding)
        seconds.append(time.perf_counter() - started)
    more = _work(timed[2]) - _work(timed[1])
    each = max(0.0, seconds[2] - seconds[1]) / more if more else 0.0
    above = sum(_work(layer) - _work(timed[1]) for layer in layers.layers)
    return seeing + (seconds[1] * len(layers) + each * above) * len(bits)


def _work(layer: LayerInfo) -> float:
    """Multiply-accumulates of a product of the weight with its second moments, to scale."""
    width = layer.n_weights / layer.out_channels
    return layer.n_weights * width


def _seconds_per_image(model: nn.Module, samples: Samples, batch_size: int) -> float:
    """Of a forward; the first, which may have something to prepare, does not count."""
    batch = make_batches(model, samples, batch_size)[0]
    with measuring(model):
        ends = []
        for _ in range(3):
            run_batch(model, batch)
            ends.append(time.perf_counter())
    return (ends[-1] - ends[0]) / 2 / len(batch.y)
