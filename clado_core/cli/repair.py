"""Make the network that is shipped: better integers and statistics for a choice, no larger.

Example:
  python -m clado_core solve assets/digits-resnet.clado --avg-bits 2.5 --json > chosen.json
  python -m clado_core repair assets/digits-resnet.clado --assignment chosen.json \\
      --out repaired.safetensors
  python -m clado_core evaluate assets/digits-resnet.clado --repaired repaired.safetensors

With --dry-run it only says about how long it would take. A fine-tuning (--finetune EPOCHS) that is
stopped keeps its state in repaired.safetensors.partial; the same command continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clado_core.cli.measurement_options import add_device, add_moved_network, add_noise
from clado_core.cli.problem_options import positive_count
from clado_core.cli.progress import ProgressLine, clock
from clado_core.errors import InputError
from clado_core.files.artifact import load, partial_path
from clado_core.files.assignment_file import read_assignment
from clado_core.records.calibration import IMAGES, SEED
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import ROUNDINGS

if TYPE_CHECKING:
    from torch import nn

    from clado_core.data.sources import DataSource, Samples
    from clado_core.records.assignment import Assignment
    from clado_core.repairs.repaired import Repaired
    from clado_core.repairs.repairer import Repairer

FINETUNE_BYTES = 2**31
"""Of images that are fine-tuned on where nobody says how many: they stay in memory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``repair``."""
    add = parser.add_argument
    add("artifact", type=Path, help="a .clado file")
    add("--assignment", type=Path, required=True, help="JSON with each layer's bit-width")
    add("--out", type=Path, required=True, help="packed safetensors file to write")
    add_moved_network(parser)
    add("--data", help="default: the data it was measured on")
    add(
        "--rounding",
        choices=ROUNDINGS,
        default="adaround",
        help="how weights become integers (default: adaround, learned; gptq takes a third of it)",
    )
    add(
        "--images",
        type=positive_count,
        help="training images to calibrate with, and as many to judge by (default: "
        f"{IMAGES}, or a tenth of the training images where they are few)",
    )
    add(
        "--reconstruct",
        action="store_true",
        help="then learn block after block from the float network's, on the calibration images",
    )
    add(
        "--finetune",
        type=positive_count,
        metavar="EPOCHS",
        help="then learn from the float network's outputs, on training images without labels",
    )
    add(
        "--finetune-images",
        type=positive_count,
        metavar="N",
        help="how many (default: all but those to judge by, up to 2 GiB of them)",
    )
    _add_rest(parser)


def _add_rest(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--dry-run",
        action="store_true",
        help="only say about how long it would take, each part timed; nothing is written",
    )
    add("--seed", type=int, default=SEED, help="draws the images")
    add("--batch-size", type=positive_count, help="samples per forward (default: as of measure)")
    add_device(parser)
    add_noise(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Repair one assignment and write it; labels are not used."""
    matrix, data = _measured(arguments)
    assignment = read_assignment(arguments.assignment, matrix)
    from clado_core.exports.repaired_file import write_repaired
    from clado_core.networks.measured import load_measured, open_data
    from clado_core.networks.placement import choose_device, default_batch_size, place_for

    device = choose_device(arguments.device)
    model = load_measured(matrix, model=arguments.model, weights=arguments.weights)
    calibration, judges, *more = images = _images(arguments, open_data(model, data))
    place_for(model.module, device, judges.x)
    arguments.batch_size = arguments.batch_size or default_batch_size(device)
    if arguments.dry_run:
        return _forecast(arguments, model.module, matrix, assignment, images)
    repaired = _shipped(arguments, model.module, matrix, assignment, images)
    size = write_repaired(arguments.out, matrix, model.module, repaired)
    if more:
        partial_path(arguments.out).unlink(missing_ok=True)
    return {
        "dry_run": False,
        "written": str(arguments.out),
        "bytes": size,
        "size_bytes_promised": assignment.size_bytes,
        "avg_bits": assignment.avg_bits,
        "data": data,
        "images": len(calibration),
        "judged_on": len(judges),
        "finetuned_on": sum(map(len, more)),
        "steps": [asdict(step) for step in repaired.steps],
    }


def _measured(arguments: argparse.Namespace) -> tuple[SensitivityMatrix, str]:
    """The artifact, and its data; before anything is computed for arguments that cannot be."""
    if arguments.out.is_dir() or not arguments.out.parent.is_dir():
        raise InputError(f"--out {arguments.out} must be a file in a folder that exists.")
    if arguments.finetune_images and not arguments.finetune:
        raise InputError("--finetune-images counts for --finetune; give that too.")
    matrix = load(arguments.artifact)
    data = arguments.data or matrix.provenance.data
    if data is None:
        raise InputError(f"{arguments.artifact} does not say its data: give --data.")
    return matrix, data


def _images(arguments: argparse.Namespace, source: DataSource) -> list[Samples]:
    """Training images to calibrate with, to judge by, and, where asked for, to fine-tune on."""
    import torch

    from clado_core.repairs.repair import calibration_sets

    calibration, judges = calibration_sets(source, arguments.images, seed=arguments.seed)
    if arguments.finetune is None:
        return [calibration, judges]
    wanted = arguments.finetune_images or FINETUNE_BYTES // calibration.x[0].nbytes
    n, there = len(calibration) + len(judges), len(source.indices("train"))
    drawn = source.sensitivity_set(min(max(n, wanted + len(judges)), there), seed=arguments.seed)
    # All that were drawn but the judges, which stand behind the calibration images.
    x, y = (torch.cat([v[: len(calibration)], v[n:]])[:wanted] for v in (drawn.x, drawn.y))
    return [calibration, judges, replace(drawn, x=x, y=y)]


def _repairer(
    arguments: argparse.Namespace,
    module: nn.Module,
    matrix: SensitivityMatrix,
    images: Sequence[Samples],
) -> Repairer:
    from clado_core.repairs.repairer import Repairer

    calibration, judges, *_ = images
    return Repairer(
        *(module, matrix, calibration, judges),
        rounding=arguments.rounding,
        artifact=arguments.artifact,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        allow_noise=arguments.allow_noise,
    )


def _forecast(
    arguments: argparse.Namespace,
    module: nn.Module,
    matrix: SensitivityMatrix,
    assignment: Assignment,
    images: Sequence[Samples],
) -> dict[str, Any]:
    """What it would take."""
    from clado_core.repairs.finetune import Finetuning
    from clado_core.repairs.forecast import forecast_repair

    calibration, judges, *more = images
    plans = [Finetuning(arguments.finetune, x, seed=arguments.seed) for x in more]
    cost = forecast_repair(
        *(module, matrix, assignment, (calibration, judges)),
        rounding=arguments.rounding,
        unmade=_repairer(arguments, module, matrix, images).unmade(assignment),
        reconstruct=arguments.reconstruct,
        plan=plans[0] if plans else None,
        batch_size=arguments.batch_size,
    )
    return {
        "dry_run": True,
        **asdict(cost),
        "estimated_s": cost.seconds,
        "images": len(calibration),
        "judged_on": len(judges),
        "finetuned_on": sum(map(len, more)),
        "device": next(p.device.type for p in module.parameters()),
    }


def _shipped(
    arguments: argparse.Namespace,
    module: nn.Module,
    matrix: SensitivityMatrix,
    assignment: Assignment,
    images: Sequence[Samples],
) -> Repaired:
    """The repaired network, fine-tuned where there are images for it."""
    from clado_core.repairs.finetune import Finetuning, finetune
    from clado_core.repairs.reconstruct import reconstruct

    calibration, judges, *more = images
    with (
        ProgressLine(f"Repairing {matrix.name}", "layers") as line,
        ProgressLine(f"Reconstructing {matrix.name}", "blocks") as blocks,
        ProgressLine(f"Fine-tuning {matrix.name}", "images") as tuning,
    ):
        kept: dict[str, Any] = {
            "state": partial_path(arguments.out),
            "on_images": tuning.update,
        }
        # Made first: what is wrong with them is said before anything is computed.
        plans = [Finetuning(arguments.finetune, x, seed=arguments.seed, **kept) for x in more]
        how = {"batch_size": arguments.batch_size, "allow_noise": arguments.allow_noise}
        repairer = _repairer(arguments, module, matrix, images)
        repaired = repairer.repair(assignment, on_progress=line.update)
        if arguments.reconstruct:
            given = (matrix, repaired, calibration, judges)
            repaired = reconstruct(module, *given, on_block=blocks.update, **how)
        for plan in plans:
            repaired = finetune(module, matrix, repaired, judges, plan, **how)
    return repaired


def show(result: dict[str, Any]) -> str:
    """What was tried and kept, then where the file is; or about how long that would take."""
    if result["dry_run"]:
        return _forecast_text(result)
    width = max(len(step["name"]) for step in result["steps"])
    lines = ["divergence from the float network's outputs, in nats, on images of its own"]
    lines += [
        f"  {step['name']:<{width}}  {step['divergence']:8.4f}  {step['seconds']:6.1f} s"
        f"{'  kept' if step['kept'] else ''}"
        for step in result["steps"]
    ]
    tuned = f", fine-tuned on {n:,}" if (n := result["finetuned_on"]) else ""
    lines.append(
        f"{result['written']}: {result['bytes']:,} bytes, {result['avg_bits']:.2f} bits per "
        f"weight; made with {result['images']:,} and judged on {result['judged_on']:,} training "
        f"images{tuned}, no labels used."
    )
    return "\n".join(lines)


def _forecast_text(result: dict[str, Any]) -> str:
    parts = {
        "rounding, statistics and judging": result["repair_s"],
        "reconstructing blocks": result["reconstruct_s"],
        "fine-tuning": result["finetune_s"],
    }
    lines = [f"About {clock(result['estimated_s'])} on {result['device']}:"]
    lines += [f"  {what:<32}  {clock(seconds)}" for what, seconds in parts.items() if seconds]
    return "\n".join(lines)
