"""``evaluate`` with ``--front`` or ``--as``: choices beside each other, rounded and repaired."""

from __future__ import annotations

import argparse
from typing import Any

from clado_core.cli.choices import (
    front_of,
    images_to_json,
    measured_to_json,
    open_bench,
    seen_to_json,
)
from clado_core.cli.problem_options import problem_from
from clado_core.cli.progress import ProgressLine
from clado_core.files.artifact import load
from clado_core.files.assignment_file import read_assignment
from clado_core.files.outcomes import outcomes_path
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.measured_choice import MeasuredChoice
from clado_core.records.names import MEASURED_AS, REPAIRED, ROUNDED, MeasuredAs
from clado_core.records.scheme import bits_to_json

POINTS = 12
"""Choices of a front that are run, unless somebody asks for more."""


def evaluate_choices(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one choice, or those of the front; goes on where it was when it was stopped."""
    matrix = load(arguments.artifact)
    choices = _choices(arguments, matrix)
    run_as = arguments.run_as or ((ROUNDED,) if arguments.assignment else MEASURED_AS)
    bench = open_bench(arguments, matrix)
    samples = bench.source.split(arguments.split)
    runner = bench.runner(samples, split=arguments.split)
    with ProgressLine(f"Evaluating {matrix.name}", "runs") as line:
        measured = runner.measure_all(
            [each.bits for each in choices], run_as, on_progress=line.update
        )
    return {
        "choices": [_described(matrix, *pair) for pair in zip(choices, measured, strict=True)],
        **images_to_json(measured[0][run_as[0]]),
        **seen_to_json(bench, samples),
        "repair": bench.repair_to_json() if REPAIRED in run_as else None,
        "kept_in": str(outcomes_path(arguments.artifact)),
    }


def _choices(arguments: argparse.Namespace, matrix: SensitivityMatrix) -> list[Assignment]:
    if arguments.assignment:
        return [read_assignment(arguments.assignment, matrix)]
    points = arguments.points or POINTS
    front = front_of(arguments, problem_from(arguments, matrix), points=points)
    return [solution.assignment for solution in front.choices(points)]


def _described(
    matrix: SensitivityMatrix, chosen: Assignment, measured: dict[MeasuredAs, MeasuredChoice]
) -> dict[str, Any]:
    return {
        "assignment": {name: bits_to_json(b) for name, b in chosen.by_layer().items()},
        "size_bits": chosen.size_bits,
        "size_bytes": chosen.size_bytes,
        "avg_bits": chosen.avg_bits,
        "predicted_loss_increase": matrix.predicted_loss_increase(chosen.bits),
        **{name: measured_to_json(each) for name, each in measured.items()},
    }


def choices_text(result: dict[str, Any]) -> str:
    """A line per choice, then what the numbers are of."""
    run_as = [name for name in MEASURED_AS if name in result["choices"][0]]
    columns = "".join(f"   {name + ' (drop, 95 %)':<30}" for name in run_as)
    lines = [f"avg bits   MB (10⁶)   predicted loss increase{columns}".rstrip()]
    for each in result["choices"]:
        found = "".join(f"   {_cell(each[name]):<30}" for name in run_as)
        lines.append(
            f"{each['avg_bits']:8.3f}   {each['size_bytes'] / 1e6:8.4g}   "
            f"{each['predicted_loss_increase']:+23.4g}{found}".rstrip()
        )
    lines.append(
        f"Top-1 on {result['n']:,} samples of {result['data']} ({result['split']}), "
        f"{result['float_top1']:.2%} without quantization; drops in percentage points, with "
        "intervals by the images that changed. Predictions speak of rounding to nearest."
    )
    return "\n".join([*lines, *repair_lines(result), f"Kept in {result['kept_in']}."])


def _cell(found: dict[str, Any]) -> str:
    low, high = found["drop_ci95_points"]
    return f"{found['top1']:7.2%} ({found['drop_points']:.2f}, {low:.2f} to {high:.2f})"


def repair_lines(result: dict[str, Any]) -> list[str]:
    """How choices were repaired, and what of the samples they had seen."""
    lines = []
    if how := result["repair"]:
        lines.append(
            f"Repaired as by repair --rounding {how['rounding']} --images {how['images']} --seed "
            f"{how['seed']}, with training images alone, labels unused."
        )
    if result["measured_on"]:
        lines.append(f"{result['measured_on']:,} of the samples were also measured on.")
    if result["repair"] and result["repaired_with"]:
        lines.append(f"{result['repaired_with']:,} of the samples were also repaired with.")
    return lines
