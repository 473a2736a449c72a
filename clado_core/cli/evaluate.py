"""Quantize a measured network as an assignment says, and measure its loss and accuracy.

Example:
  python -m clado_core solve assets/digits-resnet.clado --avg-bits 3 --json > chosen.json
  python -m clado_core evaluate assets/digits-resnet.clado --assignment chosen.json
  python -m clado_core evaluate my.clado --front --as rounded,repaired
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clado_core.cli.choices import (
    add_front_from,
    add_repair_settings,
    measured_as_of,
    model_and_data,
)
from clado_core.cli.evaluate_choices import POINTS, choices_text, evaluate_choices
from clado_core.cli.measurement_options import add_device, add_moved_network, add_noise, add_split
from clado_core.cli.problem_options import add_wishes, positive_count
from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.files.artifact import load
from clado_core.files.assignment_file import read_assignment
from clado_core.records.assignment import Assignment
from clado_core.records.coverage import noise_sentence

if TYPE_CHECKING:
    from clado_core.repairs.repaired import Repaired


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``evaluate``."""
    add = parser.add_argument
    add("artifact", type=Path, help="a .clado file")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--assignment", type=Path, help="JSON with each layer's bit-width")
    which.add_argument("--repaired", type=Path, help="what repair wrote, run as it is")
    which.add_argument(
        "--front",
        action="store_const",
        const=True,
        help="choices along the trade-off between size and predicted loss",
    )
    add_front_from(which, of="as --front")
    add("--points", type=positive_count, metavar="N", help=f"of the front (default: {POINTS})")
    add(
        "--as",
        dest="run_as",
        type=measured_as_of,
        metavar="HOW",
        help="rounded, repaired or both as in rounded,repaired; what is measured so is kept beside "
        "the artifact, and nothing is run twice (default: both for --front, else rounded)",
    )
    add_wishes(parser)
    add_repair_settings(parser)
    add_moved_network(parser)
    add("--data", help="default: the data it was measured on")
    add_split(parser, default="held-out")
    add("--batch-size", type=positive_count, help="samples per forward (default: as of measure)")
    add_device(parser)
    add_noise(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Evaluate one choice or several; sizes are part of the answer."""
    _require_fitting(arguments)
    several = _of_front(arguments) or arguments.run_as
    return (evaluate_choices if several else _evaluate)(arguments)


def _evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    matrix = load(arguments.artifact)
    model, source = model_and_data(arguments, matrix)
    from clado_core.evaluation.evaluate import evaluate
    from clado_core.exports.repaired_file import read_repaired
    from clado_core.networks.placement import choose_device, default_batch_size, place_for

    device = choose_device(arguments.device)
    samples = source.split(arguments.split)
    place_for(model.module, device, samples.x)
    shipped: Assignment | Repaired
    if arguments.repaired:
        shipped = read_repaired(arguments.repaired, matrix, model.module)
    else:
        shipped = read_assignment(arguments.assignment, matrix)
    chosen = shipped if isinstance(shipped, Assignment) else shipped.assignment
    with ProgressLine(f"Evaluating {matrix.name}", "batches") as line:
        result = evaluate(
            model.module,
            shipped,
            samples,
            batch_size=arguments.batch_size or default_batch_size(device),
            matrix=matrix,
            source=source,
            allow_noise=arguments.allow_noise,
            on_progress=line.update,
        )
    return {
        **asdict(result),
        "ci95": list(result.ci95),
        "data": samples.name,
        "split": arguments.split,
        "measured_as": "repaired" if arguments.repaired else "rounded",
        "size_bits": chosen.size_bits,
        "size_bytes": chosen.size_bytes,
        "avg_bits": chosen.avg_bits,
    }


def _require_fitting(arguments: argparse.Namespace) -> None:
    """Make sure that the options do not contradict each other."""
    if arguments.repaired and arguments.run_as:
        raise InputError("--repaired runs a repaired file as it is: give it without --as.")
    if arguments.points and not _of_front(arguments):
        raise InputError("--points says how many choices of the front: give it with --front.")
    wishes = (arguments.pin, arguments.tie, arguments.allow, arguments.min_bits)
    if any(wishes) and not _of_front(arguments):
        raise InputError(
            "--pin, --tie, --allow and --min-bits are wishes about the front: give them with "
            "--front."
        )


def _of_front(arguments: argparse.Namespace) -> bool:
    return bool(arguments.front or arguments.front_from)


def show(result: dict[str, Any]) -> str:
    """The result as sentences, or as a table of several choices."""
    if "choices" in result:
        return choices_text(result)
    low, high = result["ci95"]
    return (
        f"Top-1 {result['top1']:.2%} (95 % interval {low:.2%} to {high:.2%}) on {result['n']:,} "
        f"samples of {result['data']} ({result['split']}), as {result['measured_as']}; "
        f"{result['float_top1']:.2%} without quantization.\nLoss {result['loss']:.4f}, "
        f"{result['float_loss']:.4f} without. {result['avg_bits']:.2f} bits per weight, "
        f"{result['size_bytes'] / 1e6:.4f} MB (10⁶ bytes)."
        + "".join(f"\n{line}" for line in (*_seen(result), *_noise(result)))
    )


def _seen(result: dict[str, Any]) -> list[str]:
    """Whether the sensitivities were measured on these very images."""
    if not (count := result["measured_on"]):
        return []
    which = "All" if count == result["n"] else f"{count:,}"
    return [
        f"{which} of these {result['n']:,} images were also measured on, so the choice has seen "
        "them: evaluate on others to know its accuracy."
    ]


def _noise(result: dict[str, Any]) -> list[str]:
    return [noise_sentence(result["noise"])] if result["noise"] else []
