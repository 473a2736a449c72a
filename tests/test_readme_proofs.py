"""Every sentence of the README about proofs, as the docstring of the test that holds it to it.

The cases here are the smallest that show it; ``tests/core/solvers`` has the many.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import clado_core as cc
from clado_core.allocation.stored import frontier_path, load_frontier, save_frontier
from clado_core.allocation.sweep import sweep
from clado_core.problem.program import compile_program
from clado_core.problem.solution import CANCELLED, PROVEN_GAP, solution_of
from clado_core.solvers import convexify, sdp, shifts
from clado_core.solvers.elimination import eliminate
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.node_bound import NodeRelaxation
from tests.conftest import ROOT, make_matrix
from tests.core.instances import average, random_matrix

FIRST, LAST = "What is said of an answer", "## Beside other solvers"


def _problem(n_layers: int = 8) -> cc.AllocationProblem:
    return average(random_matrix(np.random.default_rng(0), n_layers=n_layers, bits=(2, 4, 8)), 3.0)


def _optimum(problem: cc.AllocationProblem) -> float:
    return cc.EnumerationSolver().solve(problem).objective


def test_proven_optimal_is_a_small_gap_on_the_measured_matrix() -> None:
    """ "Proven optimal" means that objective and bound, recomputed on the measured matrix, are
    within 10⁻⁶ of each other, relative to |x'Gx|, or to a thousandth of Σ|terms| where the
    terms cancel.
    """
    problem = _problem()
    chosen = problem.extremes()[0]
    objective, terms = problem.matrix.objective(chosen.bits), problem.matrix.terms(chosen.bits)
    assert PROVEN_GAP == 1e-6 and CANCELLED == 1e-3
    unit = max(abs(objective), terms / 1000)
    for share, proven in ((0.9e-6, True), (1.1e-6, False)):
        bound = objective - share * unit
        found = solution_of(problem.matrix, chosen, solver="x", bound=bound)
        assert (found.status is cc.SolveStatus.OPTIMAL) == proven


def test_a_diverged_layer_does_not_set_the_unit_of_the_others() -> None:
    """Before a tree is searched, candidates that no better answer uses are ruled out, so one
    diverged layer does not set the unit in which the others are proven.
    """
    problem = _problem()
    G = problem.matrix.G.copy()
    G[0, 0] = 1e12
    problem = dataclasses.replace(problem, matrix=dataclasses.replace(problem.matrix, G=G))
    incumbent = Incumbent(problem)
    cc.LocalSearchSolver().improve(incumbent)
    eliminate(incumbent)
    assert np.abs(incumbent.program.Q).max(initial=0.0) < 10
    found = cc.TieredSolver().solve(problem)
    assert found.status is cc.SolveStatus.OPTIMAL
    assert found.objective == pytest.approx(_optimum(problem), rel=1e-9)


def test_scips_bounds_hold_whatever_daqp_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound of SCIP's is recomputed by duality and holds whatever DAQP, which minimizes its
    relaxations, returns.
    """
    import daqp

    problem = _problem()
    program, optimum = compile_program(problem), _optimum(problem)
    relaxation = NodeRelaxation(program, convexify.convexify(program))
    rng = np.random.default_rng(1)
    for flag in (1, 1, 1, -1, -5, 5):

        def wrong(*arguments: object, **options: object) -> tuple[object, ...]:
            n = len(arguments[1])  # type: ignore[arg-type]
            return rng.random(n), 0.0, flag, {"lam": 10 * rng.normal(size=9 * n)}  # noqa: B023

        monkeypatch.setattr(daqp, "solve", wrong)
        assert relaxation.root().value <= optimum


def test_the_shared_convex_form_is_exact_for_any_shifts() -> None:
    """DAQP and SCIP share the convex form, which is exact for any shifts, and the candidates ruled
    out before it.
    """
    problem = _problem()
    program, rng = compile_program(problem), np.random.default_rng(2)
    form = convexify.reference_form(program)
    inside = np.equal.outer(form.decision, form.decision)
    A = rng.normal(size=inside.shape)
    convex = convexify.convex_form(form, np.where(inside, A + A.T, 0.0))
    for _ in range(20):
        choice = rng.integers(0, program.n_choices)
        z = np.isin(form.kept, program.variables(choice)) * 1.0
        value = form.base + convex.linear @ z + z @ convex.H @ z
        assert value == pytest.approx(program.objective(choice), abs=1e-9)
    assert cc.TieredSolver(confirm=True).solve(problem).solver.startswith("daqp+")


def test_scips_products_need_neither_convex_form_nor_daqp(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a formulation that shares neither, SCIP proves small networks
    (`ScipSolver("products")`).
    """
    monkeypatch.setitem(sys.modules, "daqp", None)
    monkeypatch.setattr(shifts, "convexify", None)
    monkeypatch.setattr("clado_core.solvers.scip.eliminate", lambda *_, **options: None)
    problem = _problem()
    found = cc.ScipSolver("products").solve(problem)
    assert found.status is cc.SolveStatus.OPTIMAL
    assert found.objective == pytest.approx(_optimum(problem), rel=1e-9)


def test_an_early_stop_has_a_valid_bound() -> None:
    """A solve that stops early is a result too: it comes with a bound and a gap that hold for the
    measured matrix.
    """
    problem = _problem(10)
    stopped = cc.TieredSolver().solve(problem, time_limit_s=0.0)
    assert stopped.status is cc.SolveStatus.TIME_LIMIT
    assert stopped.gap is not None and stopped.gap > PROVEN_GAP
    assert stopped.bound <= _optimum(problem) <= stopped.objective


def test_the_time_limit_reaches_the_semidefinite_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit holds for the whole solve, the semidefinite program included."""
    given: list[float | None] = []

    def noted(program: object, *, tolerance: float = 0.0, time_limit_s: float | None) -> object:
        given.append(time_limit_s)
        return solve(program, time_limit_s=time_limit_s)  # type: ignore[arg-type]

    solve = sdp.solve_dual
    monkeypatch.setattr(convexify, "solve_dual", noted)
    cc.TieredSolver(confirm=True).solve(_problem(12), time_limit_s=50.0)
    assert len(given) == 1 and given[0] is not None and 0 < given[0] < 50


def test_budgets_share_choices_and_bounds() -> None:
    """A choice for a smaller budget fits a larger one, and a bound for a larger budget holds for a
    smaller one.
    """
    problem = _problem()
    frontier = sweep(problem.matrix, points=6)
    for smaller, larger in zip(frontier.points, frontier.points[1:], strict=False):
        assert larger.objective <= smaller.objective
        assert smaller.bound >= larger.bound
    for budget, point in zip(frontier.budgets_bits, frontier.points, strict=True):
        limited = dataclasses.replace(problem, budget_bits=budget)
        assert limited.is_feasible(point.assignment)
        assert point.bound <= _optimum(limited) + 1e-12


def test_a_stored_frontier_is_recomputed_and_must_be_as_written(tmp_path: Path) -> None:
    """Objectives and statuses of a stored frontier are recomputed when it is read, and one that
    was changed since it was written is not used.
    """
    matrix = make_matrix()
    artifact = tmp_path / "a.clado"
    cc.save_matrix(matrix, artifact)
    frontier = sweep(matrix, points=4)
    save_frontier(frontier, artifact)
    assert load_frontier(artifact, matrix) is not None
    values = json.loads(frontier_path(artifact).read_text())
    for point in values["points"]:
        point["objective"], point["bound"] = 0.5 * point["objective"], 0.5 * point["bound"]
    frontier_path(artifact).write_text(json.dumps(values))
    assert load_frontier(artifact, matrix) is None
    read = cc.Frontier.from_json(values, matrix)
    assert [p.objective for p in read.points] == [p.objective for p in frontier.points]
    assert cc.SolveStatus.OPTIMAL not in {p.status for p in read.points if p.objective > 0}


def test_every_sentence_has_its_test() -> None:
    text = (ROOT / "README.md").read_text()
    section = text[text.index(FIRST) : text.index(LAST)]
    said = [_flat(item) for item in re.split(r"\n- ", section)[1:]]
    tested = [_flat(f.__doc__) for f in globals().values() if callable(f) and f.__doc__]
    assert said
    assert [sentence for sentence in said if sentence not in tested] == []


def _flat(text: str) -> str:
    return " ".join(text.split())
