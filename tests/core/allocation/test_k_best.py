"""The k best assignments and the price of a pin, against brute force."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from clado_core import AllocationProblem, SensitivityMatrix, SolveStatus
from clado_core.allocation import k_best as k_best_module
from clado_core.allocation.k_best import FEW, k_best, price_of_pin
from clado_core.errors import InputError
from clado_core.problem.program import compile_program
from clado_core.problem.solution import PROVEN_GAP
from clado_core.solvers.enumerate import ranked_choices
from tests.conftest import make_matrix
from tests.core.instances import (
    all_assignments,
    average,
    n_assignments,
    random_matrix,
    random_problem,
    table,
    worked_example,
)

_PAIR = np.outer([1, 0, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0])
"""Where the first choices of two layers meet."""

SMALL = [seed for seed in range(30) if n_assignments(random_problem(seed)) <= 3000]


@pytest.mark.parametrize("few", [0, FEW])
@pytest.mark.parametrize("seed", SMALL)
def test_k_best_equals_a_sorted_enumeration(
    seed: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(k_best_module, "FEW", few)  # 0: trees find them, however few there are
    problem = random_problem(seed)
    expected = [objective for objective, _ in all_assignments(problem)[:6]]
    found = k_best(problem, k=6)
    assert [s.objective for s in found] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert len({s.assignment.bits for s in found}) == len(found)
    assert all(problem.is_feasible(s.assignment) for s in found)
    assert all(s.bound <= expected[0] + 1e-12 for s in found)
    assert found[0].gap is not None and found[0].gap <= PROVEN_GAP
    for solution in found:
        assert solution.gap is not None
        optimal = solution.gap <= PROVEN_GAP
        assert solution.status is (SolveStatus.OPTIMAL if optimal else SolveStatus.HEURISTIC)


def test_k_best_stops_at_the_tolerance() -> None:
    problem = AllocationProblem(worked_example())
    objectives = [objective for objective, _ in all_assignments(problem)]
    best = objectives[0]
    expected = [value for value in objectives if value <= best + 4 * abs(best)]
    found = k_best(problem, k=100, within=4.0)
    assert [s.objective for s in found] == pytest.approx(expected)
    assert len(k_best(problem, k=100)) == len(objectives)


@pytest.mark.parametrize(
    "G",
    [
        np.diag([1.0, 0.0, 2.0, 0.0, 3.0, 0.0]),
        np.zeros((6, 6)),
        # A pair that cancels: 1 + 1 − 2·1 = 0.
        np.diag([1.0, 5.0, 1.0, 7.0, 0.0, 3.0]) - np.eye(6)[[2, 1, 0, 3, 4, 5]] * _PAIR,
    ],
)
def test_runners_up_follow_a_best_objective_of_zero(G: np.ndarray) -> None:
    problem = AllocationProblem(SensitivityMatrix("zero", G, table([4, 5, 6]), (2, 4)))
    expected = [objective for objective, _ in all_assignments(problem)]
    assert expected[0] == 0
    found = k_best(problem, k=10**30)
    assert [s.objective for s in found] == pytest.approx(expected)
    for solution, objective in zip(found, expected, strict=True):
        assert (solution.status is SolveStatus.OPTIMAL) == (objective == 0)
    tied = expected.count(0)
    assert len(k_best(problem, k=100, within=0.5)) == tied


@pytest.mark.parametrize("within", [-0.1, float("nan")])
def test_k_best_wants_a_share_of_zero_or_more(within: float) -> None:
    with pytest.raises(InputError, match="0 or more"):
        k_best(AllocationProblem(worked_example()), within=within)


def test_k_best_wants_one_at_least() -> None:
    with pytest.raises(InputError, match="At least one"):
        k_best(AllocationProblem(worked_example()), k=0)


def test_without_time_to_prove_there_is_the_best_known_alone() -> None:
    matrix = make_matrix(8, seed=3)
    problem = AllocationProblem(matrix, budget_bits=4 * matrix.layers.total_weights)
    (only,) = k_best(problem, k=6, time_limit_s=0.0)
    assert problem.is_feasible(only.assignment) and only.status is not SolveStatus.OPTIMAL
    assert len(k_best(problem, k=6)) == 6


def test_price_of_a_pin_by_hand() -> None:
    price = price_of_pin(AllocationProblem(worked_example(), 32), "l0", 4)
    assert price.free.assignment.bits == (2, 2, 4)
    assert price.pinned.assignment.bits == (4, 2, 2)
    expected = price.pinned.objective - 2.64
    assert price.predicted_loss_increase == pytest.approx(expected / 2)
    assert price.predicted_loss_increase > 0
    assert price.size_bits == 0


def test_price_of_a_pin_replaces_the_pin_there_is() -> None:
    problem = AllocationProblem(worked_example(), pins={"l0": 2, "l1": 2})
    price = price_of_pin(problem, "l0", 4)
    assert price.free.assignment.bits[1] == 2
    assert price.pinned.assignment.bits[0] == 4


@pytest.mark.parametrize("seed", range(12))
def test_all_looked_at_are_ranked_as_the_definition_ranks_them(seed: int) -> None:
    problem = random_problem(seed)
    if n_assignments(problem) > 5000:
        pytest.skip("too many to list")
    expected = [objective for objective, _ in all_assignments(problem)][:7]
    program = compile_program(problem)
    ranked = ranked_choices(program, 7, math.inf)
    assert [program.objective(c) for c in ranked] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("magnitude", [1.0, 1e4, 1e8, 1e12])
@pytest.mark.parametrize("seed", range(3))
def test_interactions_far_above_the_others_change_no_order(seed: int, magnitude: float) -> None:
    """More assignments than are all looked at, so that trees search them."""
    matrix = random_matrix(np.random.default_rng(seed), n_layers=10, bits=(2, 4, 8), kind="psd")
    G = matrix.G.copy()
    for a, b in ((1, 5), (10, 16)):
        G[a, b] = G[b, a] = magnitude * np.abs(matrix.G).max()
    problem = average(dataclasses.replace(matrix, G=G), 4.0)
    program = compile_program(problem)
    assert program.n_assignments > FEW
    expected = [program.objective(c) for c in ranked_choices(program, 6, math.inf)]
    found = [solution.objective for solution in k_best(problem, k=6)]
    assert found == pytest.approx(expected, rel=1e-9)
