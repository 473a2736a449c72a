"""Carry out a measurement: every loss of the plan, resumable, then G."""

from __future__ import annotations

import contextlib
import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import clado_core
from clado_core.datasets import Samples
from clado_core.errors import InputError, MeasurementError
from clado_core.inference import (
    LOSSES,
    LossFunction,
    make_batches,
    measuring,
    reference_outputs,
    run_batch,
)
from clado_core.layers import LayerTable
from clado_core.matrix import SensitivityMatrix
from clado_core.models import state_digest
from clado_core.provenance import Provenance
from clado_core.scheme import BitWidths, QuantizationScheme, bit_menu
from clado_core.sensitivity.journal import Journal
from clado_core.sensitivity.pairwise import sensitivities
from clado_core.sensitivity.plan import Unit, pairwise_plan
from clado_core.weight_swap import WeightSwap

Progress = Callable[[int, int], None]
TIMED_S = 2.0
"""Forwards are timed for about this long before an estimate is given."""


@dataclass(frozen=True, slots=True)
class MeasurementSettings:
    """How sensitivities are measured.

    Args:
        bit_widths: The menu.
        scheme: The quantizer.
        loss: "ce", "kl", or the name of a loss function passed to ``measure``.
        batch_size: Samples per forward; part of the measurement, as sums depend on it.

    Raises:
        InputError: The menu or the batch size cannot be used.
    """

    bit_widths: BitWidths = (2, 4, 8)
    scheme: QuantizationScheme = field(default_factory=QuantizationScheme)
    loss: str = "ce"
    batch_size: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "bit_widths", bit_menu(self.bit_widths))
        if self.scheme.act_bits is not None:
            raise InputError("Measuring with quantized activations is not available yet.")
        if self.batch_size < 1:
            raise InputError(f"The batch size must be 1 or more, not {self.batch_size}.")


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
) -> SensitivityMatrix:
    """Measure G with the pairwise estimator; the model is the same afterwards.

    Args:
        model: On the device to measure on; its weights are swapped in place and put back.
        layers: What ``find_layers`` found in it.
        samples: The sensitivity set.
        settings: Menu, quantizer, loss, batch size.
        name: Name of the matrix.
        origin: What the caller knows of the provenance: ``model`` and ``seed``.
        loss_function: Instead of the one that ``settings.loss`` names.
        journal: Keeps losses as they are measured; if it holds some of this same measurement,
            they are not measured again. The caller removes it once the matrix is stored.
        on_progress: Called with (losses known, losses in all), at first with those resumed.

    Raises:
        MeasurementError: A loss is not finite, or the network cannot run the samples.
        InputError: The journal belongs to another measurement, or labels or layers do not fit.
    """
    loss = loss_function or _loss_named(settings.loss)
    plan = pairwise_plan(len(layers), len(settings.bit_widths))
    provenance = _provenance(model, samples, settings, origin or Provenance())
    with contextlib.ExitStack() as stack:
        kept = None
        if journal is not None:
            identity = _identity(model, layers, settings, provenance)
            kept = stack.enter_context(Journal(journal, identity, len(plan)))
        stack.enter_context(measuring(model))
        swap = stack.enter_context(WeightSwap(model, layers, settings.scheme))
        executor = _Executor(model, layers, samples, settings, loss, swap)
        losses = _execute(plan, executor, kept, on_progress)
    by_unit = dict(zip(plan, losses, strict=True))
    G = sensitivities(by_unit, len(layers) * len(settings.bit_widths))
    return SensitivityMatrix(
        name, G, layers, settings.bit_widths, losses[0], settings.scheme, provenance
    )


def seconds_per_forward(
    model: nn.Module, samples: Samples, settings: MeasurementSettings, /
) -> float:
    """Wall time of one pass over the sensitivity set, from a few timed batches."""
    batches = make_batches(model, samples, settings.batch_size)
    with measuring(model):
        reference_outputs(model, batches[:1])
        times: list[float] = []
        while sum(times) < TIMED_S:
            start = time.perf_counter()
            run_batch(model, batches[len(times) % len(batches)]).sum().item()
            times.append(time.perf_counter() - start)
    # The median: other work on the machine makes single times many times longer.
    return statistics.median(times) * len(batches)


class _Executor:
    """Measures one unit after another on one model; what must be made once is made here."""

    def __init__(
        self,
        model: nn.Module,
        layers: LayerTable,
        samples: Samples,
        settings: MeasurementSettings,
        loss: LossFunction,
        swap: WeightSwap,
    ) -> None:
        self._model, self._layers, self._loss, self._swap = model, layers, loss, swap
        self._menu = settings.bit_widths
        self._n = len(samples)
        self._batches = make_batches(model, samples, settings.batch_size)
        self._reference = reference_outputs(model, self._batches)

    def loss(self, unit: Unit) -> float:
        """Mean loss with the unit's candidates quantized; raises MeasurementError if not finite."""
        bits = {a // len(self._menu): self._menu[a % len(self._menu)] for a in unit}
        self._swap.apply(bits)
        total: Tensor | float = 0.0
        for batch, reference in zip(self._batches, self._reference, strict=True):
            outputs = run_batch(self._model, batch) if unit else reference
            total = total + self._loss(outputs, batch.y, reference)
        mean = float(total) / self._n
        if not math.isfinite(mean):
            self._refuse(mean, bits)
        return mean

    def _refuse(self, mean: float, bits: dict[int, int]) -> None:
        names = self._layers.names
        where = " and ".join(f"'{names[i]}' at {b} bits" for i, b in bits.items())
        first = next(iter(bits), None)
        raise MeasurementError(
            f"The loss is {mean} with {where or 'nothing quantized'}; look for overflow there, or "
            "for NaN in the data or the weights.",
            layer=None if first is None else names[first],
            bits=None if first is None else bits[first],
        )


def _execute(
    plan: tuple[Unit, ...],
    executor: _Executor,
    journal: Journal | None,
    on_progress: Progress | None,
) -> list[float]:
    known = dict(journal.losses) if journal else {}
    if on_progress:
        on_progress(len(known), len(plan))
    for index, unit in enumerate(plan):
        if index in known:
            continue
        known[index] = executor.loss(unit)
        if journal:
            journal.append(index, known[index])
        if on_progress:
            on_progress(len(known), len(plan))
    return [known[index] for index in range(len(plan))]


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
        estimator="pairwise",
        loss=settings.loss,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "clado_core": clado_core.__version__,
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
    del about["created"]
    return about | {
        "layers": list(layers.names),
        "bit_widths": list(settings.bit_widths),
        "granularity": settings.scheme.granularity,
        "range_rule": settings.scheme.range_rule,
        "batch_size": settings.batch_size,
        "device": next((p.device.type for p in model.parameters()), "cpu"),
    }
