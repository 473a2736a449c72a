"""Carry out a measurement, resumable: what the estimator asks for, then G."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from clado_core._version import __version__
from clado_core.data.sources import Samples
from clado_core.errors import InputError, MeasurementError
from clado_core.files.journal import Journal
from clado_core.networks.inference import LOSSES, LossFunction, make_batches, measuring, run_batch
from clado_core.networks.load import state_digest
from clado_core.networks.placement import is_channels_last
from clado_core.networks.steady import Steadiness
from clado_core.quantization.candidate import CandidateTable
from clado_core.quantization.inputs import InputQuantizer, quantizing_inputs
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import HAWQ, MPQCO
from clado_core.records.provenance import Provenance
from clado_core.sensitivity.adaptive import estimate_adaptive, estimate_calibrated
from clado_core.sensitivity.derivatives import MPQCO as MPQCO_KEY
from clado_core.sensitivity.derivatives import hawq, hawq_keys, hvp_keys, mpqco
from clado_core.sensitivity.estimators import (
    Estimator,
    estimate_block,
    estimate_hvp,
    estimate_logit_gram,
    estimate_pairwise,
)
from clado_core.sensitivity.labels import labels_checked
from clado_core.sensitivity.plan import pairwise_plan
from clado_core.sensitivity.ray_engine import RayEngine
from clado_core.sensitivity.settings import MeasurementSettings
from clado_core.sensitivity.workbench import Engine, Progress, Workbench

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
_DIAGONALS = {HAWQ: hawq, MPQCO: mpqco}


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
    candidates: CandidateTable | None = None,
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
        journal: Keeps losses, so that a stopped run continues; remove it once G is stored.
        on_progress: Called with (records known, in all so far), at first with those resumed.
        cluster: Measures the losses; None measures them here.
        candidates: What layers are at each bit-width; rounded to nearest where None.

    Raises:
        MeasurementError: A loss is not finite, or the network cannot run the samples, or gives
            other outputs for them each time.
        InputError: The journal belongs to another measurement, or labels or layers do not fit; or
            derivatives are asked for with candidates.
    """
    loss = loss_function or _loss_named(settings.loss)
    provenance = _provenance(model, samples, settings, origin or Provenance(), candidates)
    task = _Task(model, layers, samples, settings, loss, provenance, cluster, candidates)
    return task.matrix(name, journal, on_progress)


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """What is measured, and where."""

    model: nn.Module
    layers: LayerTable
    samples: Samples
    settings: MeasurementSettings
    loss: LossFunction
    provenance: Provenance
    cluster: RayEngine | None
    candidates: CandidateTable | None

    def keys(self) -> dict[Any, int]:
        """Everything that any estimator may measure, numbered for the journal."""
        n_bits = len(self.settings.bit_widths)
        n = len(self.layers) * n_bits
        names: list[Any] = [*pairwise_plan(len(self.layers), n_bits), *hvp_keys(n), *hawq_keys()]
        names.append(MPQCO_KEY)
        return {name: k for k, name in enumerate(dict.fromkeys(names))}

    def matrix(
        self, name: str, journal: Path | None, on_progress: Progress | None
    ) -> SensitivityMatrix:
        """Measured; a journal of a network that became another one on the way is removed."""
        found: SensitivityMatrix | None = None
        try:
            with contextlib.ExitStack() as stack:
                kept = None if journal is None else stack.enter_context(self.journal(journal))
                bench = stack.enter_context(self.bench(kept, on_progress))
                found = _matrix(bench, name, self.checked(bench))
        except MeasurementError:
            if found is not None and journal is not None:
                journal.unlink(missing_ok=True)
            raise
        return found

    def journal(self, path: Path) -> Journal:
        """Opened, for this measurement alone."""
        n_batches = -(-len(self.samples) // self.settings.batch_size)
        return Journal(path, self._identity(), len(self.keys()) * n_batches)

    @contextlib.contextmanager
    def bench(self, journal: Journal | None, on_progress: Progress | None) -> Iterator[Workbench]:
        """The network made ready; it is as before when this ends."""
        model, layers, settings = self.model, self.layers, self.settings
        if self.cluster is not None:
            self.cluster.ship(model, self.samples)
        batches = make_batches(model, self.samples, settings.batch_size)
        menu, scheme, xs = settings.bit_widths, settings.scheme, (batch.x for batch in batches)
        with (
            measuring(model, batches, allow_noise=settings.allow_noise) as steady,
            quantizing_inputs(model, layers, menu, scheme, calibrate_on=xs) as inputs,
            WeightSwap(model, layers, scheme, inputs=inputs, candidates=self.candidates) as swap,
        ):
            yield Workbench(
                model,
                layers,
                batches,
                settings.for_network(steady),
                loss=self.loss,
                swap=swap,
                keys=self.keys(),
                keep_outputs=settings.estimator in WITH_OUTPUTS,
                journal=journal,
                on_progress=on_progress,
                engine=self._engine(inputs, steady),
                steady=steady,
            )

    def checked(self, bench: Workbench) -> Provenance:
        """The provenance, with what the labels look like; they are known where the loss is."""
        if self.loss is not LOSSES.get(self.settings.loss):
            return self.provenance
        labels = labels_checked(bench.reference, self.samples, loss=self.settings.loss)
        return replace(self.provenance, labels=labels)

    def _engine(self, inputs: InputQuantizer | None, steady: Steadiness) -> Engine | None:
        if self.cluster is None:
            return None
        return self.cluster.engine(
            self.layers,
            self.settings.for_network(steady),
            self.loss,
            keep_outputs=self.settings.estimator in WITH_OUTPUTS,
            ranges=None if inputs is None else inputs.ranges,
            steady=steady,
            candidates=self.candidates,
        )

    def _identity(self) -> dict[str, Any]:
        """What must be equal for losses of two runs to belong together."""
        about, settings = self.provenance.to_json(), asdict(self.settings)
        # These change what is run, or held at once, but no loss.
        for harmless in ("baselines", "memory_bytes", "reuse", "allow_noise"):
            del settings[harmless]
        for said_of_it in ("created", "details", "classes"):
            about.pop(said_of_it, None)
        here = next((p.device.type for p in self.model.parameters()), "cpu")
        return {
            **about,
            **settings.pop("scheme"),
            **settings,
            "bit_widths": list(self.settings.bit_widths),
            "loss_function": self._loss_identity(),
            "layers": list(self.layers.names),
            "memory_format": "channels-last" if is_channels_last(self.model) else None,
            "device": here if self.cluster is None else self.cluster.device,
        }

    def _loss_identity(self) -> str:
        """The loss's name; of a caller's own function also what it gives for made-up outputs, as
        another one may have the same name."""
        if self.loss in LOSSES.values():
            return self.settings.loss
        first = make_batches(self.model, self.samples, self.settings.batch_size)[0]
        with measuring(self.model):
            like = run_batch(self.model, first)
        generator = torch.Generator().manual_seed(0)
        outputs, reference = torch.randn((2, *like.shape), generator=generator).to(like)
        value = float(self.loss(outputs, first.y, reference))
        name = getattr(self.loss, "__name__", type(self.loss).__name__)
        return f"{value:.9g} for made-up outputs, {name}"


def _matrix(bench: Workbench, name: str, provenance: Provenance) -> SensitivityMatrix:
    settings = bench.settings
    estimate = _FUNCTIONS[settings.estimator](bench)
    diagonals = {which: _DIAGONALS[which](bench) for which in settings.baselines}
    details = {**provenance.details, **estimate.details, "losses": len(bench.measured)}
    if not_traced := bench.runner.graph.not_traced:
        details["not_traced"] = not_traced
    if bench.steady.changing:
        details["changing_buffers"] = ", ".join(bench.steady.changing)
    if bench.steady.noise:
        details["noise"] = bench.steady.noise
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
        estimate.measured,
        estimate.fit_error,
    )


def _require_losses(settings: MeasurementSettings) -> None:
    """Derivatives see what a candidate does to a weight, not the statistics that go with it."""
    for name in ("hvp" if settings.estimator == "hvp" else "", *settings.baselines):
        if name:
            raise InputError(
                f"{name} is made of derivatives, which do not see the statistics of repaired "
                "weights: measure it with rounding to nearest."
            )


def _loss_named(name: str) -> LossFunction:
    if name not in LOSSES:
        raise InputError(f"Unknown loss '{name}': choose one of {', '.join(LOSSES)}.")
    return LOSSES[name]


def _provenance(
    model: nn.Module,
    samples: Samples,
    settings: MeasurementSettings,
    origin: Provenance,
    candidates: CandidateTable | None,
) -> Provenance:
    if candidates is not None:
        _require_losses(settings)
    return replace(
        origin,
        weights_sha256=state_digest(model),
        data=samples.name,
        data_sha256=samples.digest,
        split=samples.split,
        n_samples=len(samples),
        estimator=settings.estimator,
        loss=settings.loss,
        classes=samples.class_names or None,
        calibration=None if candidates is None else candidates.calibration,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "clado_core": __version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    )
