"""The inverse question against enumeration, and what is said where time runs out."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import clado_core as cc
from clado_core.allocation.reach import unit_of
from clado_core.records.matrix import LOSS_PER_OBJECTIVE
from clado_core.solvers import LocalSearchSolver
from tests.core.instances import all_assignments, measured, random_problem
from tests.large_network import large_matrix


def _levels(problem: cc.AllocationProblem) -> list[tuple[float, int]]:
    """(x'Gx, bits) of every assignment within the wishes."""
    return [
        (objective, problem.assignment(bits).size_bits)
        for objective, bits in all_assignments(problem)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_it_agrees_with_enumeration(seed: int) -> None:
    """Of every kind of rule, with other budgets, indefinite and not, with joint menus."""
    problem = random_problem(seed)
    levels = _levels(problem)
    objectives = sorted({objective for objective, _ in levels})
    rng = np.random.default_rng(seed)
    for k in rng.integers(0, len(objectives), 4):
        # Between two levels, so that rounding decides nothing.
        above = objectives[k + 1] if k + 1 < len(objectives) else objectives[k] + 1
        limit = (objectives[k] + above) / 2
        if above - objectives[k] < 1e-9 * abs(above):
            continue
        found = cc.smallest_size(problem, max_loss=LOSS_PER_OBJECTIVE * limit)
        fewest = min(size for objective, size in levels if objective <= limit)
        best = min(objective for objective, size in levels if size == fewest)
        assert found.is_proven and found.solution.assignment.size_bits == fewest
        assert found.solution.objective == pytest.approx(best, rel=1e-6, abs=1e-9)
        assert problem.is_feasible(found.solution.assignment)


def test_what_no_choice_reaches_is_a_sentence_with_the_least() -> None:
    problem = random_problem(7)
    least = min(objective for objective, _ in _levels(problem)) * LOSS_PER_OBJECTIVE
    with pytest.raises(cc.InputError, match=r"at most .*: the least is ") as refused:
        cc.smallest_size(problem, max_loss=least - 0.01)
    assert f"{least:.6g}" in str(refused.value)
    with pytest.raises(cc.InputError, match="must be a number"):
        cc.smallest_size(problem, max_loss=math.nan)


def test_without_a_prover_nothing_is_called_proven() -> None:
    """Local search proves nothing: what it finds stands, and how far down the truth may be."""
    problem = cc.AllocationProblem(measured("cifar10-resnet20-per-channel-23468"))
    found = cc.smallest_size(problem, max_loss=0.05, solver=LocalSearchSolver())
    lowest = problem.extremes()[0].size_bits
    assert not found.is_proven and found.too_few_bits == lowest - 1
    assert found.solution.predicted_loss_increase <= 0.05


def test_an_open_proof_still_says_how_many_bits_are_too_few() -> None:
    """A prover that is quick only below some budget leaves an interval that holds the truth."""
    matrix = measured("cifar10-resnet20-per-tensor-248")
    problem = cc.AllocationProblem(matrix)
    truth = cc.smallest_size(problem, max_loss=0.1)
    assert truth.is_proven
    size, lowest = truth.solution.assignment.size_bits, problem.extremes()[0].size_bits
    easy_bits = (size + lowest) // 2

    class Tired(cc.TieredSolver):
        def solve(self, problem, /, **options):  # type: ignore[no-untyped-def]
            quick = (problem.budget_bits or 0) <= easy_bits
            return (cc.TieredSolver() if quick else LocalSearchSolver()).solve(problem, **options)

    seen: list[tuple[int, int]] = []
    found = cc.smallest_size(
        problem, max_loss=0.1, solver=Tired(), on_progress=lambda *ends: seen.append(ends)
    )
    # What is proven of a budget holds up to the next size that there is.
    next_size = easy_bits + unit_of(matrix, "budget_bits")
    assert not found.is_proven and easy_bits <= found.too_few_bits < next_size
    assert found.too_few_bits < size <= found.solution.assignment.size_bits
    assert seen[-1][1] == found.too_few_bits
    assert all(a >= b for (a, _), (b, _) in pairwise(seen))


def test_time_that_is_over_ends_it_with_what_was_found() -> None:
    problem = cc.AllocationProblem(measured("cifar10-vit-per-channel-23468"))
    found = cc.smallest_size(problem, max_loss=0.02, time_limit_s=0.2)
    assert found.solution.predicted_loss_increase <= 0.02
    at_once = replace(problem, budget_bits=found.solution.assignment.size_bits)
    assert at_once.is_feasible(found.solution.assignment)


def test_proofs_go_as_far_as_the_target() -> None:
    """Of a budget far too small nothing is proven but that."""
    problem = cc.AllocationProblem(measured("cifar10-resnet20-per-tensor-248"))
    bounds: dict[int, cc.Solution] = {}

    class Watched(cc.TieredSolver):
        def solve(self, problem, /, **options):  # type: ignore[no-untyped-def]
            found = super().solve(problem, **options)
            bounds[problem.budget_bits or 0] = found
            return found

    found = cc.smallest_size(problem, max_loss=0.1, solver=Watched(race=False))
    size = found.solution.assignment.size_bits
    below = bounds[size - 1]
    assert found.is_proven and set(bounds) == {size - 1, size}
    assert below.status is cc.SolveStatus.GAP_LIMIT and below.bound > 0.2
    assert below.objective - below.bound > 0.5 * (below.objective - 0.2)


def test_few_walks_go_ahead_in_large_networks() -> None:
    """And what they find is as small as all walks find at every step."""
    problem = cc.AllocationProblem(large_matrix(101, 3))
    found = cc.smallest_size(problem, max_loss=0.03, solver=LocalSearchSolver(n_walks=0))
    size = found.solution.assignment.size_bits
    assert found.solution.predicted_loss_increase <= 0.03
    smaller = replace(problem, budget_bits=int(0.995 * size))
    assert LocalSearchSolver().solve(smaller).predicted_loss_increase > 0.03


def test_searches_keep_the_time_limit_too() -> None:
    """Each takes seconds at this size, and all of them took ten times the limit."""
    problem = cc.AllocationProblem(large_matrix(200, 5))
    began = time.process_time()
    found = cc.smallest_size(problem, max_loss=0.03, time_limit_s=2)
    assert time.process_time() - began < 12
    assert found.solution.predicted_loss_increase <= 0.03 and not found.is_proven
