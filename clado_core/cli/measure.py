"""Measure a network's cross-layer sensitivity matrix and store it as an artifact.

Example:
  python -m clado_core measure digits-resnet --bits 2,4,8 --samples 1024 --out my.clado

A measurement that is stopped keeps its losses in my.clado.partial; the same command continues.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clado_core.cli.measure_text import show as show
from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.files.artifact import save_matrix
from clado_core.records.assignment import Assignment
from clado_core.records.layers import LayerTable
from clado_core.records.names import ESTIMATORS, LOSS_NAMES
from clado_core.records.provenance import Provenance
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
    from clado_core.sensitivity import MeasurementSettings

DEFAULT_SAMPLES = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``measure``."""
    add = parser.add_argument
    add("model", help="a built-in name, torchvision:NAME, or path/to/file.py:factory")
    add("--weights", help="checkpoint file, name of torchvision weights, or none for random ones")
    add(
        "--data",
        help="digits, cifar10:FOLDER, torchvision:NAME:FOLDER, an .npz file with x and y, or a "
        "folder of images per class",
    )
    add("--split", choices=("train", "held-out", "all"), default="train", help="default: train")
    add("--bits", default="2,4,8", help="bit-width menu (default: 2,4,8)")
    add("--samples", type=int, help=f"size of the sensitivity set (default: {DEFAULT_SAMPLES})")
    add(
        "--estimator",
        choices=tuple(ESTIMATORS),
        default="pairwise",
        help="pairwise: every pair (the paper); adaptive: the pairs that decisions depend on; "
        "calibrated or logit-gram: single layers only; block: pairs inside a block; "
        "hvp: second derivatives",
    )
    add("--baselines", default="", metavar="NAMES", help="measure hawq, mpqco or both along")
    add("--memory-mb", type=float, help="most memory above the network, in MB (10⁶ bytes)")
    add("--granularity", choices=("per-channel", "per-tensor"), default="per-channel")
    add("--range", choices=("mse", "min-max"), default="mse", help="how scales are chosen")
    add(
        "--act-bits",
        default="none",
        metavar="BITS",
        help="none, or quantize a layer's input too: 8 (the paper); several as in 4,8 are a choice "
        "for each layer beside its weight",
    )
    add("--loss", choices=LOSS_NAMES, default="ce", help="kl needs no labels")
    add("--batch-size", type=int, help="samples per forward (default: 64 on a CPU, 256 on a GPU)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add(
        "--memory-format",
        choices=("channels-last", "channels-first"),
        default="channels-last",
        help="of activations; channels-last is faster",
    )
    add("--group-bits", action="store_true", help="run a layer's bit-widths as one batch")
    add("--engine", choices=("local", "ray"), default="local", help="ray: on a Ray cluster")
    add("--address", default="auto", help="of the Ray cluster; local starts one (default: auto)")
    add("--layers", choices=("all", "paper"), default="all", help="paper: not the first and last")
    add("--seed", type=int, default=0, help="draws the sensitivity set")
    add("--out", type=Path, help="artifact to write, NAME.clado")
    add("--dry-run", action="store_true", help="only say what would be measured, and how long")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and store, or describe the measurement."""
    menu, scheme = _menu(arguments)
    _check_out(arguments)
    from clado_core.networks.inference import choose_device, default_batch_size
    from clado_core.sensitivity import MeasurementSettings

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
    )
    model = _model(arguments, device)
    samples = _samples(arguments, model)
    layers = _layers(arguments, model, samples)
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
    from clado_core.networks.inference import place
    from clado_core.networks.load import RANDOM_WEIGHTS, TORCHVISION, load_model

    weights = arguments.weights
    if arguments.dry_run and weights is None and arguments.model.startswith(TORCHVISION):
        weights = RANDOM_WEIGHTS  # sizes and times do not depend on them: spare the download
    model = load_model(arguments.model, weights)
    place(model.module, device, channels_last=arguments.memory_format == "channels-last")
    return model


def _samples(arguments: argparse.Namespace, model: LoadedModel) -> Samples:
    from clado_core.data.sources import load_data

    spec = arguments.data or model.data
    if spec is None:
        if arguments.dry_run and model.input_shape is not None:
            return _placeholder(arguments, model.input_shape)
        raise InputError(
            f"Say which data to measure {arguments.model} on: --data FILE.npz with x and y, or a "
            "folder with one subfolder of images per class."
        )
    source = load_data(spec, prepare=model.prepare)
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


def _layers(arguments: argparse.Namespace, model: LoadedModel, samples: Samples) -> LayerTable:
    from clado_core.networks.discovery import find_layers
    from clado_core.networks.inference import make_batches

    first = replace(samples, x=samples.x[:1], y=samples.y[:1])
    example = make_batches(model.module, first, 1)[0].x
    return find_layers(model.module, example, selection=arguments.layers)


def _describe(
    model: LoadedModel, samples: Samples, layers: LayerTable, settings: MeasurementSettings
) -> dict[str, Any]:
    from clado_core.sensitivity import forecast

    cost = forecast(model.module, layers, samples, settings)
    sizes = [
        {
            "bits": bits_to_json(b),
            "bytes": Assignment(layers, (b,) * len(layers), settings.scheme).size_bytes,
        }
        for b in settings.bit_widths
    ]
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
        "float_bytes": layers.other_bytes + 4 * layers.total_weights,
        "sizes": sizes,
        "estimator": settings.estimator,
        "forwards": cost.forwards,
        "macs": cost.macs,
        "naive_macs": cost.naive_macs,
        "memory_bytes": cost.memory_bytes,
        "not_traced": cost.not_traced,
        "samples": len(samples),
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
    from clado_core.sensitivity import RayEngine, measure
    from clado_core.sensitivity.journal import SUFFIX

    start = time.perf_counter()
    journal = arguments.out.with_name(arguments.out.name + SUFFIX)
    first: list[int] = []
    with contextlib.ExitStack() as stack:
        cluster = None
        if arguments.engine == "ray":
            cluster = stack.enter_context(RayEngine(arguments.address))
        line = stack.enter_context(ProgressLine(f"Measuring {model.name}", "losses"))

        def on_progress(done: int, total: int) -> None:
            if not first:
                first.append(done)
            line.update(done, total)

        matrix = measure(
            model.module,
            layers,
            samples,
            settings=settings,
            name=model.name,
            origin=Provenance(
                model=model.spec,
                seed=arguments.seed,
                details={"weights": arguments.weights} if arguments.weights else {},
            ),
            journal=journal,
            on_progress=on_progress,
            cluster=cluster,
        )
    digest = save_matrix(matrix, arguments.out)
    journal.unlink(missing_ok=True)

    return {
        "dry_run": False,
        "name": matrix.name,
        "out": str(arguments.out),
        "sha256": digest,
        "n_layers": matrix.n_layers,
        "bit_widths": [bits_to_json(b) for b in matrix.bit_widths],
        "estimator": settings.estimator,
        "forwards": int(matrix.provenance.details["losses"]),
        "details": dict(matrix.provenance.details),
        "not_traced": matrix.provenance.details.get("not_traced", ""),
        "resumed": first[0],
        "base_loss": matrix.base_loss,
        "runtime_s": time.perf_counter() - start,
    }
