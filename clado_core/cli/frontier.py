"""Solve a grid of budgets: the trade-off between size, predicted loss and, if asked, operations.

Example:
  python -m clado_core frontier assets/digits-resnet.clado --points 30 --jobs 2 --out front.json
  python -m clado_core frontier assets/digits-resnet.clado --grid bops
"""

from __future__ import annotations

import argparse
from typing import Any

from clado_core.allocation.stored import load_shifts, save_frontier
from clado_core.allocation.sweep import sweep
from clado_core.cli.budget_grid import (
    GRID_POINTS,
    add_doubts,
    add_grid,
    grid_table,
    within_both,
)
from clado_core.cli.problem_options import (
    add_effort,
    add_wishes,
    positive_count,
    problem_from,
)
from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.files.artifact import load
from clado_core.records.trust import kind_of_doubt
from clado_core.solvers import TieredSolver

POINTS = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("artifact", metavar="ARTIFACT", help="a .clado file")
    parser.add_argument(
        "--points",
        type=positive_count,
        metavar="N",
        help=f"budgets to solve (default: {POINTS}; with --grid, of each kind: {GRID_POINTS})",
    )
    parser.add_argument(
        "--jobs", type=positive_count, default=1, metavar="N", help="processes to solve in"
    )
    add_grid(parser)
    parser.add_argument("--out", metavar="FILE", help="also write the points to a JSON file")
    parser.add_argument(
        "--store",
        action="store_true",
        help="keep the points beside the artifact, where the dashboard finds them",
    )
    add_wishes(parser)
    add_effort(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Sweep the budgets; with --out or --store also keep the result."""
    problem = problem_from(arguments, load(arguments.artifact))
    if arguments.grid is not None:
        return within_both(arguments, problem)
    if arguments.store and (problem.pins or problem.ties or problem.min_bits or problem.allowed):
        raise InputError(
            "--store keeps the frontier of the network as it is; with wishes use --out FILE."
        )
    with ProgressLine(f"Frontier of {problem.matrix.name}", "budgets") as line:
        frontier = sweep(
            problem,
            points=arguments.points or POINTS,
            solver=TieredSolver(load_shifts(arguments.artifact), confirm=arguments.confirm),
            time_limit_s=arguments.time_limit,
            gap_limit=arguments.gap,
            jobs=arguments.jobs,
            on_progress=line.update,
        )
    if arguments.out:
        save_frontier(frontier, arguments.artifact, arguments.out)
    if arguments.store:
        save_frontier(frontier, arguments.artifact)
    result = frontier.to_json()
    add_doubts(result["points"], frontier.points, problem.matrix)
    return result


def show(result: dict[str, Any]) -> str:
    """One line per point, or a table of two budgets."""
    if "reach" in result:
        return grid_table(result)
    lines = ["avg bits   MB (10⁶)   predicted loss increase   gap       status"]
    for point in result["points"]:
        gap = "none" if point["gap"] is None else f"{point['gap']:.2%}"
        lines.append(
            f"{point['avg_bits']:8.3f}   {point['size_bytes'] / 1e6:8.4g}   "
            f"{point['predicted_loss_increase']:+23.4g}   {gap:<8}  {point['status']}"
            f"{'  ' + kind_of_doubt(point['doubt']) if 'doubt' in point else ''}"
        )
    return "\n".join(lines)
