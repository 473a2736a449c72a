"""``frontier --grid``: the least predicted loss within two budgets at once."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clado_core.allocation.budget_grid import sweep_grid
from clado_core.allocation.stored import load_shifts
from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.files.atomic import write_atomically
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.solution import Solution
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.trust import doubt
from clado_core.solvers import TieredSolver

GRIDS = {"bops": "budget_bops"}
"""What a grid can limit beside the size: as users say it, and the field of AllocationProblem."""

GRID_POINTS = 9

BILLION = 1e9
NOT_PROVEN, DOUBTFUL = "*", "?"


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add ``--grid``."""
    parser.add_argument(
        "--grid",
        choices=tuple(GRIDS),
        help="solve every pair of a size and a limit on bit operations, and say which pairs no "
        "choice keeps; cells share what they prove",
    )


def within_both(arguments: argparse.Namespace, problem: AllocationProblem) -> dict[str, Any]:
    """Solve the grid; with --out also keep it."""
    if arguments.store or arguments.jobs > 1:
        given = "--store" if arguments.store else "--jobs"
        why = "keeps a front over sizes" if arguments.store else "is for a front over sizes"
        raise InputError(f"{given} {why}: give --grid without it.")
    with ProgressLine(f"Grid of {problem.matrix.name}", "cells") as line:
        grid = sweep_grid(
            problem,
            other=GRIDS[arguments.grid],
            points=arguments.points or GRID_POINTS,
            solver=TieredSolver(load_shifts(arguments.artifact), confirm=arguments.confirm),
            time_limit_s=arguments.time_limit,
            gap_limit=arguments.gap,
            on_progress=line.update,
        )
    weights = problem.matrix.layers.total_weights
    averages = {
        "avg_bits": [size / weights for size in grid.sizes_bits],
        "most_avg_bits": [bits / weights for bits in grid.most_bits],
    }
    result = grid.to_json() | averages
    add_doubts(result["points"], grid.found, problem.matrix)
    if arguments.out:
        write_atomically(Path(arguments.out), (json.dumps(result) + "\n").encode())
    return result


def add_doubts(
    points: Iterable[dict[str, Any]], solutions: Iterable[Solution], matrix: SensitivityMatrix
) -> None:
    """Say with each point why its predicted loss cannot be true, where something does."""
    for values, solution in zip(points, solutions, strict=True):
        if against := doubt(matrix, solution.assignment.bits):
            values["doubt"] = against


def grid_table(result: dict[str, Any]) -> str:
    """A column for each size, a row for each limit, the largest first."""
    sizes, limits = result["budget_bits"], result["budget_bops"]
    cells = {(p["budget_bits"], p["budget_bops"]): _cell(p) for p in result["points"]}
    reach = result["reach"]
    averages = [f"{avg:.2f} " for avg in result["avg_bits"]]
    rows = [("10⁹ BOPs \\ bits", [*averages, "most "])]
    for limit, most in zip(reversed(limits), reversed(result["most_avg_bits"]), strict=True):
        shown = [cells.get((size, limit), "– ") for size in sizes]
        rows.append((f"{limit / BILLION:.4g}", [*shown, f"{most:.2f} "]))
    for name in ("most", "fewest"):
        taken = [f"{use / BILLION:.4g} " for use in reach[f"{name}_bops"]]
        rows.append((name, [*taken, ""]))
    first = max(len(label) for label, _ in rows)
    width = max(len(cell) for _, row in rows for cell in row)
    lines = [
        "Least predicted loss increase within so many bits on average (columns) and so many bit",
        "operations (rows, in 10⁹); most, fewest: what any choice within one takes of the other.",
    ]
    lines += [
        f"{label:<{first}}  {'  '.join(f'{cell:>{width}}' for cell in row)}".rstrip()
        for label, row in rows
    ]
    return "\n".join(lines + _legend(result, cells.values()))


def _cell(point: dict[str, Any]) -> str:
    marks = NOT_PROVEN if point["status"] != "optimal" else ""
    marks += DOUBTFUL if "doubt" in point else ""
    return f"{point['predicted_loss_increase']:+.3g}{marks or ' '}"


def _legend(result: dict[str, Any], cells: Iterable[str]) -> list[str]:
    shown = "".join(cells)
    lines = []
    if NOT_PROVEN in shown:
        lines.append(f"{NOT_PROVEN} not proven optimal; more time (--time-limit) may tell")
    if DOUBTFUL in shown:
        lines.append(f"{DOUBTFUL} cannot be true, or hardly: --json says why")
    if result["out_of_reach"]:
        sure = all(cell["proven"] for cell in result["out_of_reach"])
        lines.append(f"– no choice keeps both{'' if sure else ', or none was found'}")
    return lines
