"""What is kept of the choices found: all that answers the grid, and no more than a limit."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

import clado_core as cc
from clado_core.allocation.sharing import ProvenBound, shared_answers
from dashboard.known.found import Found
from tests.conftest import make_matrix

MATRIX = make_matrix(3)
PROBLEM = cc.AllocationProblem(MATRIX)
CHOICES = list(itertools.product(MATRIX.bit_widths, repeat=3))
LEAST, MOST = (each.size_bits for each in PROBLEM.extremes())
GRID = tuple(round(LEAST + share * (MOST - LEAST)) for share in (0.0, 0.3, 0.6, 1.0))
OTHERS = 2


def solution(bits: tuple[int, ...], bound: float) -> cc.Solution:
    """As a solver gives it; without a bound where that is −inf."""
    return cc.Solution(
        assignment=PROBLEM.assignment(bits),
        status=cc.SolveStatus.HEURISTIC,
        objective=MATRIX.objective(bits),
        bound=bound,
        method="clado",
        solver="some",
        runtime_s=0.0,
        first_answer_s=0.0,
    )


additions = st.lists(
    st.tuples(
        st.integers(LEAST, MOST),
        st.sampled_from(CHOICES),
        st.one_of(st.just(float("-inf")), st.integers(-50, 50).map(float)),
        st.integers(LEAST, MOST),
    ),
    max_size=40,
)
"""(budget, choice, bound, a budget that is asked for afterwards)."""


@settings(max_examples=200, deadline=None)
@given(additions=additions)
def test_the_grid_is_answered_as_if_nothing_was_forgotten(
    additions: list[tuple[int, tuple[int, ...], float, int]],
) -> None:
    found, choices, bounds = Found(GRID, others=OTHERS), [], []
    for budget, bits, bound, asked in additions:
        added = solution(bits, bound)
        found.add(budget, added)
        choices.append(added)
        bounds.append(ProvenBound(budget, bound, "some"))
        found.best(asked)
        assert found.within(GRID) == shared_answers(GRID, choices, bounds)
        assert len(found._bounds) <= len(GRID) + OTHERS
        answered = {*GRID, *found._bounds}
        assert len(found.by_size()) <= len(answered) + OTHERS
    assert found.version == len(additions)


def test_the_answer_last_asked_for_outlives_others() -> None:
    found = Found((MOST,), others=4)
    small, *others = sorted(CHOICES, key=lambda bits: PROBLEM.assignment(bits).size_bits)
    found.add(LEAST, solution(small, float("-inf")))
    for bits in others:
        found.best(LEAST)
        found.add(MOST, solution(bits, float("-inf")))
    kept = [each.assignment.bits for each in found.by_size()]
    assert small in kept and len(kept) < len(CHOICES) / 2


def test_a_proven_answer_beside_the_grid_is_kept_with_its_proof() -> None:
    found = Found((MOST,), others=2)
    least = MATRIX.objective((2, 2, 2))
    found.add(LEAST, solution((2, 2, 2), least))
    for bits in CHOICES[1:]:
        found.add(MOST, solution(bits, float("-inf")))
    best = found.best(LEAST)
    assert best is not None and best.status is cc.SolveStatus.OPTIMAL
    assert len(found.by_size()) < len(CHOICES)
