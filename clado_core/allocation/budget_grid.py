"""The least predicted loss within two budgets at once, on a grid of both."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from clado_core.allocation.reach import least_use, most_use
from clado_core.allocation.sharing import ProvenWithin, best_answer
from clado_core.allocation.sweep import MOST_POINTS, OnPoint, budget_grid, default_solver
from clado_core.errors import InputError
from clado_core.problem.allocation_problem import BUDGETS, AllocationProblem
from clado_core.problem.solution import Solution, SolveStatus
from clado_core.records.matrix import SensitivityMatrix
from clado_core.solvers.protocol import Solver

SIZE = "budget_bits"

REACH_S = 1.0
"""Of each proof of what choices can take; where it runs out, the bound so far holds, which was 1e-4
above what a choice takes, at most, on 54 layers of five choices."""


@dataclass(frozen=True, slots=True)
class BudgetGrid:
    """Answers within every pair of a size and a second budget.

    A choice within two budgets is within larger ones, and a bound proven for two budgets holds for
    smaller ones; so what one cell proves is used for the others. The region that choices reach is
    between ``fewest_other`` and ``most_other``, and up to ``most_bits``.

    Args:
        other: The second budget, a field of AllocationProblem such as "budget_bops".
        sizes_bits: Ascending budgets in bits of searched weights, shape (n,).
        limits: Ascending second budgets, shape (m,).
        points: The solution within size i and limit j at [i][j]; None where no choice keeps both.
        fewest_other: Shape (n,): within size i no choice takes less of the second resource.
        most_other: Shape (n,): within size i none takes more, so that larger limits are idle.
        most_bits: Shape (m,): within limit j no choice has more bits, so that larger sizes are
            idle.
    """

    other: str
    sizes_bits: tuple[int, ...]
    limits: tuple[int, ...]
    points: tuple[tuple[Solution | None, ...], ...]
    fewest_other: tuple[int, ...]
    most_other: tuple[int, ...]
    most_bits: tuple[int, ...]

    def __repr__(self) -> str:
        return f"BudgetGrid({self.summary})"

    @property
    def found(self) -> list[Solution]:
        """The solutions within reach, size by size."""
        return [point for row in self.points for point in row if point is not None]

    @property
    def summary(self) -> str:
        """How many cells, how many of them within reach and how many proven, in a line."""
        proven = sum(point.status is SolveStatus.OPTIMAL for point in self.found)
        return (
            f"{len(self.sizes_bits)} sizes × {len(self.limits)} limits on "
            f"{BUDGETS[self.other][1]}, {len(self.found)} within reach, {proven} proven optimal"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values: ``points``, each a solution's with both budgets; ``out_of_reach``, the
        pairs of budgets without one, and whether that is proven; and the ends of the region."""
        points, out = [], []
        for (i, size), (j, limit) in product(enumerate(self.sizes_bits), enumerate(self.limits)):
            budgets, point = {SIZE: size, self.other: limit}, self.points[i][j]
            if point is None:
                out.append(budgets | {"proven": limit < self.fewest_other[i]})
            else:
                points.append(point.to_json() | budgets)
        name = BUDGETS[self.other][0]
        reach = {
            f"fewest_{name}": list(self.fewest_other),
            f"most_{name}": list(self.most_other),
            "most_bits": list(self.most_bits),
        }
        axes = {SIZE: list(self.sizes_bits), self.other: list(self.limits)}
        return axes | {"reach": reach, "out_of_reach": out, "points": points}


def sweep_grid(
    matrix_or_problem: SensitivityMatrix | AllocationProblem,
    /,
    *,
    other: str = "budget_bops",
    points: int = 9,
    solver: Solver | None = None,
    time_limit_s: float | None = None,
    gap_limit: float = 0.0,
    on_progress: OnPoint | None = None,
) -> BudgetGrid:
    """Solve every pair of evenly spaced sizes and evenly spaced second budgets.

    From the largest budgets down: a proven choice that keeps smaller ones is proven there too, so
    only cells where a budget binds anew are solved.

    Args:
        matrix_or_problem: With a problem, its wishes and budgets hold in every cell; those of
            size and ``other``, where set, are the largest.
        other: The second budget, a field of AllocationProblem.
        points: Sizes, and second budgets, 1 (the largest alone) or more.
        solver: A TieredSolver where None, with shifts where that saves time.
        time_limit_s: Per cell.
        gap_limit: Per cell.
        on_progress: Called after every cell.

    Raises:
        InputError: The network does not carry what the second budget limits, or ``other`` is no
            such field.
    """
    _require_two(other, points)
    problem = matrix_or_problem
    if isinstance(problem, SensitivityMatrix):
        problem = AllocationProblem(problem)
    solver = default_solver(problem, points**2) if solver is None else solver
    return _Cells(problem, other, solver, time_limit_s, gap_limit).grid(points, on_progress)


def _require_two(other: str, points: int) -> None:
    if other not in BUDGETS or other == SIZE:
        names = " or ".join(name for name in BUDGETS if name != SIZE)
        raise InputError(f"The second budget of a grid is {names}, not '{other}'.")
    if points**2 > MOST_POINTS:
        raise InputError(
            f"A grid of {points:,} × {points:,} is too large: it may have {MOST_POINTS:,} cells."
        )


def _with(problem: AllocationProblem, budgets: dict[str, Any]) -> AllocationProblem:
    return replace(problem, **budgets)


@dataclass(slots=True)
class _Cells:
    """What is known of all cells so far."""

    problem: AllocationProblem
    other: str
    solver: Solver
    time_limit_s: float | None
    gap_limit: float
    found: list[tuple[tuple[int, ...], Solution]] = field(default_factory=list)
    bounds: list[ProvenWithin] = field(default_factory=list)

    def grid(self, points: int, on_progress: OnPoint | None) -> BudgetGrid:
        """Solve every cell, and say what each budget leaves of the other."""
        problem, other = self.problem, self.other
        sizes, limits = budget_grid(problem, points), budget_grid(problem, points, budget=other)
        within = [_with(problem, {SIZE: size}) for size in sizes]
        fewest = tuple(least_use(each, other, time_limit_s=REACH_S).proven for each in within)
        self.solve_all(sizes, limits, fewest, on_progress)
        most = tuple(most_use(each, other, time_limit_s=REACH_S).proven for each in within)
        below = (_with(problem, {other: limit}) for limit in limits)
        bits = tuple(most_use(each, SIZE, time_limit_s=REACH_S).proven for each in below)
        found = tuple(tuple(self.answer(size, limit) for limit in limits) for size in sizes)
        return BudgetGrid(other, sizes, limits, found, fewest, most, bits)

    def answer(self, size: int, limit: int) -> Solution | None:
        """The best that fits, and the tightest bound that holds."""
        return best_answer((size, limit), self.found, self.bounds)

    def solve_all(
        self,
        sizes: tuple[int, ...],
        limits: tuple[int, ...],
        fewest: tuple[int, ...],
        on_progress: OnPoint | None,
    ) -> None:
        """Solve what is within reach, from the largest budgets down."""
        pairs = list(product(reversed(limits), reversed(list(zip(sizes, fewest, strict=True)))))
        for done, (limit, (size, least)) in enumerate(pairs, start=1):
            if limit >= least:
                self.solve(size, limit)
            if on_progress is not None:
                on_progress(done, len(pairs))

    def solve(self, size: int, limit: int) -> None:
        """Solve a cell, unless what is known proves it."""
        known = self.answer(size, limit)
        if known is not None and _is_enough(known, self.gap_limit):
            return
        problem = _with(self.problem, {SIZE: size, self.other: limit})
        try:
            found = self.solver.solve(
                problem,
                warm_start=None if known is None else known.assignment,
                time_limit_s=self.time_limit_s,
                gap_limit=self.gap_limit,
            )
        except InputError:
            # No choice was found that keeps both: joint choices trade one for the other.
            return
        taken = (found.assignment.size_bits, getattr(found.assignment, BUDGETS[self.other][0]))
        self.found.append((taken, found))
        self.bounds.append(ProvenWithin((size, limit), found.bound, found.solver))


def _is_enough(known: Solution, gap_limit: float) -> bool:
    return known.status is SolveStatus.OPTIMAL or (known.gap is not None and known.gap <= gap_limit)
