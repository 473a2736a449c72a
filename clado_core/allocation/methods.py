"""Other methods' choices on the same problem, scored on the same measured matrix."""

from __future__ import annotations

import dataclasses
import time
from typing import Unpack

import numpy as np

from clado_core.errors import InfeasibleBudgetError, InputError
from clado_core.problem.allocation_problem import BUDGETS, AllocationProblem
from clado_core.problem.solution import Solution, solution_of
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import (
    BLOCK,
    CLADO,
    DIAGONAL,
    MEASURED_ALONG,
    METHODS,
    RANDOM,
    UNIFORM,
)
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.solvers.protocol import SolveOptions, Solver
from clado_core.solvers.tiered import TieredSolver


def allocate(
    problem: AllocationProblem,
    /,
    *,
    method: str = CLADO,
    solver: Solver | None = None,
    psd: bool = False,
    seed: int = 0,
    **options: Unpack[SolveOptions],
) -> Solution:
    """Choose bit-widths by a method, and score the choice on the measured G.

    Objective, bound and status are always about x'Gx on the problem's own matrix. A method that
    minimizes something else proves nothing about it, however well it was minimized: its bound is
    −inf and its status "heuristic".

    Args:
        problem: The budgets and wishes all methods obey.
        method: "clado" (the whole matrix), "diagonal" (no cross-layer terms), "block" (those
            inside a block only), "hawq" and "mpqco" (their own sensitivities, measured along),
            "uniform" (the largest common bit-width that fits), "random".
        solver: For all but the last two; a TieredSolver where None.
        psd: Minimize the positive semidefinite projection instead, as the paper does.
        seed: For "random".
        options: As for Solver.solve: ``warm_start``, ``time_limit_s``, and, in terms of what is
            minimized, ``gap_limit`` and ``on_progress``.

    Raises:
        InputError: Unknown method, sensitivities that were not measured, or wishes that no common
            bit-width satisfies.
        InfeasibleBudgetError: No common bit-width fits the budgets.
    """
    if method in (UNIFORM, RANDOM):
        return _without_solver(problem, method, seed)
    surrogate = surrogate_matrix(problem.matrix, method=method, psd=psd)
    solver = TieredSolver() if solver is None else solver
    solved = solver.solve(dataclasses.replace(problem, matrix=surrogate), **options)
    if np.array_equal(surrogate.G, problem.matrix.G):
        return dataclasses.replace(solved, method=method)
    return unproven(problem.matrix, solved, f"{method}-psd" if psd else method)


def surrogate_matrix(
    matrix: SensitivityMatrix, /, *, method: str, psd: bool = False
) -> SensitivityMatrix:
    """What a method minimizes; the matrix itself for "clado"."""
    if method == CLADO:
        surrogate = matrix
    elif method == DIAGONAL:
        surrogate = matrix.diagonal_only()
    elif method == BLOCK:
        surrogate = matrix.within_blocks()
    elif method in MEASURED_ALONG:
        surrogate = _additive(matrix, method)
    else:
        raise InputError(f"Unknown method '{method}': choose one of {', '.join(METHODS)}.")
    return surrogate.project_psd() if psd else surrogate


def _additive(matrix: SensitivityMatrix, method: str) -> SensitivityMatrix:
    if method not in matrix.diagonals:
        raise InputError(
            f"'{matrix.name}' has no {method} sensitivities: measure {method} along with it."
        )
    G = np.diag(matrix.diagonals[method].ravel())
    return matrix.with_G(G)


def uniform(problem: AllocationProblem, /) -> Assignment:
    """The largest bit-width that all layers can share within the budgets.

    Pinned layers keep their bit-width; every other layer must allow the common one.

    Raises:
        InputError: The menus have no bit-width in common.
        InfeasibleBudgetError: Even the smallest common bit-width exceeds a budget.
    """
    groups = problem.groups()
    pinned = {i: menu[0] for members, menu in groups if len(menu) == 1 for i in members}
    menus = [set(menu) for _, menu in groups if len(menu) > 1] or [set(problem.matrix.bit_widths)]
    common = sorted(set.intersection(*menus))
    if not common:
        raise InputError("The layers' menus have no bit-width in common, so none can be uniform.")
    n_layers = problem.matrix.n_layers
    candidates = [
        problem.assignment(tuple(pinned.get(i, b) for i in range(n_layers))) for b in common
    ]
    feasible = [candidate for candidate in candidates if problem.is_feasible(candidate)]
    if feasible:
        return feasible[-1]
    raise _no_uniform(problem, candidates)


def random(problem: AllocationProblem, rng: np.random.Generator, /) -> Assignment:
    """A random assignment that uses up the budget.

    From the smallest bit-widths, decisions are raised one step at a time in random order while
    that fits.
    """
    groups = problem.groups()
    start = problem.extremes()[0]
    if not problem.is_feasible(start):
        # With joint choices, the fewest bits can break a limit on bit operations.
        start = LocalSearchSolver().solve(problem).assignment
    bits = np.array(start.bits)
    level = [menu.index(start.bits[members[0]]) for members, menu in groups]
    open_groups = [k for k, (_, menu) in enumerate(groups) if level[k] + 1 < len(menu)]
    while open_groups:
        k = open_groups[int(rng.integers(len(open_groups)))]
        members, menu = groups[k]
        raised = bits.copy()
        raised[list(members)] = menu[level[k] + 1]
        if problem.is_feasible(problem.assignment(tuple(raised.tolist()))):
            bits, level[k] = raised, level[k] + 1
        if level[k] + 1 == len(menu) or not (bits == raised).all():
            open_groups.remove(k)
    return problem.assignment(tuple(bits.tolist()))


def unproven(matrix: SensitivityMatrix, solved: Solution, method: str, /) -> Solution:
    """A choice that minimizes something else, in terms of the measured matrix: proves nothing."""
    return solution_of(
        matrix,
        solved.assignment,
        solver=solved.solver,
        method=method,
        runtime_s=solved.runtime_s,
        first_answer_s=solved.first_answer_s,
    )


def _without_solver(problem: AllocationProblem, method: str, seed: int) -> Solution:
    """What "uniform" and "random" choose, scored."""
    started = time.perf_counter()
    if method == UNIFORM:
        assignment = uniform(problem)
    else:
        assignment = random(problem, np.random.default_rng(seed))
    elapsed = time.perf_counter() - started
    return solution_of(problem.matrix, assignment, solver=method, method=method, runtime_s=elapsed)


def _no_uniform(
    problem: AllocationProblem, candidates: list[Assignment]
) -> InfeasibleBudgetError | InputError:
    for name, limit in problem.budgets.items():
        measure, unit = BUDGETS[name]
        smallest, largest = (getattr(candidates[i], measure) for i in (0, -1))
        if limit < smallest:
            return InfeasibleBudgetError(
                f"No uniform bit-width fits a budget of {limit:,} {unit}: the smallest common "
                f"one, {min(candidates[0].bits)} bits, needs {smallest:,}.",
                constraint=name,
                requested=limit,
                minimum=smallest,
                maximum=largest,
            )
    return InputError("No uniform bit-width satisfies all wishes and budgets together.")
