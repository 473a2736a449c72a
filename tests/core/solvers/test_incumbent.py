"""The record that every solver keeps: what it takes, what it reports, what it makes of both."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clado_core import AllocationProblem, SolveStatus
from clado_core.solvers import Progress
from clado_core.solvers.incumbent import Incumbent
from tests.core.instances import worked_example

WORST, BETTER, BEST = (np.array(c) for c in ((0, 0, 0), (1, 0, 0), (0, 0, 1)))
"""Choices of the worked example within 32 bits: 5.80, then (4, 2, 2), then 2.64."""


def test_only_a_better_choice_is_kept_and_reported() -> None:
    seen: list[Progress] = []
    incumbent = Incumbent(AllocationProblem(worked_example(), 32), on_progress=seen.append)
    assert incumbent.gap == math.inf and not incumbent.is_settled
    taken = [incumbent.offer(choice) for choice in (WORST, BEST, BEST, BETTER)]
    assert taken == [True, True, False, False]
    assert incumbent.assignment.bits == (2, 2, 4)
    assert [p.objective for p in seen] == pytest.approx([5.80, 2.64])
    assert seen[-1].assignment == incumbent.assignment


def test_a_choice_that_is_kept_is_the_solver_s_no_more() -> None:
    incumbent = Incumbent(AllocationProblem(worked_example(), 32))
    choice = BEST.copy()
    incumbent.offer(choice)
    choice[:] = 0
    assert incumbent.assignment.bits == (2, 2, 4)


def test_only_a_tighter_bound_is_kept_and_none_is_above_the_answer() -> None:
    seen: list[Progress] = []
    incumbent = Incumbent(AllocationProblem(worked_example(), 32), on_progress=seen.append)
    incumbent.prove(1.0)
    assert not seen  # there is no answer to report it with
    incumbent.offer(BEST)
    for bound in (2.0, 1.5, 2.0, 9.0):
        incumbent.prove(bound)
    assert [p.bound for p in seen] == [1.0, 2.0, incumbent.objective]
    assert incumbent.gap == 0.0
    assert incumbent.solution("daqp").gap == 0.0
    assert incumbent.solution("daqp").status is SolveStatus.OPTIMAL


def test_without_a_bound_the_solution_has_no_gap() -> None:
    incumbent = Incumbent(AllocationProblem(worked_example(), 32))
    with pytest.raises(RuntimeError, match="No answer"):
        incumbent.solution("local-search")
    incumbent.offer(WORST)
    incumbent.offer(BEST)
    solution = incumbent.solution("local-search")
    assert (solution.bound, solution.gap) == (-math.inf, None)
    assert (solution.method, solution.solver) == ("clado", "local-search")
    assert 0 <= solution.first_answer_s <= solution.runtime_s


def test_the_first_answer_stays_the_first() -> None:
    incumbent = Incumbent(AllocationProblem(worked_example(), 32))
    incumbent.offer(WORST)
    first = incumbent.solution("x").first_answer_s
    incumbent.offer(BEST)
    assert incumbent.solution("x").first_answer_s == first


def test_what_is_left_of_a_limit_is_never_below_zero() -> None:
    incumbent = Incumbent(AllocationProblem(worked_example(), 32))
    assert incumbent.left_s(None) is None
    assert incumbent.left_s(0.0) == 0.0
    left = incumbent.left_s(1000.0)
    assert left is not None and 1000.0 - incumbent.elapsed_s <= left <= 1000.0
