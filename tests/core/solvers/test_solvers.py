"""Every solver against brute force, and what all of them promise."""

from __future__ import annotations

import dataclasses
import math
import threading
import time

import numpy as np
import pytest

from clado_core import AllocationProblem, SensitivityMatrix, SolveStatus
from clado_core.errors import InputError
from clado_core.problem.program import compile_program
from clado_core.records.scheme import joint_menu, parse_bit_menu
from clado_core.solvers import (
    DaqpSolver,
    EnumerationSolver,
    LocalSearchSolver,
    Progress,
    ScipSolver,
    Solver,
    TieredSolver,
)
from tests.conftest import make_matrix
from tests.core.instances import measured, random_matrix, random_problem, table, worked_example

PROVERS = [ScipSolver(), ScipSolver("products"), DaqpSolver()]
EXACT = [EnumerationSolver(), TieredSolver(), *PROVERS]
SOLVERS = [LocalSearchSolver(), *EXACT]


def _name(solver: object) -> str:
    name = type(solver).__name__
    return f"{name}-{solver.formulation}" if isinstance(solver, ScipSolver) else name


def _check_exact(solver: Solver, problem: AllocationProblem) -> None:
    optimum = EnumerationSolver().solve(problem).objective
    solution = solver.solve(problem)
    scale = max(abs(optimum), 1e-9)
    assert solution.status is SolveStatus.OPTIMAL
    assert problem.is_feasible(solution.assignment)
    assert solution.objective == pytest.approx(optimum, rel=1e-9, abs=1e-12)
    assert solution.bound <= optimum + 1e-9 * scale
    assert solution.gap is not None
    assert solution.objective == problem.matrix.objective(solution.assignment.bits)


@pytest.mark.parametrize("solver", PROVERS, ids=_name)
@pytest.mark.parametrize("seed", range(60))
def test_provers_equal_enumeration(solver: Solver, seed: int) -> None:
    _check_exact(solver, random_problem(seed))


@pytest.mark.slow
@pytest.mark.parametrize("solver", PROVERS, ids=_name)
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_provers_equal_enumeration_on_many(solver: Solver, seed: int) -> None:
    _check_exact(solver, random_problem(seed))


@pytest.mark.parametrize("seed", range(20))
def test_enumeration_equals_a_plain_loop(seed: int) -> None:
    problem = random_problem(seed)
    program = compile_program(problem)
    choices = [np.array(c, dtype=np.int64) for c in np.ndindex(*program.n_choices.tolist())]
    if len(choices) > 3000:
        pytest.skip("too many for a plain loop")
    best = min(program.objective(c) for c in choices if program.is_feasible(c))
    assert EnumerationSolver().solve(problem).objective == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_local_search_is_feasible_and_says_it_proves_nothing(seed: int) -> None:
    problem = random_problem(seed)
    solution = LocalSearchSolver().solve(problem)
    optimum = EnumerationSolver().solve(problem).objective
    assert problem.is_feasible(solution.assignment)
    assert solution.objective >= optimum - 1e-9 * abs(optimum)
    if compile_program(problem).n_decisions:
        assert solution.status is SolveStatus.HEURISTIC
        assert solution.bound == -math.inf
        assert solution.gap is None


@pytest.mark.parametrize("solver", EXACT, ids=_name)
@pytest.mark.parametrize(
    ("cap", "bits", "objective"),
    [(24, (2, 2, 2), 5.80), (32, (2, 2, 4), 2.64), (40, (4, 2, 4), 2.18), (48, (4, 4, 4), 0.48)],
)
def test_worked_example(solver: Solver, cap: int, bits: tuple[int, ...], objective: float) -> None:
    solution = solver.solve(AllocationProblem(worked_example(), budget_bits=cap))
    assert solution.assignment.bits == bits
    assert solution.objective == pytest.approx(objective, abs=1e-12)


@pytest.mark.parametrize("solver", SOLVERS, ids=_name)
def test_everything_pinned_leaves_one_proven_answer(solver: Solver) -> None:
    problem = AllocationProblem(worked_example(), 40, pins={"l0": 2, "l1": 4, "l2": 4})
    solution = solver.solve(problem)
    assert solution.assignment.bits == (2, 4, 4)
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.gap == 0.0


@pytest.mark.parametrize("solver", SOLVERS, ids=_name)
def test_without_a_budget_a_monotone_matrix_gets_the_most_bits(solver: Solver) -> None:
    matrix = random_matrix(np.random.default_rng(0), n_layers=5, bits=(2, 4, 8))
    monotone = dataclasses.replace(matrix, G=np.diag(matrix.G.diagonal()))
    assert solver.solve(AllocationProblem(monotone)).assignment.bits == (8,) * 5


@pytest.mark.parametrize("solver", SOLVERS, ids=_name)
def test_one_decision(solver: Solver) -> None:
    matrix = dataclasses.replace(worked_example(), layers=table([4, 4, 4]))
    problem = AllocationProblem(matrix, 32, pins={"l0": 2, "l1": 2})
    assert solver.solve(problem).assignment.bits == (2, 2, 4)


@pytest.mark.parametrize("solver", SOLVERS, ids=_name)
def test_answer_is_never_worse_than_the_warm_start(solver: Solver) -> None:
    problem = random_problem(3)
    optimum = EnumerationSolver().solve(problem)
    again = solver.solve(problem, warm_start=optimum.assignment)
    assert again.objective == pytest.approx(optimum.objective, rel=1e-12)


@pytest.mark.parametrize("solver", SOLVERS, ids=_name)
def test_infeasible_warm_start_is_refused(solver: Solver) -> None:
    problem = AllocationProblem(worked_example(), 24)
    with pytest.raises(InputError, match="warm start"):
        solver.solve(problem, warm_start=problem.assignment((4, 4, 4)))


@pytest.mark.parametrize("solver", SOLVERS, ids=_name)
def test_progress_only_improves_and_ends_at_the_solution(solver: Solver) -> None:
    seen: list[Progress] = []
    problem = random_problem(9)
    solution = solver.solve(problem, on_progress=seen.append)
    objectives = [p.objective for p in seen]
    bounds = [p.bound for p in seen]
    assert objectives == sorted(objectives, reverse=True)
    assert bounds == sorted(bounds)
    assert seen[-1].assignment == solution.assignment
    assert all(problem.is_feasible(p.assignment) for p in seen)


def test_an_error_in_the_progress_callback_stops_scip_and_is_raised() -> None:
    class StopError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if math.isfinite(progress.bound):
            raise StopError

    matrix = random_matrix(np.random.default_rng(1), n_layers=20, bits=(2, 4, 8))
    with pytest.raises(StopError):
        ScipSolver().solve(_average(matrix, 4.0), on_progress=stop)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", range(20))
def test_descents_reach_both_budgets_where_fewer_bits_cost_bit_operations(seed: int) -> None:
    """Freeing bits (4a4 → 3a8) and freeing bit operations (3a8 → 4a4) must not go in a circle."""
    rng = np.random.default_rng(seed)
    matrix = make_matrix(5, joint_menu((2, 3, 4), (2, 4, 8)), seed=seed)
    kept = tuple(matrix.bit_widths[k] for k in rng.integers(0, 9, size=5))
    reached = AllocationProblem(matrix).assignment(kept)
    problem = AllocationProblem(matrix, reached.size_bits, budget_bops=reached.bops)
    answer = LocalSearchSolver(n_walks=0).solve(problem).assignment
    assert problem.is_feasible(answer)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("solver", SOLVERS, ids=_name)
def test_budgets_that_no_assignment_keeps_together_are_one_sentence(solver: Solver) -> None:
    matrix = make_matrix(3, parse_bit_menu("3a8,4a4"))
    bits, macs = matrix.layers.total_weights, int(matrix.layers.macs.sum())
    problem = AllocationProblem(matrix, 3 * bits, budget_bops=16 * macs)
    with pytest.raises(InputError, match="all budgets at once"):
        solver.solve(problem)


def test_local_search_depends_on_the_seed_alone() -> None:
    matrix = random_matrix(np.random.default_rng(2), n_layers=25, bits=(2, 4, 8))
    problem = _average(matrix, 4.0)
    first, second = (LocalSearchSolver(seed=5).solve(problem) for _ in range(2))
    assert first.assignment == second.assignment


def test_enumeration_refuses_what_would_take_hours() -> None:
    matrix = random_matrix(np.random.default_rng(3), n_layers=20, bits=(2, 4, 8))
    with pytest.raises(InputError, match="enumeration"):
        EnumerationSolver().solve(AllocationProblem(matrix))


def test_scip_keeps_its_time_limit_and_other_threads_run() -> None:
    matrix = random_matrix(np.random.default_rng(4), n_layers=60, bits=(2, 4, 8))
    ticks = 0
    done = threading.Event()

    def count() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.01)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        solution = ScipSolver().solve(_average(matrix, 4.0), time_limit_s=3.0)
    finally:
        done.set()
        counter.join()
    assert solution.status in (SolveStatus.TIME_LIMIT, SolveStatus.OPTIMAL)
    assert solution.bound <= solution.objective
    assert ticks > 20


def test_scip_stops_at_the_gap_that_was_asked_for() -> None:
    matrix = random_matrix(np.random.default_rng(5), n_layers=12, bits=(2, 4, 8))
    solution = ScipSolver().solve(_average(matrix, 3.0), gap_limit=0.5)
    assert solution.status in (SolveStatus.GAP_LIMIT, SolveStatus.OPTIMAL)
    assert solution.gap is not None
    assert solution.gap <= 0.5


@pytest.mark.parametrize("avg_bits", [2.5, 4.0, 6.0])
def test_local_search_finds_the_optimum_of_a_measured_network(avg_bits: float) -> None:
    problem = _average(measured("matrix_r20_pairwise"), avg_bits)
    proven = ScipSolver().solve(problem)
    quick = LocalSearchSolver().solve(problem)
    assert proven.status is SolveStatus.OPTIMAL
    assert quick.objective <= proven.objective + 1e-3 * abs(proven.objective)


def _average(matrix: SensitivityMatrix, avg_bits: float) -> AllocationProblem:
    return AllocationProblem(matrix, int(avg_bits * matrix.layers.total_weights))


@pytest.mark.parametrize("solver", SOLVERS, ids=_name)
def test_solving_changes_no_input(solver: Solver) -> None:
    problem = random_problem(9)
    G, bits = problem.matrix.G.copy(), problem.extremes()[0].bits
    solver.solve(problem, warm_start=problem.assignment(bits))
    assert (problem.matrix.G == G).all()
    assert problem.extremes()[0].bits == bits
