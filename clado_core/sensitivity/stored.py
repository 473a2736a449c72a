"""Measure into a file, so that a stopped measurement continues from what lies beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Required, TypedDict, Unpack

from torch import nn

from clado_core.data.sources import Samples
from clado_core.errors import InputError
from clado_core.files.artifact import load, partial_path, save_matrix
from clado_core.networks.discovery import find_layers
from clado_core.networks.inference import make_batches, measuring, run_batch
from clado_core.quantization.candidate import CandidateTable
from clado_core.records.calibration import Calibration
from clado_core.records.difference import difference
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import LayerSelection
from clado_core.records.provenance import Provenance
from clado_core.sensitivity.measure import measure
from clado_core.sensitivity.ray_engine import RayEngine
from clado_core.sensitivity.same import asked_for, description
from clado_core.sensitivity.settings import MeasurementSettings
from clado_core.sensitivity.workbench import Progress


class MeasureOptions(TypedDict, total=False):
    """Options of ``measure``, for functions that pass them on."""

    settings: Required[MeasurementSettings]
    name: str
    origin: Provenance | None
    on_progress: Progress | None
    cluster: RayEngine | None
    candidates: CandidateTable | None


def layers_of(
    model: nn.Module, samples: Samples, /, *, selection: LayerSelection = "all"
) -> LayerTable:
    """The layers that the first sample finds, in the form that the measurement will run it.

    Args:
        model: On the device to measure on.
        samples: On any device.
        selection: As for ``find_layers``.
    """
    first = replace(samples, x=samples.x[:1], y=samples.y[:1])
    example = make_batches(model, first, 1)[0].x
    return find_layers(model, example, selection=selection)


def class_count(model: nn.Module, samples: Samples, /) -> int:
    """How many classes a network tells apart, by running the first sample.

    Raises:
        MeasurementError: It cannot run it, or gives no class scores.
    """
    first = replace(samples, x=samples.x[:1], y=samples.y[:1])
    with measuring(model):
        return int(run_batch(model, make_batches(model, first, 1)[0]).shape[1])


def measure_into(
    path: Path,
    model: nn.Module,
    layers: LayerTable,
    samples: Samples,
    /,
    **options: Unpack[MeasureOptions],
) -> SensitivityMatrix:
    """Measure, and store the matrix; the losses of a stopped measurement are kept beside it.

    Args:
        path: Of the artifact, ends in ``.clado``.
        model: On the device to measure on.
        layers: What ``layers_of`` found in it.
        samples: The sensitivity set.
        options: As for ``measure``.
    """
    journal = partial_path(path)
    matrix = measure(model, layers, samples, journal=journal, **options)
    save_matrix(matrix, path)
    journal.unlink(missing_ok=True)
    return matrix


def measured_before(
    path: Path,
    layers: LayerTable,
    samples: Samples,
    settings: MeasurementSettings,
    /,
    *,
    seed: int,
    calibration: Calibration | None = None,
) -> SensitivityMatrix:
    """A stored matrix, if it was measured as is asked for.

    Args:
        path: Of the artifact.
        layers: As for ``measure_into``, likewise ``samples``.
        samples: The sensitivity set.
        settings: What changes no number is not compared; baselines beyond those asked for are fine.
        seed: That drew the samples.
        calibration: Of the candidates to measure with; None for rounding to nearest.

    Raises:
        InputError: It was measured in another way; the sentence names a field and both values.
    """
    matrix = load(path)
    found = description(matrix)
    wanted = asked_for(layers, samples, settings, seed, calibration)
    wanted["baselines"] = sorted({*settings.baselines, *matrix.diagonals})
    if apart := difference(found, {name: wanted[name] for name in found}):
        name, there, now = apart
        raise InputError(
            f"{path} was measured with another '{name}' ({there} there, {now} now): ask for what "
            "it was measured with, delete the file, or store this one elsewhere."
        )
    return matrix
