"""The k best assignments and the price of a pin, against brute force."""

from __future__ import annotations

import pytest

from clado_core import AllocationProblem, SolveStatus
from clado_core.allocation.k_best import k_best, price_of_pin
from clado_core.errors import InputError
from clado_core.problem.solution import PROVEN_GAP
from tests.conftest import make_matrix
from tests.core.instances import all_assignments, n_assignments, random_problem, worked_example

SMALL = [seed for seed in range(30) if n_assignments(random_problem(seed)) <= 3000]


@pytest.mark.parametrize("seed", SMALL)
def test_k_best_equals_a_sorted_enumeration(seed: int) -> None:
    problem = random_problem(seed)
    expected = [objective for objective, _ in all_assignments(problem)[:6]]
    found = k_best(problem, k=6)
    assert [s.objective for s in found] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert len({s.assignment.bits for s in found}) == len(found)
    assert all(problem.is_feasible(s.assignment) for s in found)
    assert all(s.bound <= expected[0] + 1e-12 for s in found)
    assert found[0].gap is not None and found[0].gap <= PROVEN_GAP


def test_k_best_stops_at_the_tolerance() -> None:
    problem = AllocationProblem(worked_example())
    objectives = [objective for objective, _ in all_assignments(problem)]
    best = objectives[0]
    expected = [value for value in objectives if value <= best + 4 * abs(best)]
    found = k_best(problem, k=100, within=4.0)
    assert [s.objective for s in found] == pytest.approx(expected)
    assert len(k_best(problem, k=100)) == len(objectives)


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
