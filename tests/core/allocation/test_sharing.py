"""What the answers at some budgets say about others, against the definition."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clado_core as cc
from clado_core.allocation.sharing import ProvenBound, shared_answers
from clado_core.problem.solution import with_bound
from tests.conftest import make_matrix

MATRIX = make_matrix(2)
SIZES = {bits: cc.AllocationProblem(MATRIX).assignment(bits).size_bits for bits in ((2, 2), (8, 8))}


def solution(
    bits: tuple[int, ...], objective: float, *, bound: float = -math.inf, solver: str = "walks"
) -> cc.Solution:
    return cc.Solution(
        assignment=cc.AllocationProblem(MATRIX).assignment(bits),
        status=cc.SolveStatus.HEURISTIC,
        objective=objective,
        bound=bound,
        method="clado",
        solver=solver,
        runtime_s=0.0,
        first_answer_s=0.0,
    )


def test_a_smaller_choice_answers_a_larger_budget_and_a_larger_bound_a_smaller_one() -> None:
    small, large = SIZES[2, 2], SIZES[8, 8]
    found = [solution((2, 2), 5.0), solution((8, 8), 7.0)]
    bounds = [ProvenBound(large, 4.0, "daqp"), ProvenBound(small, 5.0, "scip")]
    nothing, at_small, at_large = shared_answers([small - 1, small, large], found, bounds)
    assert nothing is None and at_small is not None and at_large is not None
    assert (at_small.objective, at_small.bound) == (5.0, 5.0)
    assert at_small.status is cc.SolveStatus.OPTIMAL
    assert at_small.solver == "found by walks, proven by scip"
    assert (at_large.objective, at_large.bound) == (5.0, 4.0)
    assert at_large.status is cc.SolveStatus.HEURISTIC and at_large.solver == "walks"


@settings(max_examples=200, deadline=None)
@given(
    budgets=st.lists(st.integers(0, 1500), min_size=1, max_size=6),
    found=st.lists(
        st.tuples(st.sampled_from(MATRIX.bit_widths), st.sampled_from(MATRIX.bit_widths)).flatmap(
            lambda bits: st.tuples(st.just(bits), st.floats(-3, 3))
        ),
        max_size=6,
    ),
    bounds=st.lists(st.tuples(st.integers(0, 1500), st.floats(-4, 4)), max_size=6),
)
def test_one_pass_is_the_definition(
    budgets: list[int],
    found: list[tuple[tuple[int, ...], float]],
    bounds: list[tuple[int, float]],
) -> None:
    choices = [solution(bits, objective) for bits, objective in found]
    answers = shared_answers(budgets, choices, [ProvenBound(*b, "daqp") for b in bounds])
    for budget, answer in zip(budgets, answers, strict=True):
        fits = [c for c in choices if c.assignment.size_bits <= budget]
        if not fits:
            assert answer is None
            continue
        assert answer is not None
        assert answer.objective == min(c.objective for c in fits)
        proven = max((value for at, value in bounds if at >= budget), default=-math.inf)
        assert answer.bound == min(proven, answer.objective)


@pytest.mark.parametrize("status", [cc.SolveStatus.OPTIMAL, cc.SolveStatus.GAP_LIMIT])
def test_a_proof_does_not_outlive_its_bound(status: cc.SolveStatus) -> None:
    bound = 5.0 if status is cc.SolveStatus.OPTIMAL else 4.9
    proven = replace(solution((2, 2), 5.0, bound=bound), status=status)
    assert with_bound(proven, 1.0, "daqp").status is cc.SolveStatus.HEURISTIC
    assert with_bound(proven, bound, "daqp").status is status
    assert with_bound(proven, 4.95, "daqp").status is not cc.SolveStatus.OPTIMAL
