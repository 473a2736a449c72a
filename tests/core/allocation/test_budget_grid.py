"""Two budgets at once, and what choices can take of a resource, against enumeration."""

from __future__ import annotations

from typing import Any

import pytest

import clado_core as cc
from clado_core.allocation.reach import least_use, most_use
from clado_core.problem.allocation_problem import BUDGETS
from tests.core.instances import all_assignments, measured, random_problem, table
from tests.core.solvers.fuzz import TOLERANCE


def _choices(problem: cc.AllocationProblem) -> list[tuple[float, cc.Assignment]]:
    return [(value, problem.assignment(bits)) for value, bits in all_assignments(problem)]


class Counting(cc.TieredSolver):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(race=False)
        object.__setattr__(self, "budgets", [])

    def solve(self, problem: cc.AllocationProblem, /, **options: Any) -> cc.Solution:
        self.budgets.append(problem.budgets)  # type: ignore[attr-defined]
        return super().solve(problem, **options)


@pytest.mark.parametrize("seed", range(30))
def test_every_cell_is_the_optimum_within_both(seed: int) -> None:
    """Of every kind of rule, with joint menus, where fewer bits can be more operations."""
    problem = random_problem(seed)
    choices = _choices(problem)
    grid = cc.sweep_grid(problem, points=3, solver=cc.TieredSolver(race=False))
    for size, row in zip(grid.sizes_bits, grid.points, strict=True):
        for limit, point in zip(grid.limits, row, strict=True):
            within = [v for v, a in choices if a.size_bits <= size and a.bops <= limit]
            if not within:
                assert point is None
                continue
            assert point is not None and point.status is cc.SolveStatus.OPTIMAL
            lost = TOLERANCE * max(abs(min(within)), 1e-3 * point.terms)
            assert abs(point.objective - min(within)) <= lost
            assert point.bound <= min(within) + lost
            chosen = point.assignment
            assert problem.is_feasible(chosen)
            assert chosen.size_bits <= size and chosen.bops <= limit
    for i, size in enumerate(grid.sizes_bits):
        taken = [a.bops for _, a in choices if a.size_bits <= size]
        assert (grid.fewest_other[i], grid.most_other[i]) == (min(taken), max(taken))
    for limit, most in zip(grid.limits, grid.most_bits, strict=True):
        assert most == max(a.size_bits for _, a in choices if a.bops <= limit)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("seed", range(20))
def test_what_choices_take_is_exact(seed: int, budget: str) -> None:
    problem, measure = random_problem(seed), BUDGETS[budget][0]
    taken = [getattr(assignment, measure) for _, assignment in _choices(problem)]
    for use, end in ((least_use, min(taken)), (most_use, max(taken))):
        found = use(problem, budget)
        assert problem.is_feasible(found.assignment)
        assert found.proven == getattr(found.assignment, measure) == end


def test_cells_share_what_they_prove() -> None:
    """Where a budget is idle, and below a cell whose choice keeps it, nothing is solved again."""
    matrix, solver = measured("cifar10-resnet20-per-tensor-248"), Counting()
    grid = cc.sweep_grid(matrix, points=5, solver=solver)
    asked = solver.budgets  # type: ignore[attr-defined]
    assert len(asked) <= 15 and "25 within reach, 25 proven optimal" in repr(grid)
    for i, (size, most) in enumerate(zip(grid.sizes_bits, grid.most_other, strict=True)):
        idle = [limit for limit in grid.limits if limit >= most]
        assert sum(b["budget_bits"] == size and b["budget_bops"] in idle for b in asked) <= 1
        values = [point.objective for point in grid.points[i] if point]
        assert values == sorted(values, reverse=True)
    column = [row[2].objective for row in grid.points if row[2]]
    assert column == sorted(column, reverse=True)


def test_what_no_choice_keeps_is_not_solved() -> None:
    """3a8 takes fewer bits than 4a4, and more bit operations."""
    seed = next(s for s in range(200) if _has_empty_cells(random_problem(s)))
    solver = Counting()
    grid = cc.sweep_grid(random_problem(seed), points=4, solver=solver)
    result = grid.to_json()
    assert result["out_of_reach"] and all(cell["proven"] for cell in result["out_of_reach"])
    assert len(result["out_of_reach"]) + len(result["points"]) == 16
    asked = [(b["budget_bits"], b["budget_bops"]) for b in solver.budgets]  # type: ignore[attr-defined]
    empty = {(cell["budget_bits"], cell["budget_bops"]) for cell in result["out_of_reach"]}
    assert not empty & set(asked)


def _has_empty_cells(problem: cc.AllocationProblem) -> bool:
    few = least_use(problem, "budget_bits").assignment
    return few.bops > least_use(problem, "budget_bops").assignment.bops


def test_without_a_prover_no_cell_is_called_proven() -> None:
    matrix = measured("cifar10-resnet20-per-tensor-248")
    grid = cc.sweep_grid(matrix, points=3, solver=cc.LocalSearchSolver())
    open_cells = [p for p in grid.found if len(set(p.assignment.bits)) > 1]
    assert open_cells and all(p.status is cc.SolveStatus.HEURISTIC for p in open_cells)
    assert all(p.gap is None for p in open_cells)


def test_budgets_of_the_problem_are_the_largest() -> None:
    matrix = measured("cifar10-resnet20-per-tensor-248")
    free = cc.AllocationProblem(matrix)
    most = {name: getattr(free.extremes()[1], BUDGETS[name][0]) for name in BUDGETS}
    budget_bits, budget_bops = most["budget_bits"] // 2, most["budget_bops"] // 2
    problem = cc.AllocationProblem(matrix, budget_bits, budget_bops=budget_bops, pins={"stem": 8})
    grid = cc.sweep_grid(problem, points=3)
    assert grid.sizes_bits[-1] == budget_bits and grid.limits[-1] == budget_bops
    assert all(point.assignment.by_layer()["stem"] == 8 for point in grid.found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"other": "budget_bits"}, "second budget of a grid is budget_bytes or budget_bops"),
        ({"other": "energy"}, "not 'energy'"),
        ({"points": 10**6}, "is too large"),
        ({"points": 0}, "needs one point or more"),
    ],
)
def test_what_is_no_grid_is_a_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(cc.InputError, match=said):
        cc.sweep_grid(measured("cifar10-resnet20-per-tensor-248"), **options)


def test_unknown_operations_are_a_sentence() -> None:
    matrix = random_problem(2).matrix
    silent = cc.SensitivityMatrix(
        "silent", matrix.G, table([3] * matrix.n_layers), matrix.bit_widths
    )
    with pytest.raises(cc.InputError, match="does not carry them: measure the network again"):
        cc.sweep_grid(silent)
