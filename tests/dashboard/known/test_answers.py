"""What is known about a network's best choices: bounds and choices are shared by budgets."""

from __future__ import annotations

import dataclasses
import math

import clado_core as cc
from clado_core.solvers.enumerate import EnumerationSolver
from dashboard.known.answers import Answers, solution_from_message
from dashboard.rules import NO_RULES, Rules
from dashboard.workers.searches import GREEDY, Effort
from tests.conftest import make_matrix


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


def _grid_solved(matrix: cc.SensitivityMatrix) -> Answers:
    """Every budget of the grid proven by enumeration."""
    answers = Answers(matrix, NO_RULES)
    for budget in answers.grid:
        answers.searched(budget, _solved(matrix, budget), Effort.FULL)
    return answers


def test_a_lock_starts_from_the_unlocked_front_and_its_bounds_hold() -> None:
    matrix = make_matrix(6, seed=3)
    free = _grid_solved(matrix)
    locked = Answers(matrix, NO_RULES.with_lock(matrix.layers.names[1], 8))
    locked.guess([free])
    assert set(locked.left()) == set(locked.grid)
    for budget, found in zip(locked.grid, locked.at(locked.grid), strict=True):
        assert found is not None and found.assignment.bits[1] == 8
        assert found.assignment.size_bits <= budget
        best = EnumerationSolver().solve(locked.rules.problem(matrix, budget)).objective
        assert -math.inf < found.bound <= best + 1e-9 and best <= found.objective + 1e-9


def test_what_the_lock_does_not_change_stays_proven() -> None:
    matrix = make_matrix(6, seed=3)
    free = _grid_solved(matrix)
    budget = free.grid[20]
    best = free.best(budget)
    assert best is not None
    locked = Answers(matrix, NO_RULES.with_lock(matrix.layers.names[0], best.assignment.bits[0]))
    locked.guess([free])
    kept = locked.best(budget)
    assert kept is not None and kept.assignment == best.assignment
    assert kept.status is cc.SolveStatus.OPTIMAL


def test_bounds_of_other_rules_that_may_not_hold_are_left() -> None:
    matrix = make_matrix(6, seed=3)
    names = matrix.layers.names
    other = Answers(matrix, NO_RULES.with_lock(names[0], 2))
    for budget in other.grid:
        solved = EnumerationSolver().solve(other.rules.problem(matrix, budget))
        other.searched(budget, solved, Effort.FULL)
    for rules in (NO_RULES, NO_RULES.with_lock(names[0], 8)):
        known = Answers(matrix, rules)
        known.guess([other])
        assert all(s is None or s.bound == -math.inf for s in known.at(known.grid))


def test_a_guess_that_no_search_improves_is_a_guess_no_more() -> None:
    matrix = make_matrix(6, seed=3)
    known = Answers(matrix, NO_RULES)
    known.guess()
    budget = known.most_bits
    guess = known.best(budget)
    assert guess is not None and guess.solver == GREEDY
    known.searched(budget, dataclasses.replace(guess, solver="local-search"), Effort.FIRST)
    found = known.best(budget)
    assert found is not None and found.solver == "local-search"
    assert budget not in known.left()


def test_a_small_network_is_searched_at_once_and_guesses_do_no_harm() -> None:
    matrix = make_matrix(6, seed=3)
    plain, guessed = Answers(matrix, NO_RULES), Answers(matrix, NO_RULES)
    guessed.guess()
    for known in (plain, guessed):
        known.sweep()
        assert known.left() == []
    pairs = zip(plain.at(plain.grid), guessed.at(plain.grid), strict=True)
    assert all(a and b and b.objective <= a.objective + 1e-12 for a, b in pairs)
