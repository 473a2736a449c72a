"""Carry out a measurement, resumable: what the estimator asks for, then G."""

from __future__ import annotations

import contextlib
import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from clado_core._version import __version__
from clado_core.data.sources import Samples
from clado_core.errors import InputError
from clado_core.networks.inference import (
    LOSSES,
    LossFunction,
    is_channels_last,
    make_batches,
    measuring,
)
from clado_core.networks.load import state_digest
from clado_core.quantization.inputs import quantizing_inputs
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.provenance import Provenance
from clado_core.sensitivity.adaptive import estimate_adaptive, estimate_calibrated
from clado_core.sensitivity.derivatives import MPQCO, hawq, hawq_keys, hvp_keys, mpqco
from clado_core.sensitivity.estimators import (
    Estimator,
    estimate_block,
    estimate_hvp,
    estimate_logit_gram,
    estimate_pairwise,
)
from clado_core.sensitivity.journal import Journal
from clado_core.sensitivity.plan import pairwise_plan
from clado_core.sensitivity.ray_engine import RayEngine
from clado_core.sensitivity.settings import MeasurementSettings
from clado_core.sensitivity.workbench import Progress, Workbench

WITH_OUTPUTS = ("logit-gram", "calibrated", "adaptive")
"""Estimators that need the outputs of single candidates, not their losses alone."""
_FUNCTIONS: dict[str, Estimator] = {
    "pairwise": estimate_pairwise,
    "adaptive": estimate_adaptive,
    "calibrated": estimate_calibrated,
    "logit-gram": estimate_logit_gram,
    "block": estimate_block,
    "hvp": estimate_hvp,
}


def measure(
    model: nn.Module,
    layers: LayerTable,
    samples: Samples,
    /,
    *,
    settings: MeasurementSettings,
    name: str = "network",
    origin: Provenance | None = None,
    loss_function: LossFunction | None = None,
    journal: Path | None = None,
    on_progress: Progress | None = None,
    cluster: RayEngine | None = None,
) -> SensitivityMatrix:
    """Measure G with one of the estimators; the model is the same afterwards.

    Args:
        model: On the device to measure on; its weights are swapped in place and put back.
        layers: What ``find_layers`` found in it.
        samples: The sensitivity set.
        settings: Menu, quantizer, loss, estimator, batch size, memory.
        name: Name of the matrix.
        origin: What the caller knows of the provenance: ``model`` and ``seed``.
        loss_function: Instead of the one that ``settings.loss`` names.
        journal: Keeps losses as they are measured; if it holds some of this same measurement,
            they are not measured again. The caller removes it once the matrix is stored.
        on_progress: Called with (records known, records in all so far), at first with those
            resumed; a record is one loss, or row of derivatives, of one batch.
        cluster: Measures the losses; None measures them here.

    Raises:
        MeasurementError: A loss is not finite, or the network cannot run the samples.
        InputError: The journal belongs to another measurement, or labels or layers do not fit.
    """
    loss = loss_function or _loss_named(settings.loss)
    provenance = _provenance(model, samples, settings, origin or Provenance())
    keys = _keys(len(layers), len(settings.bit_widths))
    with contextlib.ExitStack() as stack:
        kept = None
        if journal is not None:
            identity = _identity(model, layers, settings, provenance)
            if cluster is not None:
                identity["device"] = cluster.device
            n_batches = -(-len(samples) // settings.batch_size)
            kept = stack.enter_context(Journal(journal, identity, len(keys) * n_batches))
        if cluster is not None:
            cluster.ship(model, samples)
        stack.enter_context(measuring(model))
        batches = make_batches(model, samples, settings.batch_size)
        inputs = stack.enter_context(
            quantizing_inputs(
                model,
                layers,
                settings.bit_widths,
                settings.scheme,
                calibrate_on=(batch.x for batch in batches),
            )
        )
        bench = Workbench(
            model,
            layers,
            samples,
            settings,
            loss=loss,
            swap=stack.enter_context(WeightSwap(model, layers, settings.scheme, inputs=inputs)),
            keys=keys,
            keep_outputs=settings.estimator in WITH_OUTPUTS,
            journal=kept,
            on_progress=on_progress,
        )
        if cluster is not None:
            cluster.attach(bench)
        return _matrix(bench, name, provenance)


def _matrix(bench: Workbench, name: str, provenance: Provenance) -> SensitivityMatrix:
    settings = bench.settings
    estimate = _FUNCTIONS[settings.estimator](bench)
    functions = {"hawq": hawq, "mpqco": mpqco}
    diagonals = {which: functions[which](bench) for which in settings.baselines}
    details = {**provenance.details, **estimate.details, "losses": len(bench.measured)}
    if not_traced := bench.runner.graph.not_traced:
        details["not_traced"] = not_traced
    return SensitivityMatrix(
        name,
        estimate.G,
        bench.layers,
        settings.bit_widths,
        float(bench.losses([()])[()].sum()) / bench.n_samples,
        settings.scheme,
        replace(provenance, details=details),
        diagonals,
        estimate.part_G,
        estimate.part_weights,
        None if bench.swap.inputs is None else bench.swap.inputs.ranges,
    )


def _keys(n_layers: int, n_bits: int) -> dict[Any, int]:
    """Everything that any estimator may measure, numbered for the journal."""
    n = n_layers * n_bits
    names: list[Any] = [
        *pairwise_plan(n_layers, n_bits),
        *hvp_keys(n),
        *hawq_keys(),
        MPQCO,
    ]
    return {name: k for k, name in enumerate(dict.fromkeys(names))}


def _loss_named(name: str) -> LossFunction:
    if name not in LOSSES:
        raise InputError(f"Unknown loss '{name}': choose one of {', '.join(LOSSES)}.")
    return LOSSES[name]


def _provenance(
    model: nn.Module, samples: Samples, settings: MeasurementSettings, origin: Provenance
) -> Provenance:
    return replace(
        origin,
        weights_sha256=state_digest(model),
        data=samples.name,
        data_sha256=samples.digest,
        n_samples=len(samples),
        estimator=settings.estimator,
        loss=settings.loss,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "clado_core": __version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    )


def _identity(
    model: nn.Module, layers: LayerTable, settings: MeasurementSettings, provenance: Provenance
) -> dict[str, Any]:
    """What must be equal for losses of two runs to belong together."""
    about = provenance.to_json()
    del about["created"], about["details"]
    return about | {
        "layers": list(layers.names),
        "bit_widths": list(settings.bit_widths),
        "granularity": settings.scheme.granularity,
        "act_bits": settings.scheme.act_bits,
        "range_rule": settings.scheme.range_rule,
        "batch_size": settings.batch_size,
        "memory_format": "channels-last" if is_channels_last(model) else None,
        "group_bits": settings.group_bits or None,
        "device": next((p.device.type for p in model.parameters()), "cpu"),
    }
