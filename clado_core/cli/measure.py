"""Measure a network's cross-layer sensitivity matrix and store it as an artifact.

Example:
  python -m clado_core measure digits-resnet --bits 2,4,8 --samples 1024 --out my.clado

A measurement that is stopped keeps its losses in my.clado.partial; the same command continues.
"""

from __future__ import annotations

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clado_core.cli.measure_text import show as show
from clado_core.cli.measurement_options import (
    DEFAULT_SAMPLES,
    add_estimator,
    add_layers,
    add_machine,
    add_network,
    add_quantizer,
    add_sensitivity_set,
)
from clado_core.cli.network_text import float_facts, sizes_at
from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.files.artifact import artifact_digest
from clado_core.records.coverage import coverage
from clado_core.records.label_check import count_mismatch
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import CHANNELS_LAST
from clado_core.records.scheme import (
    BitWidths,
    QuantizationScheme,
    bits_to_json,
    joint_menu,
    parse_bit_menu,
)

if TYPE_CHECKING:
    import torch

    from clado_core.data.sources import Samples
    from clado_core.networks.load import LoadedModel
    from clado_core.sensitivity import MeasurementSettings, RayEngine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``measure``."""
    add = parser.add_argument
    add_network(parser)
    add_sensitivity_set(parser)
    add_quantizer(parser)
    add_layers(parser)
    add_estimator(parser)
    add_machine(parser)
    add("--out", type=Path, help="artifact to write, NAME.clado")
    add("--dry-run", action="store_true", help="only say what would be measured, and how long")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and store, or describe the measurement."""
    menu, scheme = _menu(arguments)
    _check_out(arguments)
    from clado_core.networks.placement import choose_device, default_batch_size, fit_memory
    from clado_core.sensitivity import MeasurementSettings, layers_of

    device = choose_device(arguments.device)
    settings = MeasurementSettings(
        menu,
        scheme,
        arguments.loss,
        default_batch_size(device) if arguments.batch_size is None else arguments.batch_size,
        arguments.estimator,
        tuple(name for name in arguments.baselines.split(",") if name),
        None if arguments.memory_mb is None else int(arguments.memory_mb * 1e6),
        group_bits=arguments.group_bits,
        allow_noise=arguments.allow_noise,
    )
    model = _model(arguments, device)
    samples = _samples(arguments, model)
    fit_memory(model.module, samples.x)
    layers = layers_of(model.module, samples, selection=arguments.layers)
    if arguments.dry_run:
        return _describe(model, samples, layers, settings)
    return _measure(arguments, model, samples, layers, settings)


def _menu(arguments: argparse.Namespace) -> tuple[BitWidths, QuantizationScheme]:
    """The menu and the quantizer; several bit-widths of inputs make joint choices."""
    menu, acts = parse_bit_menu(arguments.bits), arguments.act_bits
    widths = () if acts == "none" else parse_bit_menu(acts)
    if len(widths) > 1:
        return joint_menu(menu, widths), QuantizationScheme(arguments.granularity, arguments.range)
    act_bits = widths[0] if widths else None
    return menu, QuantizationScheme(arguments.granularity, arguments.range, act_bits)


def _check_out(arguments: argparse.Namespace) -> None:
    if arguments.dry_run:
        return
    if arguments.out is None:
        raise InputError("Say where to store the artifact: --out NAME.clado (or use --dry-run).")
    if arguments.out.suffix != ".clado":
        raise InputError(f"--out {arguments.out} must end in .clado.")
    if not arguments.out.absolute().parent.is_dir():
        raise InputError(f"The folder of --out {arguments.out} does not exist; create it first.")


def _model(arguments: argparse.Namespace, device: torch.device) -> LoadedModel:
    from clado_core.networks.load import RANDOM_WEIGHTS, TORCHVISION, load_model
    from clado_core.networks.placement import place

    weights = arguments.weights
    if arguments.dry_run and weights is None and arguments.model.startswith(TORCHVISION):
        weights = RANDOM_WEIGHTS  # sizes and times do not depend on them: spare the download
    model = load_model(arguments.model, weights)
    place(model.module, device, channels_last=arguments.memory_format == CHANNELS_LAST)
    return model


def _samples(arguments: argparse.Namespace, model: LoadedModel) -> Samples:
    from clado_core.networks.measured import open_data

    spec = arguments.data or model.data
    if spec is None:
        if arguments.dry_run and model.input_shape is not None:
            return _placeholder(arguments, model.input_shape)
        raise InputError(
            f"Say which data to measure {arguments.model} on: --data FILE.npz with x and y, or a "
            "folder with one subfolder of images per class."
        )
    source = open_data(model, spec)
    n = arguments.samples
    if n is None:
        n = min(DEFAULT_SAMPLES, len(source.indices(arguments.split)))
    return source.sensitivity_set(n, seed=arguments.seed, split=arguments.split)


def _placeholder(arguments: argparse.Namespace, shape: tuple[int, int, int]) -> Samples:
    """Zeros to time forwards on, where no data was given."""
    import torch

    from clado_core.data.sources import Samples

    n = DEFAULT_SAMPLES if arguments.samples is None else arguments.samples
    if n < 1:
        raise InputError(f"--samples must be 1 or more, not {n}.")
    x = torch.zeros(1, *shape).expand(n, *shape)
    return Samples(x, torch.zeros(n, dtype=torch.int64), "zeros, as no --data was given")


def _describe(
    model: LoadedModel, samples: Samples, layers: LayerTable, settings: MeasurementSettings
) -> dict[str, Any]:
    from clado_core.sensitivity import class_count, forecast

    cost = forecast(model.module, layers, samples, settings)
    classes = class_count(model.module, samples)
    mismatch = count_mismatch(classes, len(samples.class_names) or None)
    return {
        "dry_run": True,
        "name": model.name,
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
        "device": next(p.device.type for p in model.module.parameters()),
        "estimated_s": cost.seconds,
        "estimated_grouped_s": cost.grouped_seconds,
    }


def _measure(
    arguments: argparse.Namespace,
    model: LoadedModel,
    samples: Samples,
    layers: LayerTable,
    settings: MeasurementSettings,
) -> dict[str, Any]:
    from clado_core.networks.measured import origin_of
    from clado_core.sensitivity import measure_into

    start = time.perf_counter()
    first: list[int] = []
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
            layers,
            samples,
            settings=settings,
            name=model.name,
            origin=origin_of(model, seed=arguments.seed),
            on_progress=on_progress,
            cluster=cluster,
        )
    return _measured(arguments, matrix) | {
        "resumed": first[0],
        "runtime_s": time.perf_counter() - start,
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
