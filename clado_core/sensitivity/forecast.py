"""What a measurement will cost, before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clado_core.data.sources import Samples
from clado_core.networks.inference import make_batches, measuring, run_batch
from clado_core.quantization.inputs import quantizing_inputs
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.layers import FLOAT_BYTES, LayerTable
from clado_core.sensitivity.adaptive import MAX_SHARE
from clado_core.sensitivity.calibrate import PAIRS_PER_CLASS
from clado_core.sensitivity.derivatives import PROBES
from clado_core.sensitivity.graph import INPUT
from clado_core.sensitivity.measure import WITH_OUTPUTS
from clado_core.sensitivity.plan import (
    Unit,
    block_plan,
    pairwise_plan,
    single_plan,
)
from clado_core.sensitivity.schedule import scheduled_cost
from clado_core.sensitivity.settings import MeasurementSettings
from clado_core.sensitivity.suffix import SuffixRunner
from clado_core.sensitivity.workbench import build_runner, weight_bytes

PRODUCT_FORWARDS = 4
"""Multiply-accumulates of a Hessian-vector product, in forwards."""
TIMED_S = 2.0
"""Steps are timed for about this long."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The cost of a measurement on the whole sensitivity set.

    Args:
        forwards: Losses to measure, the reference included.
        macs: Multiply-accumulates; exact for estimators that measure a fixed set of losses.
        naive_macs: The same losses by whole forwards.
        seconds: From a few timed forwards.
        grouped_seconds: The same with ``group_bits``.
        memory_bytes: Above the loaded network: copies of weights, activations, kept outputs.
        not_traced: What cannot be cut, as ``NetworkGraph.not_traced``.
    """

    forwards: int
    macs: int
    naive_macs: int
    seconds: float
    grouped_seconds: float
    memory_bytes: int
    not_traced: str


def forecast(
    model: nn.Module, layers: LayerTable, samples: Samples, settings: MeasurementSettings, /
) -> Forecast:
    """Plan a measurement without doing it; runs a few forwards to time them."""
    batches = make_batches(model, samples, settings.batch_size)
    menu = settings.bit_widths
    with (
        measuring(model, batches[:2], allow_noise=settings.allow_noise) as steady,
        quantizing_inputs(
            model, layers, menu, settings.scheme, calibrate_on=[batches[0].x]
        ) as inputs,
        WeightSwap(model, layers, settings.scheme, inputs=inputs) as swap,
    ):
        runner = build_runner(model, layers, batches, settings.for_network(steady), swap)
        classes = run_batch(model, batches[0]).shape[1]
        x, several = batches[0].x, torch.cat([batches[0].x] * len(menu))
        grouped_s = _seconds_per_step(runner, several) / len(menu)
        seconds = grouped_s if runner.grouped else _seconds_per_step(runner, x)
    units = units_of(layers, settings)
    macs, n_batches = runner.profile.macs, len(samples) / len(batches[0].y)
    costs = [
        _cost(units, runner, layers, settings, per_step)
        for per_step in (macs, seconds * n_batches, grouped_s * n_batches)
    ]
    n_forwards = len(units) + round(_share(layers, settings) * len(_pairs(layers, settings)))
    kept = len(samples) * classes * FLOAT_BYTES
    kept *= 1 + len(layers) * len(menu) * (settings.estimator in WITH_OUTPUTS)
    activations = len(batches[0].y) * runner.bytes_per_sample
    return Forecast(
        forwards=n_forwards,
        macs=int(costs[0]) * len(samples),
        naive_macs=n_forwards * int(macs.sum()) * len(samples),
        seconds=costs[1],
        grouped_seconds=costs[2],
        memory_bytes=int(weight_bytes(layers, len(menu)) + activations + kept),
        not_traced=runner.graph.not_traced,
    )


def _cost(
    units: tuple[Unit, ...],
    runner: SuffixRunner,
    layers: LayerTable,
    settings: MeasurementSettings,
    per_step: npt.NDArray[Any],
) -> float:
    n_bits = len(settings.bit_widths)
    cost = scheduled_cost(units, runner.starts, n_bits, per_step)
    if share := _share(layers, settings):
        pairs = _pairs(layers, settings)
        cost += share * scheduled_cost(pairs, runner.starts, n_bits, per_step)
    return cost + float(per_step.sum()) * _extra_forwards(len(layers) * n_bits, settings)


def _pairs(layers: LayerTable, settings: MeasurementSettings) -> tuple[Unit, ...]:
    n_bits = len(settings.bit_widths)
    return pairwise_plan(len(layers), n_bits)[1 + len(layers) * n_bits :]


def _share(layers: LayerTable, settings: MeasurementSettings) -> float:
    """Share of the pairs measured beside ``units_of``: an upper bound."""
    menu, n_pairs = len(settings.bit_widths), len(_pairs(layers, settings))
    fitted = min(1.0, PAIRS_PER_CLASS * menu * (menu + 1) / 2 / max(n_pairs, 1))
    return {"calibrated": fitted, "adaptive": max(fitted, MAX_SHARE)}.get(settings.estimator, 0.0)


@torch.no_grad()
def _seconds_per_step(runner: SuffixRunner, x: Tensor) -> npt.NDArray[np.float64]:
    """Wall time of each step on one batch, the median over a few runs."""
    runs: list[list[float]] = []
    until = time.perf_counter() + TIMED_S
    while len(runs) < 3 or (time.perf_counter() < until and len(runs) < 50):
        values, marks = {INPUT: x.clone()}, []
        for k, step in enumerate(runner.graph.steps):
            start = time.perf_counter()
            values[k] = step.call(values)
            if x.is_cuda:
                torch.cuda.synchronize()
            marks.append(time.perf_counter() - start)
            for v in step.reads:
                if runner.graph.last_reads[v] <= k:
                    values.pop(v, None)
        runs.append(marks)
    medians: npt.NDArray[np.float64] = np.median(np.array(runs), axis=0)
    return medians


def units_of(layers: LayerTable, settings: MeasurementSettings, /) -> tuple[Unit, ...]:
    """Losses known beforehand; adaptive and calibrated add pairs that depend on these."""
    size = len(layers), len(settings.bit_widths)
    if settings.estimator == "pairwise":
        return pairwise_plan(*size)
    if settings.estimator == "block":
        return block_plan(layers, size[1])
    if settings.estimator == "hvp":
        return ((),)
    return single_plan(*size)


def _extra_forwards(n: int, settings: MeasurementSettings) -> int:
    """Derivatives in forwards."""
    products = n * (settings.estimator == "hvp")
    products += PROBES * ("hawq" in settings.baselines) + n * ("mpqco" in settings.baselines)
    return PRODUCT_FORWARDS * products
