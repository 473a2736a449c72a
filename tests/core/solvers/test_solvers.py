"""Every solver against brute force, and what all of them promise."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from clado_core import AllocationProblem, SolveStatus
from clado_core.errors import InputError
from clado_core.problem.program import compile_program
from clado_core.problem.solution import PROVEN_GAP
from clado_core.records.scheme import joint_menu, parse_bit_menu
from clado_core.solvers import (
    DaqpSolver,
    EnumerationSolver,
    LocalSearchSolver,
    Progress,
    ScipSolver,
    Solver,
    TieredSolver,
    root,
    scip,
)
from clado_core.solvers import enumerate as enumeration
from tests.conftest import make_matrix
from tests.core.instances import (
    all_assignments,
    average,
    measured,
    n_assignments,
    random_matrix,
    random_problem,
    solver_name,
    table,
    worked_example,
)

PROVERS = [ScipSolver(), ScipSolver("products"), DaqpSolver()]
EXACT = [EnumerationSolver(), TieredSolver(), *PROVERS]
SOLVERS = [LocalSearchSolver(), *EXACT]


def _check_exact(solver: Solver, problem: AllocationProblem) -> None:
    optimum = EnumerationSolver().solve(problem).objective
    solution = solver.solve(problem)
    scale = max(abs(optimum), 1e-9)
    assert solution.status is SolveStatus.OPTIMAL
    assert problem.is_feasible(solution.assignment)
    assert solution.objective == pytest.approx(optimum, rel=1e-9, abs=1e-12)
    assert solution.bound <= optimum + 1e-9 * scale
    assert solution.gap is not None and 0 <= solution.gap <= PROVEN_GAP
    assert solution.objective == problem.matrix.objective(solution.assignment.bits)


@pytest.fixture
def whole_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """No candidate is ruled out before a tree: on small problems that leaves it nothing to do."""
    for module in (root, scip):
        monkeypatch.setattr(module, "eliminate", lambda *_, **options: None)
    monkeypatch.setattr(root, "WORTHWHILE", 2.0)


@pytest.mark.parametrize("solver", PROVERS, ids=solver_name)
@pytest.mark.parametrize("seed", range(60))
def test_provers_equal_enumeration(solver: Solver, seed: int, whole_trees: None) -> None:
    _check_exact(solver, random_problem(seed))


@pytest.mark.parametrize("seed", range(60))
def test_the_solver_for_users_equals_enumeration(seed: int) -> None:
    _check_exact(TieredSolver(), random_problem(seed))


@pytest.mark.slow
@pytest.mark.parametrize("solver", PROVERS, ids=solver_name)
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_provers_equal_enumeration_on_many(solver: Solver, seed: int, whole_trees: None) -> None:
    _check_exact(solver, random_problem(seed))


SMALL = [seed for seed in range(40) if n_assignments(random_problem(seed)) <= 3000]


@pytest.mark.parametrize("seed", SMALL)
def test_enumeration_equals_the_definition(seed: int) -> None:
    problem = random_problem(seed)
    best, _ = all_assignments(problem)[0]
    solution = EnumerationSolver().solve(problem)
    assert solution.objective == pytest.approx(best, rel=1e-12, abs=1e-15)
    assert solution.gap == 0 and solution.status is SolveStatus.OPTIMAL
    assert problem.is_feasible(solution.assignment)


def test_enumeration_goes_through_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(next(seed for seed in SMALL if len(random_problem(seed).groups()) > 3))
    whole = EnumerationSolver().solve(problem).assignment
    monkeypatch.setattr(enumeration, "CHUNK_ENTRIES", 1)
    assert EnumerationSolver().solve(problem).assignment == whole


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


@pytest.mark.parametrize("solver", EXACT, ids=solver_name)
@pytest.mark.parametrize(
    ("cap", "bits", "objective"),
    [(24, (2, 2, 2), 5.80), (32, (2, 2, 4), 2.64), (40, (4, 2, 4), 2.18), (48, (4, 4, 4), 0.48)],
)
def test_worked_example(solver: Solver, cap: int, bits: tuple[int, ...], objective: float) -> None:
    solution = solver.solve(AllocationProblem(worked_example(), budget_bits=cap))
    assert solution.assignment.bits == bits
    assert solution.objective == pytest.approx(objective, abs=1e-12)
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.gap is not None and 0 <= solution.gap <= PROVEN_GAP


@pytest.mark.parametrize("solver", SOLVERS, ids=solver_name)
def test_everything_pinned_leaves_one_proven_answer(solver: Solver) -> None:
    problem = AllocationProblem(worked_example(), 40, pins={"l0": 2, "l1": 4, "l2": 4})
    solution = solver.solve(problem)
    assert solution.assignment.bits == (2, 4, 4)
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.gap == 0.0


@pytest.mark.parametrize("solver", SOLVERS, ids=solver_name)
def test_without_a_budget_a_monotone_matrix_gets_the_most_bits(solver: Solver) -> None:
    matrix = random_matrix(np.random.default_rng(0), n_layers=5, bits=(2, 4, 8))
    monotone = dataclasses.replace(matrix, G=np.diag(matrix.G.diagonal()))
    assert solver.solve(AllocationProblem(monotone)).assignment.bits == (8,) * 5


@pytest.mark.parametrize("solver", SOLVERS, ids=solver_name)
def test_one_decision(solver: Solver) -> None:
    matrix = dataclasses.replace(worked_example(), layers=table([4, 4, 4]))
    problem = AllocationProblem(matrix, 32, pins={"l0": 2, "l1": 2})
    assert solver.solve(problem).assignment.bits == (2, 2, 4)


@pytest.mark.parametrize("solver", SOLVERS, ids=solver_name)
def test_answer_is_never_worse_than_the_warm_start(solver: Solver) -> None:
    problem = random_problem(3)
    optimum = EnumerationSolver().solve(problem)
    again = solver.solve(problem, warm_start=optimum.assignment)
    assert again.objective == pytest.approx(optimum.objective, rel=1e-12)


@pytest.mark.parametrize("solver", SOLVERS, ids=solver_name)
def test_infeasible_warm_start_is_refused(solver: Solver) -> None:
    problem = AllocationProblem(worked_example(), 24)
    with pytest.raises(InputError, match="warm start"):
        solver.solve(problem, warm_start=problem.assignment((4, 4, 4)))


@pytest.mark.parametrize("solver", SOLVERS, ids=solver_name)
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
@pytest.mark.parametrize("solver", SOLVERS, ids=solver_name)
def test_budgets_that_no_assignment_keeps_together_are_one_sentence(solver: Solver) -> None:
    matrix = make_matrix(3, parse_bit_menu("3a8,4a4"))
    bits, macs = matrix.layers.total_weights, int(matrix.layers.macs.sum())
    problem = AllocationProblem(matrix, 3 * bits, budget_bops=16 * macs)
    with pytest.raises(InputError, match="all budgets at once"):
        solver.solve(problem)


def test_local_search_depends_on_the_seed_alone() -> None:
    matrix = random_matrix(np.random.default_rng(2), n_layers=25, bits=(2, 4, 8))
    problem = average(matrix, 4.0)
    first, second = (LocalSearchSolver(seed=5).solve(problem) for _ in range(2))
    assert first.assignment == second.assignment


def test_enumeration_refuses_what_would_take_hours() -> None:
    matrix = random_matrix(np.random.default_rng(3), n_layers=20, bits=(2, 4, 8))
    with pytest.raises(InputError, match="enumeration"):
        EnumerationSolver().solve(AllocationProblem(matrix))


@pytest.mark.parametrize("avg_bits", [2.5, 4.0, 6.0])
def test_local_search_finds_the_optimum_of_a_measured_network(avg_bits: float) -> None:
    problem = average(measured("cifar10-resnet20-per-tensor-248"), avg_bits)
    proven = ScipSolver().solve(problem)
    quick = LocalSearchSolver().solve(problem)
    assert proven.status is SolveStatus.OPTIMAL
    assert quick.objective <= proven.objective + 1e-3 * abs(proven.objective)


@pytest.mark.parametrize("solver", SOLVERS, ids=solver_name)
def test_solving_changes_no_input(solver: Solver) -> None:
    problem = random_problem(9)
    G, bits = problem.matrix.G.copy(), problem.extremes()[0].bits
    solver.solve(problem, warm_start=problem.assignment(bits))
    assert (problem.matrix.G == G).all()
    assert problem.extremes()[0].bits == bits
