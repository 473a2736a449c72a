"""Choose bit-widths for one budget (or several at once), or for a largest loss or drop of accuracy.

Example:
  python -m clado_core solve assets/digits-resnet.clado --avg-bits 4 --pin head=8
  python -m clado_core solve assets/digits-resnet.clado --avg-bits 3 --refine 8
  python -m clado_core solve assets/digits-resnet.clado --max-loss 0.05
  python -m clado_core solve my.clado --max-drop 1.0
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from clado_core.allocation.bootstrap import bootstrap_choices, lacks_spread
from clado_core.allocation.k_best import k_best, price_of_pin
from clado_core.allocation.methods import allocate
from clado_core.allocation.stored import load_shifts
from clado_core.cli.max_loss import add_max_loss, within_loss
from clado_core.cli.measurement_options import add_noise
from clado_core.cli.problem_options import (
    add_budgets,
    add_effort,
    add_wishes,
    positive_count,
    problem_from,
)
from clado_core.cli.progress import ProgressLine
from clado_core.cli.smallest import add_max_drop, require_alone, smallest
from clado_core.cli.solve_text import show as show
from clado_core.errors import InputError
from clado_core.files.artifact import load
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.solution import Solution, SolveStatus
from clado_core.records.coverage import noise_of
from clado_core.records.names import METHODS
from clado_core.records.scheme import bits_to_json
from clado_core.records.trust import doubt, prediction_error
from clado_core.solvers import (
    ConvexifyingShifts,
    DaqpSolver,
    LocalSearchSolver,
    ScipSolver,
    Solver,
    TieredSolver,
    Toulbar2Solver,
    toulbar2,
)

QUICK_CANDIDATES, QUICK_DRAWS = 300, 40
"""Up to this many candidates (layers × bit-widths) so many draws take about a second."""

SOLVERS = ("tiered", "scip", "daqp", "toulbar2", "local-search")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("artifact", metavar="ARTIFACT", help="a .clado file")
    add_budgets(parser)
    add_wishes(parser)
    add("--method", choices=METHODS, default="clado", help="what is minimized")
    add(
        "--psd",
        action="store_true",
        help="paper mode: minimize the positive semidefinite projection of the matrix",
    )
    add_effort(parser)
    add(
        "--solver",
        choices=SOLVERS,
        default="tiered",
        help="tiered: local search answers, DAQP proves, SCIP takes over where DAQP is slow",
    )
    _add_further_answers(parser)
    _add_refinement(parser)
    add_max_loss(parser)
    add_max_drop(parser)


def _add_further_answers(parser: argparse.ArgumentParser) -> None:
    """Add ``--prices``, ``--k-best`` and ``--bootstrap``."""
    add = parser.add_argument
    add("--prices", action="store_true", help="also say what each pin costs")
    add(
        "--k-best",
        type=positive_count,
        default=1,
        metavar="K",
        help="also list the K best assignments",
    )
    add(
        "--bootstrap",
        type=positive_count,
        metavar="N",
        help="also say how often each layer keeps its bits in N draws of the measured samples",
    )


def _add_refinement(parser: argparse.ArgumentParser) -> None:
    """Add ``--refine`` and what it runs."""
    add = parser.add_argument
    add(
        "--refine",
        type=positive_count,
        metavar="K",
        help="run the K best and their neighbours, and choose by measured loss",
    )
    add("--model", help="to run choices: the network, where the artifact does not name it")
    add("--weights", help="to run choices: the weights it was measured with")
    add("--data", help="to run choices: the data it was measured on, such as cifar10:FOLDER")
    add_noise(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Solve and describe the solution."""
    require_alone(arguments)
    problem = problem_from(arguments, load(arguments.artifact))
    if arguments.max_drop is not None:
        solution, found = smallest(arguments, problem)
        return _described(problem, solution) | {"smallest": found}
    whole_matrix = arguments.method == "clado" and not arguments.psd
    extra = arguments.prices or arguments.k_best > 1 or arguments.refine
    if extra and not whole_matrix:
        raise InputError("--prices, --k-best and --refine are for the method clado without --psd.")
    shifts = load_shifts(arguments.artifact) if whole_matrix else None
    if arguments.max_loss is not None:
        solution, found = within_loss(arguments, problem, _solver(arguments, shifts))
        return _described(problem, solution) | found
    solution = allocate(
        problem,
        method=arguments.method,
        psd=arguments.psd,
        solver=_solver(arguments, shifts),
        time_limit_s=arguments.time_limit,
        gap_limit=arguments.gap,
    )
    return _described(problem, solution) | _extras(arguments, problem, solution, shifts)


def _described(problem: AllocationProblem, solution: Solution) -> dict[str, Any]:
    return solution.to_json() | {
        "noise": noise_of(problem.matrix),
        "status_sentence": solution.status.value,
        "budgets": problem.budgets,
        "rules": problem.rules,
        "pins": {name: bits_to_json(bits) for name, bits in problem.pins.items()},
        "missing": _missing(solution),
        **_trust(problem, solution),
    }


def _missing(solution: Solution) -> str | None:
    """What might have proven an open answer, and is not there."""
    is_open = solution.status is SolveStatus.TIME_LIMIT
    return toulbar2.MISSING if is_open and not toulbar2.is_installed() else None


def _extras(
    arguments: argparse.Namespace,
    problem: AllocationProblem,
    solution: Solution,
    shifts: ConvexifyingShifts | None,
) -> dict[str, Any]:
    """What was asked for beside the solution, and how many layers keep their bits."""
    result: dict[str, Any] = {}
    if arguments.prices:
        result["prices"] = _prices(problem, _solver(arguments, shifts))
    if arguments.k_best > 1:
        ranked = k_best(
            problem,
            k=arguments.k_best,
            shifts=shifts,
            time_limit_s=arguments.time_limit,
        )
        result["k_best"] = [each.to_json() for each in ranked]
    if arguments.bootstrap:
        result |= _kept(problem, arguments.bootstrap)
    elif solution.status is SolveStatus.OPTIMAL and len(problem.matrix.G) <= QUICK_CANDIDATES:
        result["layers_kept"] = _layers_kept(problem)
    if arguments.refine:
        result["refined"] = _refined(arguments, problem, shifts)
    return result


def _trust(problem: AllocationProblem, solution: Solution) -> dict[str, Any]:
    bits = solution.assignment.bits
    return {
        "standard_error": prediction_error(problem.matrix, bits),
        "doubt": doubt(problem.matrix, bits),
    }


def _layers_kept(problem: AllocationProblem) -> float | None:
    """Mean share of draws in which a layer keeps its bits, by descents alone; None where nothing
    is known of the spread."""
    if lacks_spread(problem.matrix):
        return None
    draw, descents = np.random.default_rng(0), LocalSearchSolver(n_walks=0)
    found = bootstrap_choices(problem, draw, n_resamples=QUICK_DRAWS, solver=descents)
    return float(found.kept.mean())


def _kept(problem: AllocationProblem, draws: int) -> dict[str, Any]:
    """Of each layer, the share of the draws in which local search gives it the same bits; and what
    the draws do not vary."""
    found = bootstrap_choices(problem, np.random.default_rng(0), n_resamples=draws)
    kept = dict(zip(problem.matrix.layers.names, found.kept.tolist(), strict=True))
    return {"kept": kept, "kept_caveat": found.caveat}


def _refined(
    arguments: argparse.Namespace, problem: AllocationProblem, shifts: ConvexifyingShifts | None
) -> dict[str, Any]:
    """The assignment of least measured loss, and what that is."""
    from clado_core.evaluation.refine import refine, sensitivity_evaluator

    evaluator = sensitivity_evaluator(
        problem.matrix,
        model=arguments.model,
        weights=arguments.weights,
        data=arguments.data,
        artifact=Path(arguments.artifact),
        allow_noise=arguments.allow_noise,
    )
    with ProgressLine(f"Refining {problem.matrix.name}", "assignments") as line:
        found = refine(
            problem, evaluator, k=arguments.refine, shifts=shifts, on_progress=line.update
        )
    chosen = found.assignment
    return {
        "assignment": {name: bits_to_json(b) for name, b in chosen.by_layer().items()},
        "loss": found.loss,
        "predicted_best_loss": found.predicted_best_loss,
        "predicted_loss_increase": problem.matrix.predicted_loss_increase(chosen.bits),
        "size_bytes": chosen.size_bytes,
        "avg_bits": chosen.avg_bits,
        "evaluated": found.evaluated,
        "screened": found.screened,
    }


def _solver(arguments: argparse.Namespace, shifts: ConvexifyingShifts | None) -> Solver:
    if arguments.solver == "scip":
        return ScipSolver()
    if arguments.solver == "daqp":
        return DaqpSolver()
    if arguments.solver == "toulbar2":
        return Toulbar2Solver()
    if arguments.solver == "local-search":
        return LocalSearchSolver()
    return TieredSolver(shifts, confirm=arguments.confirm)


def _prices(problem: AllocationProblem, solver: Solver) -> list[dict[str, Any]]:
    prices = [
        price_of_pin(problem, name, bits, solver=solver) for name, bits in problem.pins.items()
    ]
    return [
        {
            "layer": price.layer,
            "bits": price.bits,
            "predicted_loss_increase": price.predicted_loss_increase,
            "size_bits": price.size_bits,
        }
        for price in prices
    ]
