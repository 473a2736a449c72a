"""Find the layers of a network in memory, and measure their sensitivities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from clado_core.errors import InputError
from clado_core.files.artifact import SUFFIX
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import NEAREST, LayerSelection, Rounding, usual_estimator

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from clado_core.data.sources import Samples
    from clado_core.quantization.candidate import CandidateTable
    from clado_core.sensitivity import MeasurementSettings


def find_layers(
    module: nn.Module, example: Tensor, /, *, selection: LayerSelection = "all"
) -> LayerTable:
    """List the layers whose bit-widths can be searched, by running one input.

    Args:
        module: In any mode; it is left as it was.
        example: Shape (N, C, H, W), on the module's device.
        selection: "all", or "paper": without the first layer and the classifier.

    Raises:
        InputError: A weight is shared, reparametrized, or there is none; or the module is one
            without layers, such as TorchScript.
        MeasurementError: The example does not reach a layer, or cannot be run.
    """
    from clado_core.networks.discovery import find_layers

    return find_layers(module, example, selection=selection)


def measure(
    module: nn.Module,
    data: object,
    /,
    *,
    n_samples: int | None = None,
    name: str = "network",
    selection: LayerSelection = "all",
    out: str | Path | None = None,
    rounding: Rounding = "nearest",
    calibration: object = None,
    on_progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> SensitivityMatrix:
    """Measure the sensitivity matrix G of a network in memory.

    Half of x'Gx predicts by how much the loss grows with the candidates that x chooses.

    Args:
        module: On the device to measure on, in any mode; afterwards as it was.
        data: A pair of tensors (x, y), a DataLoader, or batches (x, y); ``loss="kl"`` needs no y.
        n_samples: Use the first so many, 512 to 1,024 as a rule; all where None.
        name: Of the network.
        selection: Which layers, as for ``find_layers``.
        out: Store it there, ``NAME.clado``; a measurement that was stopped continues.
        rounding: "nearest", or what ``repair`` ships: "gptq" or "adaround"; kept beside ``out``.
        calibration: Images that those are made with; the first 512 of ``data`` where None.
        on_progress: Called with (losses known, losses in all so far).
        settings: Fields of ``MeasurementSettings``, such as ``loss="kl"``.

    Raises:
        InputError: The data, a setting or a layer cannot be used.
        MeasurementError: The network cannot run the data, or gives other outputs each time.
    """
    images, path = _Images.of(data, n_samples, calibration, settings), _artifact_path(out)
    task = partial(_measured, module, images, path, rounding, selection, settings)
    return task(name=name, on_progress=on_progress)


class _Images(NamedTuple):
    """What is measured on, and what candidates are made with."""

    samples: Samples
    calibration: Samples

    @classmethod
    def of(
        cls, data: object, n: int | None, calibration: object, settings: Mapping[str, Any]
    ) -> Self:
        from clado_core.data.in_memory import as_samples, calibration_images

        samples = as_samples(data, n=n, labels=settings.get("loss") != "kl")
        return cls(samples, calibration_images(samples, calibration))


def _measured(
    module: nn.Module,
    images: _Images,
    path: Path | None,
    rounding: Rounding,
    selection: LayerSelection,
    settings: dict[str, Any],
    **told: Any,
) -> SensitivityMatrix:
    from clado_core.networks.placement import placed
    from clado_core.sensitivity import layers_of

    with placed(module, images.samples.x) as device:
        layers = layers_of(module, images.samples, selection=selection)
        how = _settings(device, {"estimator": usual_estimator(rounding), **settings})
        made = _candidates(module, layers, how, path, rounding, images.calibration)
        task = partial(_task(path), settings=how, candidates=made, **told)
        return task(module, layers, images.samples)


def _task(path: Path | None) -> Callable[..., SensitivityMatrix]:
    """Measures in memory, or into a file."""
    from clado_core.sensitivity import measure, measure_into

    return measure if path is None else partial(measure_into, path)


def _candidates(
    module: nn.Module,
    layers: LayerTable,
    settings: MeasurementSettings,
    artifact: Path | None,
    rounding: Rounding,
    images: Samples,
) -> CandidateTable | None:
    """Made with images to calibrate with; None where weights are rounded to nearest."""
    from clado_core.repairs.database import candidates_of

    if rounding == NEAREST:
        return None
    inside = (module, layers, settings.scheme, settings.bit_widths, images)
    return candidates_of(*inside, rounding=rounding, artifact=artifact)


def _settings(device: torch.device, given: dict[str, Any]) -> MeasurementSettings:
    from clado_core.networks.placement import default_batch_size
    from clado_core.sensitivity import MeasurementSettings

    known = [field.name for field in fields(MeasurementSettings)]
    for name in given:
        if name not in known:
            raise InputError(f"There is no setting '{name}': choose among {', '.join(known)}.")
    return MeasurementSettings(**{"batch_size": default_batch_size(device), **given})


def _artifact_path(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    path = Path(out)
    if path.suffix != SUFFIX:
        raise InputError(f"The file {path} must end in {SUFFIX}.")
    return path
