"""Make the network that is shipped: better integers and statistics for a choice, no larger.

Example:
  python -m clado_core solve assets/digits-resnet.clado --avg-bits 2.5 --json > chosen.json
  python -m clado_core repair assets/digits-resnet.clado --assignment chosen.json \\
      --out repaired.safetensors
  python -m clado_core evaluate assets/digits-resnet.clado --repaired repaired.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clado_core.cli.measurement_options import add_device, add_moved_network, add_noise
from clado_core.cli.problem_options import positive_count
from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.files.artifact import load
from clado_core.files.assignment_file import read_assignment
from clado_core.records.calibration import IMAGES, SEED
from clado_core.records.names import ROUNDINGS


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
        default=IMAGES,
        help=f"training images to calibrate with, and as many to judge by (default: {IMAGES})",
    )
    add("--seed", type=int, default=SEED, help="draws them")
    add("--batch-size", type=positive_count, help="samples per forward (default: as of measure)")
    add_device(parser)
    add_noise(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Repair one assignment and write it; labels are not used."""
    if arguments.out.is_dir() or not arguments.out.parent.is_dir():
        raise InputError(f"--out {arguments.out} must be a file in a folder that exists.")
    matrix = load(arguments.artifact)
    assignment = read_assignment(arguments.assignment, matrix)
    data = arguments.data or matrix.provenance.data
    if data is None:
        raise InputError(f"{arguments.artifact} does not say its data: give --data.")
    from clado_core.exports.repaired_file import write_repaired
    from clado_core.networks.measured import load_measured, open_data
    from clado_core.networks.placement import choose_device, default_batch_size, place_for
    from clado_core.repairs.repair import calibration_sets, repair

    device = choose_device(arguments.device)
    model = load_measured(matrix, model=arguments.model, weights=arguments.weights)
    source = open_data(model, data)
    images = calibration_sets(source, arguments.images, seed=arguments.seed)
    place_for(model.module, device, images[0].x)
    with ProgressLine(f"Repairing {matrix.name}", "layers") as line:
        repaired = repair(
            *(model.module, matrix, assignment, *images),
            rounding=arguments.rounding,
            allow_noise=arguments.allow_noise,
            batch_size=arguments.batch_size or default_batch_size(device),
            on_progress=line.update,
        )
    size = write_repaired(arguments.out, matrix, model.module, repaired)
    return {
        "written": str(arguments.out),
        "bytes": size,
        "size_bytes_promised": assignment.size_bytes,
        "avg_bits": assignment.avg_bits,
        "data": data,
        "images": len(images[0]),
        "judged_on": len(images[1]),
        "steps": [asdict(step) for step in repaired.steps],
    }


def show(result: dict[str, Any]) -> str:
    """What was tried and kept, then where the file is."""
    width = max(len(step["name"]) for step in result["steps"])
    lines = ["divergence from the float network's outputs, in nats, on images of its own"]
    lines += [
        f"  {step['name']:<{width}}  {step['divergence']:8.4f}  {step['seconds']:6.1f} s"
        f"{'  kept' if step['kept'] else ''}"
        for step in result["steps"]
    ]
    lines.append(
        f"{result['written']}: {result['bytes']:,} bytes, {result['avg_bits']:.2f} bits per "
        f"weight; made with {result['images']:,} and judged on {result['judged_on']:,} training "
        "images, no labels used."
    )
    return "\n".join(lines)
