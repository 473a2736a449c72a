"""Greedy choices: they keep what they must, and are near what a search finds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clado_core as cc
from clado_core.allocation.greedy import adapted, greedy_front
from clado_core.allocation.sweep import budget_grid
from clado_core.solvers.local_search import LocalSearchSolver
from tests.conftest import make_matrix


def test_without_interactions_and_two_choices_it_is_exact_at_its_own_sizes() -> None:
    """There the climb is the knapsack's greedy, and every step ends at an optimum of the LP."""
    matrix = make_matrix(6, (2, 4), monotone=True)
    problem = cc.AllocationProblem(matrix)
    for choice in greedy_front(problem, budget_grid(problem, 20)):
        assert choice is not None
        there = dataclasses.replace(problem, budget_bits=choice.size_bits)
        best = cc.EnumerationSolver().solve(there).objective
        assert matrix.objective(choice.bits) == pytest.approx(best)


def test_every_budget_gets_what_fits_and_less_than_the_smallest_gets_none() -> None:
    problem = cc.AllocationProblem(make_matrix(12, (2, 3, 4, 8), seed=5))
    budgets = budget_grid(problem, 15)
    found = greedy_front(problem, [budgets[0] - 1, *budgets])
    assert found[0] is None
    losses = []
    for budget, choice in zip(budgets, found[1:], strict=True):
        assert choice is not None and choice.size_bits <= budget
        losses.append(problem.matrix.objective(choice.bits))
    assert losses == sorted(losses, reverse=True)


def test_it_is_near_what_a_search_finds() -> None:
    matrix = make_matrix(20, monotone=True)
    for budget in budget_grid(cc.AllocationProblem(matrix), 7)[1:]:
        problem = cc.AllocationProblem(matrix, budget_bits=budget)
        (choice,) = greedy_front(problem, [budget])
        assert choice is not None
        best = LocalSearchSolver().solve(problem).objective
        assert best <= matrix.objective(choice.bits) <= 1.3 * best


def test_wishes_are_kept_on_the_way_up() -> None:
    matrix = make_matrix(6)
    names = matrix.layers.names
    problem = cc.AllocationProblem(
        matrix, pins={names[0]: 8}, ties=((names[1], names[2]),), min_bits={names[3]: 4}
    )
    for choice in greedy_front(problem, budget_grid(problem, 9)):
        assert choice is not None and problem.is_feasible(choice)


def test_a_network_without_a_choice_has_its_one_answer() -> None:
    matrix = make_matrix(3)
    problem = cc.AllocationProblem(matrix, pins=dict.fromkeys(matrix.layers.names, 4))
    size = problem.extremes()[0].size_bits
    (only,) = greedy_front(problem, [size])
    assert only is not None and only.bits == (4, 4, 4)
    (again,) = adapted(problem, [size], [(8, 8, 8)])
    assert again is not None and again.bits == (4, 4, 4)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    share=st.floats(0.0, 1.0),
    locked=st.integers(0, 7),
    tied=st.booleans(),
)
def test_an_adapted_choice_keeps_wishes_and_budget(
    seed: int, share: float, locked: int, tied: bool
) -> None:
    matrix = make_matrix(8, seed=seed % 50)
    names = matrix.layers.names
    ties = ((names[0], names[5]),) if tied else ()
    free = cc.AllocationProblem(matrix, pins={names[locked]: 4}, ties=ties)
    smallest, largest = (each.size_bits for each in free.extremes())
    problem = dataclasses.replace(free, budget_bits=smallest + int(share * (largest - smallest)))
    bits = tuple(np.random.default_rng(seed).choice([2, 4, 8], 8).tolist())
    (found,) = adapted(free, [problem.budget_bits or 0], [bits])
    assert found is not None and problem.is_feasible(found)


def test_what_keeps_all_and_cannot_be_improved_stays() -> None:
    matrix = make_matrix(8)
    problem = cc.AllocationProblem(matrix, budget_bits=4 * matrix.layers.total_weights)
    best = LocalSearchSolver().solve(problem).assignment
    assert adapted(problem, [problem.budget_bits or 0], [best.bits]) == (best,)


@pytest.mark.parametrize("avg_bops", [80, 150])
def test_other_budgets_hold_too(avg_bops: int) -> None:
    matrix = make_matrix(6)
    bops = avg_bops * int(np.sum(matrix.layers.macs))
    problem = cc.AllocationProblem(
        matrix, budget_bits=5 * matrix.layers.total_weights, budget_bops=bops
    )
    (found,) = adapted(problem, [problem.budget_bits or 0], [(8,) * 6])
    assert found is not None and problem.is_feasible(found)
    for choice in greedy_front(problem, [problem.budget_bits or 0]):
        assert choice is not None and problem.is_feasible(choice)
