"""Baselines obey the same problem and are scored on the measured matrix."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from clado_core import AllocationProblem, SensitivityMatrix, SolveStatus
from clado_core.allocation.methods import allocate, random, uniform
from clado_core.errors import InfeasibleBudgetError, InputError
from clado_core.records.names import MEASURED_ALONG, METHODS
from clado_core.records.scheme import parse_bit_menu
from clado_core.solvers import EnumerationSolver
from tests.conftest import make_matrix
from tests.core.instances import average, measured, random_matrix, worked_example


def test_the_diagonal_alone_chooses_another_assignment() -> None:
    problem = AllocationProblem(worked_example(), 32)
    diagonal = allocate(problem, method="diagonal")
    assert diagonal.assignment.bits == (4, 2, 2)
    assert diagonal.objective > allocate(problem).objective
    assert diagonal.bound == -math.inf
    assert diagonal.status is SolveStatus.HEURISTIC
    assert diagonal.method == "diagonal"


@pytest.mark.parametrize("avg_bits", [2.2, 3.0, 4.0, 5.5, 7.0])
@pytest.mark.parametrize(
    "name", ["cifar10-resnet20-per-tensor-248", "cifar10-resnet20-per-channel-23468", "digits-vit"]
)
def test_an_additive_matrix_gets_the_optimum_of_a_knapsack(name: str, avg_bits: float) -> None:
    additive = measured(name).diagonal_only()
    problem = average(additive, avg_bits)
    solution = allocate(problem, method="diagonal")
    assert problem.budget_bits is not None
    expected = _least_sum(additive, problem.budget_bits)
    assert solution.objective == pytest.approx(expected, rel=1e-9)
    assert solution.status is SolveStatus.OPTIMAL  # an additive matrix is its own diagonal


def _least_sum(matrix: SensitivityMatrix, budget_bits: int) -> float:
    """Least Σ G_aa with one entry per layer within a budget: dynamic programming over sizes.

    Of all choices for the first layers, only those are kept that no other beats in both size and
    sum; no solver is asked.
    """
    kept = [(0, 0.0)]
    values = matrix.G.diagonal().reshape(matrix.n_layers, matrix.n_bits).tolist()
    for n_weights, row in zip(matrix.layers.n_weights.tolist(), values, strict=True):
        grown = sorted(
            (size + n_weights * bits, total + value)
            for size, total in kept
            for bits, value in zip(matrix.bit_widths, row, strict=True)
            if size + n_weights * bits <= budget_bits
        )
        kept, least = [], math.inf
        for size, total in grown:
            if total < least:
                kept.append((size, total))
                least = total
    return least


def _with_diagonals(n_layers: int) -> SensitivityMatrix:
    rng = np.random.default_rng(0)
    matrix = random_matrix(rng, n_layers=n_layers, bits=(2, 4, 8))
    diagonals = {name: rng.random((n_layers, 3)) for name in MEASURED_ALONG}
    return dataclasses.replace(matrix, diagonals=diagonals)


@pytest.mark.parametrize("method", MEASURED_ALONG)
def test_own_sensitivities_are_minimized_and_must_be_measured(method: str) -> None:
    matrix = _with_diagonals(5)
    budget = 4 * matrix.layers.total_weights
    solution = allocate(AllocationProblem(matrix, budget), method=method)
    own = dataclasses.replace(matrix, G=np.diag(matrix.diagonals[method].ravel()))
    optimum = EnumerationSolver().solve(AllocationProblem(own, budget))
    assert own.objective(solution.assignment.bits) == pytest.approx(optimum.objective)
    assert solution.status is SolveStatus.HEURISTIC and solution.method == method
    unmeasured = AllocationProblem(dataclasses.replace(matrix, diagonals={}), budget)
    with pytest.raises(InputError, match=f"measure {method} along with it"):
        allocate(unmeasured, method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("psd", [False, True])
def test_every_method_is_feasible_and_never_beats_the_optimum(method: str, psd: bool) -> None:
    problem = AllocationProblem(_with_diagonals(6), 10_000)
    problem = dataclasses.replace(
        problem, budget_bits=4 * problem.matrix.layers.total_weights, ties=(("l1", "l2"),)
    )
    optimum = EnumerationSolver().solve(problem).objective
    solution = allocate(problem, method=method, psd=psd)
    assert problem.is_feasible(solution.assignment)
    assert solution.objective == problem.matrix.objective(solution.assignment.bits)
    assert solution.objective >= optimum - 1e-12
    assert solution.bound <= optimum + 1e-12


def test_the_projection_minimizes_something_else() -> None:
    matrix = random_matrix(np.random.default_rng(7), n_layers=6, bits=(2, 4, 8))
    problem = average(matrix, 4.0)
    solution = allocate(problem, psd=True, solver=EnumerationSolver())
    projected = problem.matrix.project_psd()
    optimum = EnumerationSolver().solve(dataclasses.replace(problem, matrix=projected))
    assert solution.assignment == optimum.assignment
    assert optimum.objective > solution.objective
    assert solution.method == "clado-psd"


def test_uniform_takes_the_largest_common_bit_width() -> None:
    matrix = worked_example()
    assert uniform(AllocationProblem(matrix)).bits == (4, 4, 4)
    assert uniform(AllocationProblem(matrix, 47)).bits == (2, 2, 2)
    assert uniform(AllocationProblem(matrix, 40, pins={"l0": 4})).bits == (4, 2, 2)


def test_uniform_says_why_there_is_none() -> None:
    matrix = random_matrix(np.random.default_rng(0), n_layers=3, bits=(2, 4, 8))
    contradicting = AllocationProblem(matrix, allowed={"l0": (2, 4), "l1": (8, 2), "l2": (4, 8)})
    with pytest.raises(InputError, match="no bit-width in common"):
        uniform(contradicting)
    n = matrix.layers.total_weights
    with pytest.raises(InfeasibleBudgetError, match="No uniform bit-width"):
        uniform(AllocationProblem(matrix, 3 * n, allowed={"l0": (4, 8)}))


def test_random_uses_up_the_budget_and_depends_on_the_seed_alone() -> None:
    matrix = random_matrix(np.random.default_rng(0), n_layers=12, bits=(2, 4, 8))
    problem = AllocationProblem(matrix, 4 * matrix.layers.total_weights)
    draws = [random(problem, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    for i, b in enumerate(draws[0].bits):
        if b < 8:
            raised = list(draws[0].bits)
            raised[i] = 4 if b == 2 else 8
            assert not problem.is_feasible(problem.assignment(tuple(raised)))


def test_random_keeps_bit_operations_that_the_fewest_bits_break() -> None:
    matrix = make_matrix(3, parse_bit_menu("3a8,4a4,8a8"))
    four = tuple(matrix.bit_widths[1] for _ in range(3))
    problem = AllocationProblem(matrix, budget_bops=16 * int(matrix.layers.macs.sum()))
    assert random(problem, np.random.default_rng(0)).bits == four


def test_unknown_method_is_named() -> None:
    with pytest.raises(InputError, match="'magic'"):
        allocate(AllocationProblem(worked_example()), method="magic")
