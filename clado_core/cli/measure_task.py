"""What ``measure`` does once everything is open: say what it would cost, or do it."""

from __future__ import annotations

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clado_core.cli.network_text import float_facts, sizes_at
from clado_core.cli.progress import ProgressLine
from clado_core.files.artifact import artifact_digest
from clado_core.records.calibration import SEED
from clado_core.records.coverage import coverage
from clado_core.records.label_check import count_mismatch
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import NEAREST
from clado_core.records.scheme import bits_to_json

if TYPE_CHECKING:
    from clado_core.data.sources import DataSource, Samples
    from clado_core.networks.load import LoadedModel
    from clado_core.quantization.candidate import CandidateTable
    from clado_core.sensitivity import MeasurementSettings, RayEngine


@dataclass(frozen=True, slots=True, eq=False)
class MeasureTask:
    """What is asked for, made ready."""

    arguments: argparse.Namespace
    model: LoadedModel
    source: DataSource | None
    samples: Samples
    layers: LayerTable
    settings: MeasurementSettings

    def describe(self) -> dict[str, Any]:
        """The layers, and what measuring them would cost."""
        from clado_core.sensitivity import class_count, forecast

        module, layers = self.model.module, self.layers
        samples, settings = self.samples, self.settings
        cost = forecast(module, layers, samples, settings)
        classes = class_count(module, samples)
        mismatch = count_mismatch(classes, len(samples.class_names) or None)
        return {
            "dry_run": True,
            "name": self.model.name,
            "n_layers": len(layers),
            "n_weights": layers.total_weights,
            "layers": [
                {"name": x.name, "kind": x.kind, "block": x.block, "shape": list(x.shape)}
                | {"n_weights": x.n_weights, "macs": x.macs}
                for x in layers.layers
            ],
            **float_facts(layers),
            "sizes": sizes_at(layers, settings.bit_widths, settings.scheme),
            "estimator": settings.estimator,
            "forwards": cost.forwards,
            "macs": cost.macs,
            "naive_macs": cost.naive_macs,
            "memory_bytes": cost.memory_bytes,
            "not_traced": cost.not_traced,
            "samples": len(samples),
            "classes": list(samples.class_names),
            "network_classes": classes,
            "warnings": [mismatch] if mismatch else [],
            "device": next(p.device.type for p in module.parameters()),
            "estimated_s": cost.seconds,
            "estimated_grouped_s": cost.grouped_seconds,
            "candidates": self._candidates_cost(),
        }

    def measure(self) -> dict[str, Any]:
        """Measured and stored; candidates before it, where weights are not rounded to nearest."""
        from clado_core.networks.measured import origin_of
        from clado_core.sensitivity import measure_into

        arguments, model, start = self.arguments, self.model, time.perf_counter()
        first: list[int] = []
        candidates = self._candidates()
        with (
            _cluster(arguments) as cluster,
            ProgressLine(f"Measuring {model.name}", "losses") as line,
        ):

            def on_progress(done: int, total: int) -> None:
                if not first:
                    first.append(done)
                line.update(done, total)

            matrix = measure_into(
                arguments.out,
                model.module,
                self.layers,
                self.samples,
                settings=self.settings,
                name=model.name,
                origin=origin_of(model, seed=arguments.seed),
                on_progress=on_progress,
                cluster=cluster,
                candidates=candidates,
            )
        return _measured(arguments, matrix) | {
            "resumed": first[0],
            "runtime_s": time.perf_counter() - start,
        }

    def _candidates(self) -> CandidateTable | None:
        """The database beside the artifact, complete; None where weights are rounded to nearest."""
        if self.arguments.rounding == NEAREST or self.source is None:
            return None
        from clado_core.repairs.database import candidates_of
        from clado_core.repairs.repair import calibration_sets

        images, _ = calibration_sets(self.source, self.arguments.calibration_images, seed=SEED)
        with ProgressLine(f"Rounding {self.model.name}", "candidates") as line:
            return candidates_of(
                *(self.model.module, self.layers, self.settings.scheme, self.settings.bit_widths),
                images,
                artifact=self.arguments.out,
                rounding=self.arguments.rounding,
                seed=SEED,
                on_progress=line.update,
            )

    def _candidates_cost(self) -> dict[str, Any] | None:
        if self.arguments.rounding == NEAREST:
            return None
        from clado_core.repairs.database import widths
        from clado_core.repairs.forecast import seconds_to_make

        arguments, settings = self.arguments, self.settings
        return {
            "count": len(self.layers) * len(widths(settings.bit_widths)),
            "images": arguments.calibration_images,
            "estimated_s": seconds_to_make(
                *(self.model.module, self.layers, settings.scheme, settings.bit_widths),
                self.samples,
                n_images=arguments.calibration_images,
                rounding=arguments.rounding,
            ),
        }


def _cluster(arguments: argparse.Namespace) -> AbstractContextManager[RayEngine | None]:
    from clado_core.sensitivity import RayEngine

    return RayEngine(arguments.address) if arguments.engine == "ray" else nullcontext()


def _measured(arguments: argparse.Namespace, matrix: SensitivityMatrix) -> dict[str, Any]:
    """What the artifact holds."""
    details, labels = dict(matrix.provenance.details), matrix.provenance.labels
    return {
        "dry_run": False,
        "name": matrix.name,
        "out": str(arguments.out),
        "sha256": artifact_digest(arguments.out),
        "n_layers": matrix.n_layers,
        "bit_widths": [bits_to_json(b) for b in matrix.bit_widths],
        "estimator": matrix.provenance.estimator,
        "forwards": int(details["losses"]),
        "details": details,
        "coverage": coverage(matrix).to_json(),
        "not_traced": details.get("not_traced", ""),
        "base_loss": matrix.base_loss,
        "classes": list(matrix.provenance.classes or ()),
        "labels": None if labels is None else labels.to_json(),
        "warnings": [] if labels is None else list(labels.warnings),
        **float_facts(matrix.layers),
    }
