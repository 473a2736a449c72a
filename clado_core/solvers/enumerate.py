"""Brute force: the oracle that tests compare every other solver with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core._typing import Choices
from clado_core.errors import InputError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import Program
from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment
from clado_core.solvers.incumbent import NO_ASSIGNMENT, Incumbent
from clado_core.solvers.protocol import OnProgress

MAX_ASSIGNMENTS = 10**7
"""More than this many would take minutes."""

CHUNK_ENTRIES = 10**6
"""Objectives held in memory at a time."""


@dataclass(frozen=True, slots=True)
class EnumerationSolver:
    """Tries every assignment; exact for any G, and ties go to the smallest bit-widths."""

    def solve(
        self,
        problem: AllocationProblem,
        /,
        *,
        warm_start: Assignment | None = None,
        time_limit_s: float | None = None,
        gap_limit: float = 0.0,
        on_progress: OnProgress | None = None,
    ) -> Solution:
        """See Solver.solve; both limits are ignored, the answer is always proven.

        Raises:
            InputError: There are more than ``MAX_ASSIGNMENTS`` assignments, or none keeps all
                budgets.
        """
        incumbent = Incumbent(problem, on_progress=on_progress, warm_start=warm_start)
        choice, _ = best_choice(incumbent.program)
        incumbent.offer(choice)
        incumbent.prove(incumbent.objective)
        return incumbent.solution("enumeration")


def best_choice(program: Program, /) -> tuple[Choices, float]:
    """The best feasible choice and its objective.

    The decisions are cut in two halves u and w, so that the objectives of all pairs are one
    matrix product: f(u, w) = u'Qu + w'Qw + 2·u'Q_uw·w.
    """
    n_assignments = program.n_assignments
    if n_assignments > MAX_ASSIGNMENTS:
        raise InputError(
            f"There are {n_assignments:.1e} assignments; enumeration is for at most "
            f"{MAX_ASSIGNMENTS:.0e}: use another solver."
        )
    half = program.n_decisions // 2
    left, right = _all_choices(program.n_choices[:half]), _all_choices(program.n_choices[half:])
    u, w = _one_hot(program, left, 0), _one_hot(program, right, half)
    right_value = np.einsum("sa,ab,sb->s", w, program.Q, w)
    right_cost = w @ program.costs.T

    best, best_value = (0, 0), math.inf
    step = max(1, CHUNK_ENTRIES // len(right))
    for start in range(0, len(left), step):
        chunk = u[start : start + step]
        value = np.einsum("sa,ab,sb->s", chunk, program.Q, chunk)[:, None] + right_value
        value += 2 * chunk @ program.Q @ w.T
        for k, limit in enumerate(program.limits):
            value[(chunk @ program.costs[k])[:, None] + right_cost[:, k] > limit] = math.inf
        row, column = np.unravel_index(int(value.argmin()), value.shape)
        if value[row, column] < best_value:
            best, best_value = (start + int(row), int(column)), float(value[row, column])
    if best_value == math.inf:
        raise InputError(NO_ASSIGNMENT)
    choice = np.concatenate([left[best[0]], right[best[1]]])
    return choice, program.objective(choice)


def ranked_choices(program: Program, k: int, limit: float, /) -> list[Choices]:
    """The k best feasible choices up to an objective, best first, by looking at all of them.

    Args:
        program: Of few enough assignments.
        k: At most so many.
        limit: The largest objective.
    """
    choices = _all_choices(program.n_choices)
    variables = choices + program.offsets[:-1]
    kept = np.ones(len(choices), dtype=np.bool_)
    for cost, most in zip(program.costs, program.limits, strict=True):
        kept &= cost[variables].sum(axis=1) <= most
    feasible = choices[kept]
    # Each is summed as it will be shown: one-hot products would lose small entries beside large.
    values = np.array([program.objective(choice) for choice in feasible])
    order = [i for i in np.argsort(values, kind="stable").tolist() if values[i] <= limit]
    return [feasible[i] for i in order[:k]]


def _all_choices(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Every combination of the given menus, shape (Π sizes, decisions)."""
    grids = np.indices(tuple(sizes.tolist()), dtype=np.int64)
    return grids.reshape(len(sizes), math.prod(sizes.tolist())).T


def _one_hot(
    program: Program, choices: npt.NDArray[np.int64], first: int
) -> npt.NDArray[np.float64]:
    """Choices of the decisions from ``first`` on, as rows of binaries, shape (s, v)."""
    rows = np.zeros((len(choices), program.n_variables))
    variables = choices + program.offsets[first : first + choices.shape[1]]
    np.put_along_axis(rows, variables, 1.0, axis=1)
    return rows
