"""What is said of an answer is true: against brute force, at any scale, and where nothing matters.

The kinds were found in use: one diverged layer, sensitivities in tiny units, an optimum of zero.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from clado_core import AllocationProblem, SensitivityMatrix, Solution, SolveStatus, k_best
from clado_core.errors import InputError
from clado_core.problem.solution import CANCELLED, PROVEN_GAP
from clado_core.solvers import (
    DaqpSolver,
    EnumerationSolver,
    LocalSearchSolver,
    ScipSolver,
    Solver,
    TieredSolver,
)
from tests.core.instances import average, random_matrix, random_problem, solver_name, table

PROVERS = [TieredSolver(), DaqpSolver(), ScipSolver(), ScipSolver("products")]
OUTLIERS = ("none", "candidate", "pair", "many")


def _check(problem: AllocationProblem, solver: Solver) -> Solution:
    """The claims of a solution against enumeration; returns it."""
    optimum = EnumerationSolver().solve(problem)
    found = solver.solve(problem)
    assert problem.is_feasible(found.assignment)
    assert found.objective == problem.matrix.objective(found.assignment.bits)
    rounding = 1e-12 * max(found.terms, optimum.terms)
    assert found.bound <= optimum.objective + rounding
    if found.status is SolveStatus.OPTIMAL:
        unit = max(abs(found.objective), CANCELLED * found.terms)
        assert found.objective - optimum.objective <= PROVEN_GAP * unit + rounding
        assert found.objective - found.bound <= PROVEN_GAP * unit
        assert found.gap is not None and 0 <= found.gap <= PROVEN_GAP
    return found


def _scaled(seed: int, exponents: float, outliers: str) -> AllocationProblem:
    """A random problem in a random unit, some entries far above the others."""
    rng, problem = np.random.default_rng(seed), random_problem(seed)
    G = problem.matrix.G.copy()
    n, n_bits = len(G), problem.matrix.n_bits
    size = 10.0 ** rng.uniform(6, exponents)
    if outliers == "candidate":
        a = int(rng.integers(n))
        G[a, :] *= size
        G[:, a] *= size
        G[a, a] = abs(G[a, a]) * size
    elif outliers == "pair":
        a, b = rng.integers(n, size=2)
        if a // n_bits != b // n_bits:
            G[a, b] = G[b, a] = abs(G[a, b]) * size
    elif outliers == "many":
        for a in rng.integers(n, size=3):
            G[a, a] = abs(G[a, a]) * 10.0 ** rng.uniform(-exponents, exponents)
    G = G * 10.0 ** rng.uniform(-exponents, exponents)
    return dataclasses.replace(problem, matrix=dataclasses.replace(problem.matrix, G=(G + G.T) / 2))


@pytest.mark.parametrize("outliers", OUTLIERS)
@pytest.mark.parametrize("seed", range(60))
def test_claims_hold_at_any_scale(seed: int, outliers: str) -> None:
    found = _check(_scaled(seed, 12.0, outliers), TieredSolver())
    assert found.status is SolveStatus.OPTIMAL


@pytest.mark.slow
@pytest.mark.parametrize("outliers", OUTLIERS)
@pytest.mark.parametrize("seed", range(2000, 2250))
def test_claims_hold_at_any_scale_on_many(seed: int, outliers: str) -> None:
    assert _check(_scaled(seed, 12.0, outliers), TieredSolver()).status is SolveStatus.OPTIMAL


@pytest.mark.parametrize("outliers", OUTLIERS)
@pytest.mark.parametrize("solver", PROVERS, ids=solver_name)
@pytest.mark.parametrize("seed", range(0, 60, 5))
def test_no_prover_claims_too_much(seed: int, solver: Solver, outliers: str) -> None:
    _check(_scaled(seed, 24.0, outliers), solver)


def _dense(n_layers: int = 8) -> AllocationProblem:
    return average(random_matrix(np.random.default_rng(0), n_layers=n_layers, bits=(2, 4, 8)), 3.0)


def _with(problem: AllocationProblem, G: npt.NDArray[np.float64]) -> AllocationProblem:
    matrix = dataclasses.replace(problem.matrix, G=G)
    return dataclasses.replace(problem, matrix=matrix)


@pytest.mark.parametrize("solver", PROVERS, ids=solver_name)
@pytest.mark.parametrize("where", ["diagonal", "pair"])
def test_one_diverged_layer_changes_no_proof(solver: Solver, where: str) -> None:
    problem = _dense()
    G = problem.matrix.G.copy()
    a, b = (0, 0) if where == "diagonal" else (0, 3)
    G[a, b] = G[b, a] = 1e12
    found = _check(_with(problem, G), solver)
    assert found.status is SolveStatus.OPTIMAL


@pytest.mark.parametrize("unit", [1e-300, 1e-100, 1e-9, 1e9, 1e90])
@pytest.mark.parametrize("solver", PROVERS, ids=solver_name)
def test_the_unit_changes_no_proof(solver: Solver, unit: float) -> None:
    for problem in (_dense(), average(_dense().matrix.diagonal_only(), 3.0)):
        plain = EnumerationSolver().solve(problem)
        found = _check(_with(problem, problem.matrix.G * unit), solver)
        assert found.status is SolveStatus.OPTIMAL
        assert found.objective == pytest.approx(unit * plain.objective, rel=1e-9, abs=0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("solver", [LocalSearchSolver(), *PROVERS], ids=solver_name)
@pytest.mark.parametrize("matter", ["nothing", "one layer"])
def test_an_optimum_of_zero_is_proven(solver: Solver, matter: str) -> None:
    problem = _dense()
    G = np.zeros_like(problem.matrix.G)
    if matter == "one layer":
        G[0, 0], G[1, 1] = 2.0, 1.0
    found = solver.solve(_with(problem, G))
    assert found.objective == 0.0
    if isinstance(solver, LocalSearchSolver):
        return
    assert (found.bound, found.gap) == (0.0, 0.0)
    assert found.status is SolveStatus.OPTIMAL


@pytest.mark.parametrize("solver", PROVERS, ids=solver_name)
def test_an_optimum_that_cancels_to_zero_is_proven(solver: Solver) -> None:
    """Entries in sixteenths, so that x'Gx is exactly 0 at the optimum."""
    problem = _dense()
    G = np.round(problem.matrix.G * 64) / 64
    at = EnumerationSolver().solve(_with(problem, G))
    rows = 3 * np.arange(8) + problem.matrix.choice(at.assignment.bits)
    G[0:3, 0:3][np.diag_indices(3)] -= at.objective
    assert _with(problem, G).matrix.objective(at.assignment.bits) == 0.0
    assert len(rows) == 8
    found = _check(_with(problem, G), solver)
    assert found.objective == 0.0 and found.status is SolveStatus.OPTIMAL


def test_k_best_after_an_optimum_of_zero_and_beside_a_diverged_layer() -> None:
    problem = _dense(5)
    G = np.zeros_like(problem.matrix.G)
    assert [s.objective for s in k_best(_with(problem, G), k=3)] == [0.0] * 3
    G = problem.matrix.G.copy()
    G[0, 0] = 1e12
    best = k_best(_with(problem, G), k=4)
    assert [s.objective for s in best] == sorted(s.objective for s in best)
    assert best[0].status is SolveStatus.OPTIMAL
    for runner_up in best[1:]:
        assert runner_up.gap is not None
        assert (runner_up.status is SolveStatus.OPTIMAL) == (runner_up.gap <= PROVEN_GAP)


def test_entries_beyond_any_loss_are_refused() -> None:
    matrix: SensitivityMatrix = _dense().matrix
    G = matrix.G.copy()
    G[0, 0] = 1e300
    with pytest.raises(InputError, match=r"G\[0, 0\] is 1e\+300.*menu"):
        dataclasses.replace(matrix, G=G)


@pytest.mark.timeout(120)
def test_layers_of_sizes_far_apart_do_not_keep_daqp_for_ever() -> None:
    """It accepts what breaks a budget by 1e-8 of the largest layer: any small layers' choice."""
    rng, n_big, n_small, big = np.random.default_rng(0), 3, 9, 10**9
    n = 2 * (n_big + n_small)
    A = rng.normal(size=(n, n))
    G = 0.05 * (A + A.T) / 2
    G[1::2] = G[:, 1::2] = 0.0
    for i in range(n_big + n_small):
        G[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = 0.0
        G[2 * i, 2 * i] = 10 + 0.01 * i if i < n_big else 1 + 0.1 * rng.random()
    matrix = SensitivityMatrix("apart", G, table([big] * n_big + [1] * n_small), (4, 8))
    budget = big * (8 + 4 * (n_big - 1)) + 4 * n_small + 4 * (n_small // 2)
    found = _check(AllocationProblem(matrix, budget_bits=budget), TieredSolver())
    assert found.status is SolveStatus.OPTIMAL
