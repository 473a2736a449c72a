"""Solve a grid of budgets, in one process or in several."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeAlias

import numpy as np

from clado_core.allocation.frontier import Frontier
from clado_core.allocation.reach import least_use
from clado_core.errors import InputError
from clado_core.problem.allocation_problem import BUDGETS, AllocationProblem
from clado_core.problem.solution import Solution
from clado_core.records.matrix import SensitivityMatrix
from clado_core.solvers.protocol import Solver
from clado_core.solvers.shifts import DEFAULT_SIZES, compute_shifts
from clado_core.solvers.tiered import TieredSolver

MOST_POINTS = 10**5
"""More would take days, and their budgets alone the memory."""

OnPoint: TypeAlias = Callable[[int, int], None]
"""Called with (points done, points in all)."""


def sweep(
    matrix_or_problem: SensitivityMatrix | AllocationProblem,
    /,
    *,
    points: int = 50,
    solver: Solver | None = None,
    time_limit_s: float | None = None,
    gap_limit: float = 0.0,
    jobs: int = 1,
    on_progress: OnPoint | None = None,
) -> Frontier:
    """Solve evenly spaced budgets from the smallest to the largest possible size.

    Args:
        matrix_or_problem: With a problem, its pins, ties, menus and other budgets hold at every
            point, and its ``budget_bits``, where set, is the largest budget.
        points: How many budgets, 1 (the largest alone) to ``MOST_POINTS``.
        solver: A TieredSolver where None, with shifts where that saves time.
        time_limit_s: Per budget.
        gap_limit: Per budget.
        jobs: Processes to solve in; the points are the same for any number. With more than one, a
            script of yours needs ``if __name__ == "__main__":`` around its call.
        on_progress: Called after every solved budget.
    """
    if jobs < 1:
        raise InputError(f"A sweep needs one process or more, not {jobs}.")
    problem = matrix_or_problem
    if isinstance(problem, SensitivityMatrix):
        problem = AllocationProblem(problem)
    budgets = budget_grid(problem, points)
    solver = default_solver(problem, len(budgets)) if solver is None else solver
    task = _Task(problem, solver, time_limit_s, gap_limit)
    solved: dict[int, Solution] = {}
    for budget, solution in _solve_all(task, budgets, min(jobs, len(budgets))):
        solved[budget] = solution
        if on_progress is not None:
            on_progress(len(solved), len(budgets))
    return Frontier(budgets, tuple(solved[budget] for budget in budgets)).shared()


@dataclass(frozen=True, slots=True)
class _Task:
    """What the budgets of a sweep have in common; it travels to each process once."""

    problem: AllocationProblem
    solver: Solver
    time_limit_s: float | None
    gap_limit: float

    def solve(self, budget: int) -> Solution:
        # Each budget on its own: starting from its neighbour's answer was measured to save nothing.
        return self.solver.solve(
            dataclasses.replace(self.problem, budget_bits=budget),
            time_limit_s=self.time_limit_s,
            gap_limit=self.gap_limit,
        )


def _solve_all(task: _Task, budgets: tuple[int, ...], jobs: int) -> Iterator[tuple[int, Solution]]:
    """Solutions as they come; what a process that was killed leaves open is solved in this one."""
    left = dict.fromkeys(budgets)
    if jobs > 1:
        # Spawned, not forked: the caller may have threads.
        context = get_context("spawn")
        with ProcessPoolExecutor(jobs, context, initializer=_receive, initargs=(task,)) as pool:
            futures = {pool.submit(_solve_received, budget): budget for budget in budgets}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
                    del left[futures[future]]
            except BrokenProcessPool:
                pass
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    for budget in left:
        yield budget, task.solve(budget)


_received: list[_Task] = []


def _receive(task: _Task) -> None:
    _received.append(task)


def _solve_received(budget: int) -> Solution:
    return _received[-1].solve(budget)


def default_solver(problem: AllocationProblem, n_budgets: int, /) -> Solver:
    """What solves so many budgets: with shifts where that saves time."""
    if n_budgets <= DEFAULT_SIZES or problem.matrix.n_bits < 2:
        return TieredSolver()
    return TieredSolver(compute_shifts(problem.matrix))


def budget_grid(
    problem: AllocationProblem, points: int, /, *, budget: str = "budget_bits"
) -> tuple[int, ...]:
    """Evenly spaced distinct budgets, the least and the most that choices can take included.

    Args:
        problem: Its other budgets hold; its own, where set, is the largest.
        points: How many, 1 (the largest alone) to ``MOST_POINTS``.
        budget: Which budget, a field of AllocationProblem.
    """
    if not 1 <= points <= MOST_POINTS:
        raise InputError(f"A frontier needs one point or more, at most {MOST_POINTS:,}: {points}.")
    measure = BUDGETS[budget][0]
    smallest = getattr(least_use(problem, budget).assignment, measure)
    largest = getattr(problem.extremes(measure)[1], measure)
    if (most := problem.budgets.get(budget)) is not None:
        largest = min(largest, most)
    grid = np.linspace(smallest, largest, points) if points > 1 else np.array([largest])
    return tuple(sorted({int(b) for b in grid} | {largest}))
