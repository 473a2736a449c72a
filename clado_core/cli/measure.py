"""Measure a network's cross-layer sensitivity matrix and store it as an artifact.

Example:
  python -m clado_core measure digits-resnet --bits 2,4,8 --samples 1024 --out my.clado

A measurement that is stopped keeps its losses in my.clado.partial; the same command continues.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clado_core.cli.measure_task import MeasureTask
from clado_core.cli.measure_text import show as show
from clado_core.cli.measurement_options import (
    DEFAULT_SAMPLES,
    add_estimator,
    add_layers,
    add_machine,
    add_network,
    add_quantizer,
    add_rounding,
    add_sensitivity_set,
)
from clado_core.errors import InputError
from clado_core.records.names import CHANNELS_LAST, usual_estimator
from clado_core.records.scheme import (
    BitWidths,
    QuantizationScheme,
    joint_menu,
    parse_bit_menu,
)

if TYPE_CHECKING:
    import torch

    from clado_core.data.sources import DataSource, Samples
    from clado_core.networks.load import LoadedModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``measure``."""
    add = parser.add_argument
    add_network(parser)
    add_sensitivity_set(parser)
    add_quantizer(parser)
    add_rounding(parser)
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
        arguments.estimator or usual_estimator(arguments.rounding),
        tuple(name for name in arguments.baselines.split(",") if name),
        None if arguments.memory_mb is None else int(arguments.memory_mb * 1e6),
        group_bits=arguments.group_bits,
        allow_noise=arguments.allow_noise,
    )
    model = _model(arguments, device)
    source = _source(arguments, model)
    samples = _samples(arguments, model, source)
    fit_memory(model.module, samples.x)
    layers = layers_of(model.module, samples, selection=arguments.layers)
    task = MeasureTask(arguments, model, source, samples, layers, settings)
    return task.describe() if arguments.dry_run else task.measure()


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


def _source(arguments: argparse.Namespace, model: LoadedModel) -> DataSource | None:
    """The data to measure on; None where a dry run may go without."""
    from clado_core.networks.measured import open_data

    spec = arguments.data or model.data
    if spec is not None:
        return open_data(model, spec)
    if arguments.dry_run and model.input_shape is not None:
        return None
    raise InputError(
        f"Say which data to measure {arguments.model} on: --data FILE.npz with x and y, or a "
        "folder with one subfolder of images per class."
    )


def _samples(
    arguments: argparse.Namespace, model: LoadedModel, source: DataSource | None
) -> Samples:
    if source is None:
        assert model.input_shape is not None  # or there would be a source
        return _placeholder(arguments, model.input_shape)
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
