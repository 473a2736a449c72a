"""``solve --max-loss``: the smallest size whose predicted loss increase is at most so much."""

from __future__ import annotations

import argparse
import math
from typing import Any

from clado_core.allocation.reach import least_use
from clado_core.allocation.smallest_size import SmallestSize, smallest_size
from clado_core.cli.problem_options import number
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.solution import Solution, SolveStatus
from clado_core.solvers import Solver

OPEN = "Best of its size, which is not proven to be the smallest."


def add_max_loss(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-loss``."""
    parser.add_argument(
        "--max-loss",
        type=number,
        metavar="X",
        help="instead of a budget: the smallest size whose predicted loss increase is at most X, "
        "proven; other limits hold, and --time-limit is for all of it",
    )


def within_loss(
    arguments: argparse.Namespace, problem: AllocationProblem, solver: Solver
) -> tuple[Solution, dict[str, Any]]:
    """The choice, and what to say of smaller ones: ``within_loss``, and a status where open."""
    found = smallest_size(
        problem, max_loss=arguments.max_loss, solver=solver, time_limit_s=arguments.time_limit
    )
    result: dict[str, Any] = {"within_loss": _described(problem, found)}
    if not found.is_proven and found.solution.status is SolveStatus.OPTIMAL:
        # Best of its size it may be; what was asked for is the smallest size.
        result |= {"status": SolveStatus.HEURISTIC.code, "status_sentence": OPEN}
    return found.solution, result


def _described(problem: AllocationProblem, found: SmallestSize) -> dict[str, Any]:
    weights = problem.matrix.layers.total_weights
    says_nothing = found.too_few_bits < least_use(problem, "budget_bits").assignment.size_bits
    return {
        "max_loss": found.max_loss,
        "proven": found.is_proven,
        "size_bits": found.solution.assignment.size_bits,
        "too_few_bits": None if says_nothing else found.too_few_bits,
        "too_few_avg_bits": None if says_nothing else found.too_few_bits / weights,
    }


def within_loss_lines(result: dict[str, Any]) -> list[str]:
    """What is proven about smaller sizes."""
    asked, too_few = f"at most {result['max_loss']:g}", result["too_few_avg_bits"]
    if result["proven"]:
        return [f"Proven: no choice of fewer bits of searched weights predicts {asked}."]
    lines = ["Not proven to be the smallest; more time (--time-limit) may tell."]
    if too_few is not None:
        # Rounded down: what is shown is proven too.
        shown = math.floor(1000 * too_few) / 1000
        lines.append(f"Proven: no choice of {shown:.3f} bits on average or fewer predicts {asked}.")
    return lines
