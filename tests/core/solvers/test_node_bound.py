"""Bounds of parts of the assignments, against a look at every one of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clado_core import AllocationProblem
from clado_core.problem.program import Program, compile_program
from clado_core.solvers import compute_shifts
from clado_core.solvers.convexify import ConvexForm, budget_rows, convex_form, convexify
from clado_core.solvers.node_bound import NodeRelaxation
from clado_core.solvers.reference_form import reference_form
from tests.core.strategies import Case, all_choices, cases


def _binaries(convex: ConvexForm, program: Program, choice: np.ndarray) -> np.ndarray:
    return np.isin(convex.form.kept, program.variables(choice)) * 1.0


def _value(convex: ConvexForm, z: np.ndarray) -> float:
    return float(convex.form.base + convex.linear @ z + z @ convex.H @ z)


@settings(max_examples=40, deadline=None)
@given(case=cases(max_layers=4), seed=st.integers(0, 2**16))
def test_a_convex_form_is_the_objective_on_every_assignment(case: Case, seed: int) -> None:
    problem = case.problem()
    program = compile_program(problem)
    assume(program.n_decisions)
    form = reference_form(program)
    same = np.equal.outer(form.decision, form.decision)
    noise = np.random.default_rng(seed).normal(size=same.shape) * np.abs(program.Q).max()
    forms = [convexify(program), convex_form(form, np.where(same, noise + noise.T, 0.0))]
    scale = max(np.abs(convex.H).max() for convex in forms)
    for convex in forms:
        assert np.linalg.eigvalsh(convex.H)[0] > 0
        for choice in all_choices(program):
            value = _value(convex, _binaries(convex, program, choice))
            assert value == pytest.approx(program.objective(choice), rel=1e-9, abs=1e-11 * scale)


@settings(max_examples=30, deadline=None)
@given(case=cases(max_layers=4))
def test_shifts_of_the_matrix_give_the_objective_on_every_assignment(
    case: Case,
) -> None:
    problem = case.problem()
    program = compile_program(problem)
    assume(program.n_decisions)
    shifts = compute_shifts(problem.matrix, n_sizes=2)
    low, high = shifts.sizes_bits[[0, -1]].tolist()
    for size in (low - 1, (low + high) // 2, high + 1):
        convex = shifts.convex_form(problem, program, size)
        scale = np.abs(convex.H).max()
        assert np.linalg.eigvalsh(convex.H)[0] > 0
        for choice in all_choices(program):
            value = _value(convex, _binaries(convex, program, choice))
            assert value == pytest.approx(program.objective(choice), rel=1e-9, abs=1e-11 * scale)


@settings(max_examples=60, deadline=None)
@given(case=cases(max_layers=4))
def test_rows_of_budgets_are_kept_by_the_choices_within_the_limits(case: Case) -> None:
    """And limits that no choice breaks have no row."""
    program = compile_program(case.problem())
    assume(program.n_decisions)
    form = reference_form(program)
    rows, room = budget_rows(program, form)
    choices = all_choices(program)
    used = np.array([program.costs[:, program.variables(c)].sum(axis=1) for c in choices])
    assert len(rows) == (used > program.limits).any(axis=0).sum()
    assert np.abs(rows).max(initial=1.0) == 1.0
    for choice in choices:
        z = np.isin(form.kept, program.variables(choice)) * 1.0
        assert (rows @ z <= room + 1e-9).all() == program.is_feasible(choice)


@settings(max_examples=60, deadline=None)
@given(case=cases(max_layers=4), data=st.data())
def test_no_assignment_of_a_node_is_below_its_bound(case: Case, data: st.DataObject) -> None:
    """Nodes fix z to 0 or 1 and rule references out, as branching and propagation do."""
    problem = case.problem()
    program = compile_program(problem)
    assume(program.n_decisions)
    convex = convexify(program)
    state = [data.draw(st.sampled_from("00122222")) for _ in convex.linear]
    low = np.array([s == "1" for s in state]) * 1.0
    high = np.array([s != "0" for s in state]) * 1.0
    reference_high = np.array(
        [data.draw(st.sampled_from((0.0, 1.0, 1.0))) for _ in program.members]
    )
    node = NodeRelaxation(program, convex).bound(low, high, reference_high)
    slack = 1e-9 * np.abs(program.Q).sum()
    for choice in all_choices(program):
        z = _binaries(convex, program, choice)
        at_reference = np.isin(convex.form.reference, program.variables(choice))
        inside = (low <= z).all() and (z <= high).all() and (at_reference <= reference_high).all()
        if inside and program.is_feasible(choice):
            value = program.objective(choice)
            assert value >= node.value - slack
            if math.isfinite(node.value):
                assert value >= node.value + (node.excess * z).max(initial=0.0) - slack


@settings(max_examples=40, deadline=None)
@given(case=cases(max_layers=4), data=st.data())
def test_a_node_of_one_assignment_is_worth_its_objective(case: Case, data: st.DataObject) -> None:
    problem = case.problem()
    program = compile_program(problem)
    assume(program.n_decisions)
    convex = convexify(program)
    choice = data.draw(st.sampled_from(all_choices(program)))
    z = _binaries(convex, program, choice)
    node = NodeRelaxation(program, convex).bound(z, z, np.ones(program.n_decisions))
    if program.is_feasible(choice):
        scale = np.abs(convex.H).max()
        assert node.value == pytest.approx(program.objective(choice), rel=1e-9, abs=1e-10 * scale)
    else:
        assert node.value == math.inf


@settings(max_examples=30, deadline=None)
@given(case=cases(max_layers=4))
def test_the_bound_of_all_is_tight_where_nothing_interacts(case: Case) -> None:
    """Without budgets or interactions each decision takes its least value, and that is proven."""
    problem = case.problem()
    free = AllocationProblem(problem.matrix.diagonal_only())
    program = compile_program(free)
    assume(program.n_decisions)
    convex = convexify(program)
    least = min(program.objective(choice) for choice in all_choices(program))
    root = NodeRelaxation(program, convex).root().value
    assert root == pytest.approx(least, rel=1e-5, abs=1e-7 * np.abs(program.Q).max())
