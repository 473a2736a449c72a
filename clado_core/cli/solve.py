"""Choose bit-widths for one budget (or several at once).

Example:
  python -m clado_core solve assets/digits-resnet.clado --avg-bits 4 --pin fc=8
"""

from __future__ import annotations

import argparse
from typing import Any

from clado_core.baselines import METHODS, allocate
from clado_core.cli.problem_options import add_budgets, add_effort, add_wishes, problem_from
from clado_core.solvers.scip import ScipSolver
from clado_core.store import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("artifact", metavar="ARTIFACT", help="a .clado file")
    add_budgets(parser)
    add_wishes(parser)
    parser.add_argument("--method", choices=METHODS, default="clado", help="what is minimized")
    parser.add_argument(
        "--psd",
        action="store_true",
        help="paper mode: minimize the positive semidefinite projection of the matrix",
    )
    add_effort(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Solve and describe the solution."""
    problem = problem_from(arguments, load(arguments.artifact))
    solution = allocate(
        problem,
        method=arguments.method,
        psd=arguments.psd,
        solver=ScipSolver(),
        time_limit_s=arguments.time_limit,
        gap_limit=arguments.gap,
    )
    return solution.to_json() | {"status_sentence": solution.status.value}


def show(result: dict[str, Any]) -> str:
    """The numbers, then one line per layer."""
    gap = "no bound" if result["gap"] is None else f"gap {result['gap']:.2%}"
    lines = [
        f"{result['status_sentence']} ({gap}, {result['solver']}, {result['runtime_s']:.2f} s)",
        f"predicted loss increase {result['predicted_loss_increase']:+.4g}",
        f"{result['avg_bits']:.3f} bits on average, {result['size_bytes'] / 1e6:.4g} MB "
        "(10⁶ bytes) for the whole file",
    ]
    width = max(map(len, result["assignment"]))
    lines += [f"  {name:<{width}}  {bits}" for name, bits in result["assignment"].items()]
    return "\n".join(lines)
