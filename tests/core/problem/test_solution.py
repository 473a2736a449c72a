"""Gaps, what a bound proven elsewhere does to a status, and the plain values of a solution."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from clado_core import AllocationProblem, Solution, SolveStatus
from clado_core.problem.solution import PROVEN_GAP, relative_gap, with_bound
from tests.conftest import make_matrix
from tests.core.instances import MENUS


def _solution(objective: float, bound: float, status: SolveStatus, solver: str) -> Solution:
    problem = AllocationProblem(make_matrix(2))
    return Solution(
        assignment=problem.extremes()[0],
        status=status,
        objective=objective,
        bound=bound,
        method="clado",
        solver=solver,
        runtime_s=2.0,
        first_answer_s=1.0,
    )


@pytest.mark.parametrize(
    ("objective", "bound", "gap"),
    [
        (2.0, 1.0, 0.5),
        (-2.0, -3.0, 0.5),
        (0.0, 0.0, 0.0),
        (5.0, 5.0, 0.0),
        (0.0, -1.0, None),
        (1.0, -math.inf, None),
    ],
)
def test_the_gap_is_relative_to_the_objective(
    objective: float, bound: float, gap: float | None
) -> None:
    assert relative_gap(objective, bound) == gap


def test_a_bound_from_elsewhere_is_cut_off_at_the_objective_and_proves() -> None:
    found = _solution(4.0, -math.inf, SolveStatus.TIME_LIMIT, "walks")
    proven = with_bound(found, 5.0, "daqp")
    assert (proven.bound, proven.status) == (4.0, SolveStatus.OPTIMAL)
    assert proven.solver == "found by walks, proven by daqp"
    assert with_bound(replace(found, solver="daqp"), 5.0, "daqp+scip").solver == "daqp+scip"


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_proven_is_a_gap_up_to_the_promised_one(share: float) -> None:
    found = _solution(1.0, -math.inf, SolveStatus.TIME_LIMIT, "walks")
    status = with_bound(found, 1.0 - share * PROVEN_GAP, "daqp").status
    assert (status is SolveStatus.OPTIMAL) == (share < 1)


def test_a_bound_that_proves_nothing_leaves_status_and_solver() -> None:
    found = _solution(4.0, 1.0, SolveStatus.TIME_LIMIT, "walks")
    for bound in (-math.inf, 0.5, 2.0):
        beside = with_bound(found, bound, "daqp")
        assert (beside.bound, beside.status, beside.solver) == (bound, found.status, "walks")


@pytest.mark.parametrize("bound", [1.0, 2.0])
def test_what_was_proven_stands_beside_a_bound_as_tight(bound: float) -> None:
    within = _solution(4.0, 1.0, SolveStatus.GAP_LIMIT, "daqp")
    assert with_bound(within, bound, "scip").status is SolveStatus.GAP_LIMIT
    assert with_bound(within, 0.5, "scip").status is SolveStatus.HEURISTIC


def test_plain_values_are_json_and_name_joint_choices() -> None:
    joint = AllocationProblem(make_matrix(2, MENUS[-1])).extremes()[0]
    values = replace(
        _solution(4.0, -math.inf, SolveStatus.HEURISTIC, "walks"), assignment=joint
    ).to_json()
    assert json.loads(json.dumps(values)) == values
    assert set(values["assignment"].values()) == {"3a8"}
    assert (values["status"], values["bound"], values["gap"]) == ("heuristic", None, None)
    assert values["predicted_loss_increase"] == 2.0
    assert (values["runtime_s"], values["first_answer_s"]) == (2.0, 1.0)
    assert (values["size_bits"], values["bops"]) == (joint.size_bits, joint.bops)
    bounded = _solution(4.0, 3.0, SolveStatus.GAP_LIMIT, "daqp").to_json()
    assert (bounded["status"], bounded["bound"], bounded["gap"]) == ("gap_limit", 3.0, 0.25)
