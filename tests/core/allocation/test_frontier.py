"""Frontiers: budgets, what points prove for each other, and the file."""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from clado_core import AllocationProblem, Solution, SolveStatus
from clado_core.allocation.frontier import Frontier
from clado_core.allocation.sweep import budget_grid, sweep
from clado_core.errors import InfeasibleBudgetError, InputError
from clado_core.records.scheme import parse_bit_menu
from clado_core.solvers import EnumerationSolver, LocalSearchSolver
from tests.core.instances import all_assignments, random_matrix, worked_example


def _solution(bits: tuple[int, ...], objective: float, bound: float = -math.inf) -> Solution:
    """A made-up solution for the worked example's layers (4 weights each)."""
    return Solution(
        assignment=AllocationProblem(worked_example()).assignment(bits),
        status=SolveStatus.TIME_LIMIT,
        objective=objective,
        bound=bound,
        method="clado",
        solver="by hand",
        runtime_s=0.0,
        first_answer_s=0.0,
    )


def test_every_point_is_the_optimum_within_its_budget() -> None:
    matrix = random_matrix(np.random.default_rng(0), n_layers=5, bits=(2, 4, 8))
    front = sweep(matrix, points=9)
    assert len(front) == 9
    assert front.budgets_bits[0] == 2 * matrix.layers.total_weights
    assert front.budgets_bits[-1] == 8 * matrix.layers.total_weights
    for budget, point in zip(front.budgets_bits, front.points, strict=True):
        optimum = EnumerationSolver().solve(AllocationProblem(matrix, budget))
        assert point.objective == pytest.approx(optimum.objective, rel=1e-9)
        assert point.bound <= optimum.objective
        assert point.status is SolveStatus.OPTIMAL
        assert point.assignment.size_bits <= budget
    assert (np.diff(front.objectives) <= 0).all()


def test_wishes_and_other_budgets_hold_at_every_point() -> None:
    matrix = random_matrix(np.random.default_rng(1), n_layers=5, bits=(2, 4, 8))
    free = AllocationProblem(matrix)
    bops = (free.extremes()[0].bops + free.extremes()[1].bops) // 2
    problem = AllocationProblem(
        matrix, 6 * matrix.layers.total_weights, budget_bops=bops, pins={"l0": 8}
    )
    front = sweep(problem, points=6)
    assert front.budgets_bits[-1] == problem.budget_bits
    for point in front.points:
        assert point.assignment.bits[0] == 8
        assert point.assignment.bops <= bops


def test_between_two_points_answer_and_bound_are_valid() -> None:
    matrix = random_matrix(np.random.default_rng(2), n_layers=5, bits=(2, 4, 8))
    front = sweep(matrix, points=5)
    for budget in np.linspace(front.budgets_bits[0], front.budgets_bits[-1], 23).astype(int):
        answer = front.best_within(int(budget))
        optimum = EnumerationSolver().solve(AllocationProblem(matrix, int(budget))).objective
        assert answer.assignment.size_bits <= budget
        assert answer.bound <= optimum + 1e-12
        assert answer.objective >= optimum - 1e-12


def test_points_share_answers_upwards_and_bounds_downwards() -> None:
    front = Frontier(
        (24, 32, 40),
        (
            _solution((2, 2, 2), 5.0, bound=1.0),
            _solution((2, 2, 4), 6.0, bound=4.0),
            _solution((4, 2, 4), 4.5, bound=3.0),
        ),
    ).shared()
    assert front.objectives.tolist() == [5.0, 5.0, 4.5]
    assert [point.bound for point in front.points] == [4.0, 4.0, 3.0]


def test_between_points_a_proven_answer_is_called_proven_only_where_it_is() -> None:
    proven = dataclasses.replace(_solution((2, 2, 2), 5.0, bound=5.0), status=SolveStatus.OPTIMAL)
    front = Frontier((24, 40), (proven, dataclasses.replace(proven, objective=4.0, bound=4.0)))
    assert front.best_within(24).status is SolveStatus.OPTIMAL
    other = Frontier((24, 40), (proven, _solution((4, 2, 4), 4.0, bound=3.0)))
    assert other.best_within(32).status is not SolveStatus.OPTIMAL
    assert other.best_within(32).gap == pytest.approx(0.4)


def test_too_small_a_budget_says_what_is_possible() -> None:
    front = sweep(worked_example(), points=3)
    with pytest.raises(InfeasibleBudgetError, match="24"):
        front.best_within(23)


def test_non_dominated_and_knee_by_hand() -> None:
    front = Frontier(
        (24, 32, 40, 48),
        (
            _solution((2, 2, 2), 10.0),
            _solution((2, 2, 4), 2.0),
            _solution((2, 2, 4), 2.0),
            _solution((4, 4, 4), 1.0),
        ),
    )
    assert front.non_dominated().tolist() == [True, True, False, True]
    assert front.knee() == 1


def test_a_part_of_a_front_is_evenly_spread_and_keeps_its_ends() -> None:
    front = sweep(random_matrix(np.random.default_rng(1), n_layers=6, bits=(2, 4, 8)), points=40)
    whole = front.choices()
    assert len(whole) == front.non_dominated().sum()
    sizes = [each.assignment.size_bits for each in whole]
    assert sizes == sorted(sizes)
    for n in range(2, len(whole) + 3):
        part = front.choices(n)
        assert part[0] is whole[0] and part[-1] is whole[-1] and len(part) <= n
        wanted = np.linspace(sizes[0], sizes[-1], n)
        kept = np.array([each.assignment.size_bits for each in part])
        if n < len(whole):
            nearest = np.abs(np.subtract.outer(wanted, sizes)).min(axis=1)
            assert np.array_equal(np.abs(np.subtract.outer(wanted, kept)).min(axis=1), nearest)
    assert front.choices(1) == whole[:1]
    with pytest.raises(InputError, match="one point or more"):
        front.choices(0)


def test_json_and_back() -> None:
    matrix = worked_example()
    front = sweep(matrix, points=4, solver=LocalSearchSolver())
    text = json.dumps(front.to_json())
    assert Frontier.from_json(json.loads(text), matrix) == front
    assert json.loads(text)["points"][0]["budget_bits"] == front.budgets_bits[0]


def test_status_and_objective_of_stored_points_are_recomputed() -> None:
    """A file says how a solve ended; what its numbers prove is seen when it is read."""
    frontier = sweep(random_matrix(np.random.default_rng(0), n_layers=6, bits=(2, 4, 8)), points=5)
    values = frontier.to_json()
    for point in values["points"]:
        point["objective"] /= 2
        point["bound"] /= 2
    matrix = random_matrix(np.random.default_rng(0), n_layers=6, bits=(2, 4, 8))
    read = Frontier.from_json(values, matrix)
    assert [p.objective for p in read.points] == [p.objective for p in frontier.points]
    proven = [p.status is SolveStatus.OPTIMAL for p in read.points]
    assert proven == [p.objective < 0 for p in read.points]
    assert [p.status for p in frontier.points] == [SolveStatus.OPTIMAL] * 5


def test_a_damaged_file_is_named() -> None:
    matrix = worked_example()
    values = sweep(matrix, points=2).to_json()
    del values["points"][0]["status"]
    with pytest.raises(InputError, match="status"):
        Frontier.from_json(values, matrix)


def test_progress_counts_points() -> None:
    seen: list[tuple[int, int]] = []
    sweep(worked_example(), points=3, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_fewer_sizes_than_points_give_fewer_points() -> None:
    problem = AllocationProblem(worked_example(), pins={"l0": 2, "l1": 2, "l2": 2})
    assert budget_grid(problem, 50) == (24,)
    assert len(sweep(problem, points=50)) == 1


def test_a_frontier_needs_points() -> None:
    with pytest.raises(InputError, match="one point or more"):
        sweep(worked_example(), points=0)
    with pytest.raises(InputError, match="one solution per budget"):
        Frontier((1, 2), ())


def _without_times(front: Frontier) -> Frontier:
    points = (dataclasses.replace(p, runtime_s=0.0, first_answer_s=0.0) for p in front.points)
    return Frontier(front.budgets_bits, tuple(points))


@pytest.mark.parametrize("jobs", [2, 9])
def test_processes_give_the_same_frontier(jobs: int) -> None:
    matrix = worked_example()
    seen: list[tuple[int, int]] = []
    shared = sweep(matrix, points=4, jobs=jobs, on_progress=lambda *done: seen.append(done))
    assert _without_times(shared) == _without_times(sweep(matrix, points=4))
    assert seen == [(k, 4) for k in (1, 2, 3, 4)]


@dataclass(frozen=True)
class DiesInAWorker:
    """A solver whose process is gone as if killed, unless it is the caller's own."""

    def solve(self, problem: AllocationProblem, /, **options: Any) -> Solution:
        if multiprocessing.parent_process() is not None:
            os._exit(9)
        return EnumerationSolver().solve(problem)


def test_a_killed_process_costs_no_point() -> None:
    fronts = [sweep(worked_example(), points=3, solver=DiesInAWorker(), jobs=n) for n in (1, 2)]
    assert _without_times(fronts[0]) == _without_times(fronts[1])


def test_no_process_is_refused() -> None:
    with pytest.raises(InputError, match="one process or more, not 0"):
        sweep(worked_example(), jobs=0)


@pytest.mark.parametrize("seed", range(12))
def test_a_front_starts_where_joint_choices_keep_the_other_budgets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    menu = parse_bit_menu("3a8,4a4,8a8")
    matrix = random_matrix(rng, n_layers=5, bits=menu)
    problem = AllocationProblem(matrix, allowed={"l1": menu[1:], "l3": menu[:2]})
    least = problem.extremes("bops")[0].bops
    limited = dataclasses.replace(problem, budget_bops=int(least * rng.uniform(1, 1.3)))
    sizes = [limited.assignment(bits).size_bits for _, bits in all_assignments(limited)]
    front = sweep(limited, points=5)
    assert front.budgets_bits[0] == min(sizes)
    for budget, point in zip(front.budgets_bits, front.points, strict=True):
        best = all_assignments(dataclasses.replace(limited, budget_bits=budget))[0][0]
        assert point.objective == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("points", [0, -1, 10**6, 10**30])
def test_a_front_has_a_number_of_points_that_can_be_solved(points: int) -> None:
    with pytest.raises(InputError, match="one point or more, at most 100,000"):
        sweep(worked_example(), points=points)
