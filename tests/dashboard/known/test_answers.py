"""What is known about a network's best choices: bounds and choices are shared by budgets."""

from __future__ import annotations

import dataclasses

import clado_core as cc
from clado_core.solvers.enumerate import EnumerationSolver
from dashboard.known.answers import Answers, solution_from_message
from dashboard.rules import NO_RULES, Rules


def _solved(matrix: cc.SensitivityMatrix, budget: int) -> cc.Solution:
    return EnumerationSolver().solve(cc.AllocationProblem(matrix, budget_bits=budget))


def test_choices_serve_larger_budgets_and_bounds_smaller_ones(
    worked_example: cc.SensitivityMatrix,
) -> None:
    answers = Answers(worked_example, NO_RULES)
    answers.add(32, _solved(worked_example, 32))
    answers.add(48, _solved(worked_example, 48))
    at_32, at_40, at_24 = (answers.best(b) for b in (32, 40, 24))
    assert at_32 is not None and at_32.status is cc.SolveStatus.OPTIMAL
    assert at_40 is not None and at_40.assignment.bits == (2, 2, 4)
    assert at_40.status is cc.SolveStatus.HEURISTIC
    assert at_40.bound <= 2.18 + 1e-12
    assert at_24 is None


def test_a_proof_names_who_proved(worked_example: cc.SensitivityMatrix) -> None:
    answers = Answers(worked_example, NO_RULES)
    quick = answers.quick(32, thorough=True)
    assert quick.status is cc.SolveStatus.HEURISTIC
    answers.add(32, dataclasses.replace(_solved(worked_example, 32), solver="scip"))
    proven = answers.best(32)
    assert proven is not None
    assert proven.status is cc.SolveStatus.OPTIMAL
    assert "scip" in proven.solver


def test_front_is_the_same_object_until_it_changes(toy_matrix: cc.SensitivityMatrix) -> None:
    answers = Answers(toy_matrix, NO_RULES)
    answers.sweep()
    front, version = answers.front(), answers.front_version
    answers.add(answers.least_bits, answers.quick(answers.least_bits, thorough=False))
    assert answers.front() is front
    assert answers.front_version == version
    sizes = [s.assignment.size_bits for s in front]
    losses = [s.objective for s in front]
    assert sizes == sorted(sizes)
    assert losses == sorted(losses, reverse=True)


def test_locks_are_kept(toy_matrix: cc.SensitivityMatrix) -> None:
    answers = Answers(toy_matrix, Rules(locks=(("block0.conv0", 8),)))
    answers.sweep()
    assert all(s.assignment.bits[0] == 8 for s in answers.front())


def test_a_message_becomes_a_solution(worked_example: cc.SensitivityMatrix) -> None:
    message = {
        "bits": [2, 2, 4],
        "status": "OPTIMAL",
        "bound": 2.64,
        "solver": "scip",
        "runtime_s": 1.0,
        "first_answer_s": 0.1,
    }
    solution = solution_from_message(worked_example, message)
    assert solution.objective == worked_example.objective((2, 2, 4))
    assert solution.assignment.bits == (2, 2, 4)
