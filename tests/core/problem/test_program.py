"""The compiled program says what the problem says, for every kind of wish and menu."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clado_core import AllocationProblem
from clado_core.problem.program import compile_program
from tests.core.instances import worked_example
from tests.core.strategies import Case, all_choices, cases, keeps


@settings(max_examples=60, deadline=None)
@given(case=cases(max_layers=4))
def test_choices_are_the_assignments_that_keep_the_wishes(case: Case) -> None:
    problem = case.problem()
    program = compile_program(problem)
    expected, found = set(), set()
    for bits in itertools.product(problem.matrix.bit_widths, repeat=problem.matrix.n_layers):
        kept = keeps(problem, bits)
        assert problem.is_feasible(problem.assignment(bits)) == kept
        if kept:
            expected.add(bits)
    for choice in all_choices(program):
        if program.is_feasible(choice):
            found.add(program.layer_bits(choice))
    assert found == expected


@settings(max_examples=60, deadline=None)
@given(case=cases(), data=st.data())
def test_objectives_and_bits_go_back_and_forth(case: Case, data: st.DataObject) -> None:
    problem = case.problem()
    program = compile_program(problem)
    choice = np.array(
        [data.draw(st.integers(0, n - 1)) for n in program.n_choices.tolist()], dtype=np.int64
    )
    bits = program.layer_bits(choice)
    scale = np.abs(problem.matrix.G).max()
    assert program.objective(choice) == pytest.approx(
        problem.matrix.objective(bits), abs=1e-12 * scale
    )
    assert (program.choice_of(bits) == choice).all()
    assert program.n_decisions == sum(len(menu) > 1 for _, menu in problem.groups())
    assert program.n_variables == sum(len(menu) for _, menu in problem.groups() if len(menu) > 1)


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_interactions_inside_a_decision_are_gone(case: Case) -> None:
    """They never count, and what solvers make of Q relies on their absence."""
    problem = case.problem()
    program = compile_program(problem)
    assert (program.Q == program.Q.T).all()
    for start, stop in itertools.pairwise(program.offsets.tolist()):
        block = program.Q[start:stop, start:stop]
        assert (block == np.diag(block.diagonal())).all()


def test_a_program_cannot_be_written_to() -> None:
    """The part that does not depend on budgets is kept for the next problem."""
    program = compile_program(AllocationProblem(worked_example(), 32))
    for array in (program.Q, program.offsets, program.bits, program.costs, program.limits):
        with pytest.raises(ValueError, match="read-only"):
            array[..., 0] = 0
