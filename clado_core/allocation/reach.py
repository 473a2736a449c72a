"""How little and how much of one resource choices can take within the limits on the others."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from clado_core.problem.allocation_problem import BUDGETS, AllocationProblem
from clado_core.problem.program import resource_costs
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.solvers.tiered import TieredSolver

LEAST, MOST = 1, -1


@dataclass(frozen=True, slots=True)
class Use:
    """An end of what choices take of a resource.

    Args:
        assignment: A choice at that end.
        proven: No choice takes less (or more): what this one takes, where that is proven to be
            the end.
    """

    assignment: Assignment
    proven: int


def least_use(
    problem: AllocationProblem, budget: str, /, *, time_limit_s: float | None = None
) -> Use:
    """The least of a resource that a choice within all of the problem's budgets takes.

    With joint choices, that is not the lowest choice of every layer: fewer bits of weights can
    cost bit operations. It is a linear problem, which HiGHS proves.

    Args:
        problem: Its wishes and budgets hold.
        budget: The field of AllocationProblem that limits the resource, such as "budget_bops".
        time_limit_s: Of the proof.

    Raises:
        InputError: No choice keeps all budgets.
    """
    return _end(problem, budget, LEAST, time_limit_s)


def most_use(
    problem: AllocationProblem, budget: str, /, *, time_limit_s: float | None = None
) -> Use:
    """The most of a resource that a choice within all of the problem's budgets takes.

    See ``least_use``.
    """
    return _end(problem, budget, MOST, time_limit_s)


def _end(problem: AllocationProblem, budget: str, sign: int, time_limit_s: float | None) -> Use:
    measure = BUDGETS[budget][0]
    extreme = problem.extremes(measure)[0 if sign == LEAST else 1]
    if problem.is_feasible(extreme):
        return Use(extreme, getattr(extreme, measure))
    costs, unit = resource_costs(problem.matrix, budget), unit_of(problem.matrix, budget)
    # In whole units, so that a bound can be rounded to the next whole number.
    above = (costs - costs.min(axis=1, keepdims=True)) // unit
    losses = np.diag((sign * above).ravel().astype(np.float64))
    linear = replace(problem, matrix=problem.matrix.with_G(losses))
    found = TieredSolver(race=False).solve(linear, time_limit_s=time_limit_s)
    taken = getattr(found.assignment, measure)
    if not math.isfinite(found.bound):
        return Use(found.assignment, getattr(extreme, measure))
    open_units = round(found.objective) - math.ceil(found.bound)
    return Use(found.assignment, taken - sign * unit * open_units)


def unit_of(matrix: SensitivityMatrix, budget: str, /) -> int:
    """The largest number of which all differences of what choices take of a resource are multiples.

    Args:
        matrix: Its layers and bit-widths.
        budget: The field of AllocationProblem that limits the resource.
    """
    costs = resource_costs(matrix, budget)
    return int(np.gcd.reduce(costs - costs[:, :1], axis=None)) or 1
