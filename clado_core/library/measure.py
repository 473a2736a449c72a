"""Find the layers of a network in memory, and measure their sensitivities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clado_core.errors import InputError
from clado_core.files.artifact import SUFFIX
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import NEAREST, LayerSelection, Rounding, usual_estimator

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

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
    """Measure the sensitivity matrix G of a network in memory, which stays as it is.

    Args:
        module: On the device to measure on, in any mode.
        data: A pair of tensors (x, y), a DataLoader, or an iterable of batches (x, y): images to
            choose by, never those that accuracy is reported on. ``loss="kl"`` needs no y.
        n_samples: Use the first so many, 512 to 1,024 as a rule; all where None.
        name: Of the network, for files and titles.
        selection: As for ``find_layers``.
        out: Store it there, ``NAME.clado``; a measurement that was stopped continues.
        rounding: "nearest", or what ``repair`` ships: "gptq" or "adaround". Candidates are then
            made first, and kept beside ``out``.
        calibration: Images to make them with, as ``data``; the first 512 of ``data`` where None.
        on_progress: Called with (losses known, losses in all so far).
        settings: Fields of ``MeasurementSettings``, such as ``bit_widths=(2, 4, 8)``,
            ``loss="kl"``, ``estimator="adaptive"``, ``scheme=QuantizationScheme("per-tensor")``.

    Raises:
        InputError: The data or a setting cannot be used.
        MeasurementError: A loss is not finite, or the network cannot run the data or repeat itself.
    """
    from clado_core.data.in_memory import as_samples, calibration_images
    from clado_core.networks.placement import placed
    from clado_core.repairs.database import candidates_of
    from clado_core.sensitivity import layers_of, measure, measure_into

    samples = as_samples(data, n=n_samples, labels=settings.get("loss") != "kl")
    path = None if out is None else _artifact_path(out)
    task = measure if path is None else partial(measure_into, path)
    with placed(module, samples.x) as device:
        layers = layers_of(module, samples, selection=selection)
        settings = {"estimator": usual_estimator(rounding), **settings}
        how, candidates = _settings(device, settings), None
        if rounding != NEAREST:
            images = calibration_images(samples, calibration)
            candidates = candidates_of(
                *(module, layers, how.scheme, how.bit_widths, images),
                rounding=rounding,
                artifact=path,
            )
        return task(
            *(module, layers, samples),
            settings=how,
            name=name,
            candidates=candidates,
            on_progress=on_progress,
        )


def _settings(device: torch.device, given: dict[str, Any]) -> MeasurementSettings:
    from clado_core.networks.placement import default_batch_size
    from clado_core.sensitivity import MeasurementSettings

    known = [field.name for field in fields(MeasurementSettings)]
    for name in given:
        if name not in known:
            raise InputError(f"There is no setting '{name}': choose among {', '.join(known)}.")
    return MeasurementSettings(**{"batch_size": default_batch_size(device), **given})


def _artifact_path(out: str | Path) -> Path:
    path = Path(out)
    if path.suffix != SUFFIX:
        raise InputError(f"The file {path} must end in {SUFFIX}.")
    return path
