"""Solve a grid of budgets: the trade-off between size and predicted loss.

Example:
  python -m clado_core frontier assets/digits-resnet.clado --points 30 --out front.json
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from clado_core.cli.problem_options import add_effort, add_wishes, problem_from
from clado_core.cli.progress import ProgressLine
from clado_core.frontier import sweep
from clado_core.solvers.scip import ScipSolver
from clado_core.store import artifact_digest, load, write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("artifact", metavar="ARTIFACT", help="a .clado file")
    parser.add_argument("--points", type=int, default=50, metavar="N", help="budgets to solve")
    parser.add_argument("--out", metavar="FILE", help="also write the points to a JSON file")
    add_wishes(parser)
    add_effort(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Sweep the budgets; with --out also store the result."""
    problem = problem_from(arguments, load(arguments.artifact))
    with ProgressLine(f"Frontier of {problem.matrix.name}", "budgets") as line:
        frontier = sweep(
            problem,
            points=arguments.points,
            solver=ScipSolver(),
            time_limit_s=arguments.time_limit,
            gap_limit=arguments.gap,
            on_progress=line.update,
        )
    result = {"artifact_sha256": artifact_digest(arguments.artifact), **frontier.to_json()}
    if arguments.out:
        write_atomically(arguments.out, json.dumps(result).encode())
    return result


def show(result: dict[str, Any]) -> str:
    """One line per point."""
    lines = ["avg bits   MB (10⁶)   predicted loss increase   gap       status"]
    for point in result["points"]:
        gap = "none" if point["gap"] is None else f"{point['gap']:.2%}"
        lines.append(
            f"{point['avg_bits']:8.3f}   {point['size_bytes'] / 1e6:8.4g}   "
            f"{point['predicted_loss_increase']:+23.4g}   {gap:<8}  {point['status']}"
        )
    return "\n".join(lines)
