"""Tables of moves, walks and descents, against objectives computed afresh."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from clado_core.allocation.k_best import neighbours
from clado_core.problem.program import Program, compile_program
from clado_core.solvers import DaqpSolver, LocalSearchSolver
from clado_core.solvers.neighbourhood import Moves, Neighbourhood
from clado_core.solvers.walks import tabu_walks
from tests.core.instances import average, random_matrix
from tests.core.strategies import Case, cases


def _moved(program: Program, choice: np.ndarray, move: Moves) -> np.ndarray:
    decision = np.repeat(np.arange(program.n_decisions), program.n_choices)
    other = choice.copy()
    for a in move:
        other[decision[a]] = a - program.offsets[decision[a]]
    return other


def _moves(program: Program, choice: np.ndarray) -> list[Moves]:
    """All 1-moves and 2-swaps of different decisions."""
    decision = np.repeat(np.arange(program.n_decisions), program.n_choices)
    chosen = set(program.variables(choice).tolist())
    others = [a for a in range(program.n_variables) if a not in chosen]
    pairs = [(a, b) for a, b in itertools.combinations(others, 2) if decision[a] != decision[b]]
    return [(a,) for a in others] + pairs


def _random_choice(program: Program, data: st.DataObject) -> np.ndarray:
    return np.array(
        [data.draw(st.integers(0, n - 1)) for n in program.n_choices.tolist()], dtype=np.int64
    )


@settings(max_examples=60, deadline=None)
@given(case=cases(), data=st.data())
def test_tables_follow_moves(case: Case, data: st.DataObject) -> None:
    """After any moves, each change and each limit is that of the choice computed afresh."""
    problem = case.problem()
    program = compile_program(problem)
    assume(program.n_decisions)
    table = Neighbourhood(program, _random_choice(program, data))
    # Differences of objectives, which hold what the pinned layers contribute.
    rounding = 1e-10 * max(table.scale, abs(program.constant))
    for _ in range(3):
        choice = table.choice
        used = program.costs[:, program.variables(choice)].sum(axis=1)
        assert (table.slack == program.limits - used).all()
        here = program.objective(choice)
        assert table.objective == pytest.approx(here - program.constant, abs=rounding)
        moves = _moves(program, choice)
        others = {move: _moved(program, choice, move) for move in moves}
        changes = {
            move: program.objective(other) - here
            for move, other in others.items()
            if program.is_feasible(other)
        }
        best, _ = table.best_move()
        assert best == pytest.approx(min(changes.values(), default=math.inf), abs=rounding)
        ranked = [changes[move] for move in table.ranked_moves(4)]
        assert ranked == pytest.approx(sorted(changes.values())[:4], abs=rounding)
        table.apply(data.draw(st.sampled_from(moves)))


def test_a_discouraged_variable_costs_more_and_a_forbidden_one_is_not_taken() -> None:
    problem = average(random_matrix(np.random.default_rng(0), n_layers=4, bits=(2, 4)), 3.0)
    program = compile_program(problem)
    table = Neighbourhood(program, np.zeros(4, dtype=np.int64))
    change, move = table.best_move()
    penalty = np.zeros(program.n_variables)
    penalty[list(move)] = math.inf
    other_change, other = table.best_move(penalty)
    assert other_change >= change and not set(other) & set(move)
    nothing = table.best_move(np.full(program.n_variables, math.inf))
    assert nothing[0] == math.inf


@settings(max_examples=40, deadline=None)
@given(case=cases(), k=st.integers(1, 4))
def test_neighbours_are_the_best_choices_one_or_two_moves_away(case: Case, k: int) -> None:
    problem = case.problem()
    program = compile_program(problem)
    assume(program.n_decisions)
    choice = np.zeros(program.n_decisions, dtype=np.int64)
    others = (_moved(program, choice, move) for move in _moves(program, choice))
    values = sorted(program.objective(other) for other in others if program.is_feasible(other))
    found = neighbours(program, choice, k)
    scale = np.abs(program.Q).max()
    assert sorted(found.values())[:k] == pytest.approx(values[:k], abs=1e-10 * scale)
    for other, value in found.items():
        assert program.objective(np.array(other, dtype=np.int64)) == value


ALL_FORBIDDEN = Case(
    menu=(2, 4, 8),
    seed=249,
    kind="psd",
    bits=(2, 2, 2, 2),
    wishes={"pins": {"l1": 2}},
    slacks={},
)
"""So few variables that walks meet steps at which none may be switched on."""


@settings(max_examples=40, deadline=None)
@given(case=cases(), seed=st.integers(0, 99))
@example(case=ALL_FORBIDDEN, seed=0)
def test_walks_hand_out_better_and_better_feasible_choices(case: Case, seed: int) -> None:
    problem = case.problem()
    program = compile_program(problem)
    assume(program.n_decisions)
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, program.n_choices, (5, program.n_decisions))
    start_values = [program.objective(start) for start in starts if program.is_feasible(start)]
    found = list(tabu_walks(program, starts, rng, 150))
    assert all(program.is_feasible(choice) for choice in found)
    values = [program.objective(choice) for choice in found]
    slack = 1e-9 * np.abs(program.Q).max()
    assert all(after < before + slack for before, after in itertools.pairwise(values))
    assert min(values, default=math.inf) <= min(start_values, default=math.inf) + slack


def test_walks_hand_bests_out_before_they_end() -> None:
    """Whoever asked looks at the clock in between."""
    matrix = random_matrix(np.random.default_rng(0), n_layers=30, bits=(2, 4, 8))
    program = compile_program(average(matrix, 4.0))
    starts = np.zeros((2, 30), dtype=np.int64)
    assert len(list(tabu_walks(program, starts, np.random.default_rng(0), 300))) > 1


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_descents_end_where_no_move_is_better(case: Case) -> None:
    """Each of the three descents ends in a local minimum; the answer is the best of them."""
    problem = case.problem()
    program = compile_program(problem)
    assume(program.n_decisions and program.is_feasible(np.zeros(program.n_decisions, np.int64)))
    answer = LocalSearchSolver(n_walks=0).solve(problem)
    table = Neighbourhood(program, program.choice_of(answer.assignment.bits))
    assert table.best_move()[0] >= -1e-9 * table.scale


def test_walks_find_the_optimum_that_descents_miss() -> None:
    """Of 20 dense problems, descents alone miss some optima, walks none."""
    missed = {"descents": 0, "walks": 0}
    for seed in range(20):
        matrix = random_matrix(np.random.default_rng(seed), n_layers=14, bits=(2, 4, 8))
        problem = average(matrix, 4.0)
        optimum = DaqpSolver().solve(problem).objective
        for name, n_walks in (("descents", 0), ("walks", 64)):
            found = LocalSearchSolver(n_walks=n_walks).solve(problem).objective
            missed[name] += found > optimum + 1e-6 * abs(optimum)
    assert missed["walks"] == 0 < missed["descents"]
