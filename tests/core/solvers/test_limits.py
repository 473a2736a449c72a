"""Time and gap limits end a solve, other threads run meanwhile, and units change nothing."""

from __future__ import annotations

import dataclasses
import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from clado_core import AllocationProblem, SolveStatus
from clado_core.errors import SolverError
from clado_core.problem.program import Program, compile_program
from clado_core.problem.solution import PROVEN_GAP
from clado_core.solvers import (
    DaqpSolver,
    EnumerationSolver,
    LocalSearchSolver,
    Progress,
    ScipSolver,
    Solver,
    TieredSolver,
    scip,
    shifts,
    tiered,
)
from clado_core.solvers.convexify import ConvexForm, convexify
from clado_core.solvers.daqp import branch_and_bound
from clado_core.solvers.incumbent import PROOF_TOLERANCE, Incumbent
from clado_core.solvers.node_bound import NodeRelaxation
from clado_core.solvers.scip import Formulation
from tests.core.instances import average, measured, random_matrix, solver_name

FORMULATIONS: tuple[Formulation, ...] = ("convex", "products")
LIMITED = [*map(ScipSolver, FORMULATIONS), DaqpSolver(), TieredSolver()]


def _dense(n_layers: int) -> AllocationProblem:
    """Interactions of either sign between all layers."""
    matrix = random_matrix(np.random.default_rng(4), n_layers=n_layers, bits=(2, 4, 8))
    return average(matrix, 4.0)


@pytest.mark.parametrize("solver", LIMITED, ids=solver_name)
def test_without_time_the_answer_so_far_is_returned(solver: Solver) -> None:
    problem = _dense(30)
    solution = solver.solve(problem, time_limit_s=0.0)
    assert solution.status is SolveStatus.TIME_LIMIT
    assert problem.is_feasible(solution.assignment)
    assert solution.objective == problem.matrix.objective(solution.assignment.bits)
    start = LocalSearchSolver().solve(problem)
    warm = solver.solve(problem, warm_start=start.assignment, time_limit_s=0.0)
    assert warm.status is SolveStatus.TIME_LIMIT
    assert warm.objective <= start.objective


@pytest.mark.timeout(120)
@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_scip_stops_at_its_time_limit_with_a_gap(formulation: Formulation) -> None:
    """The proof takes far longer than the first bound, so only the limit ends the solve.

    How long the first bound takes depends on the machine, so the limit grows until there is one.
    """
    channels = measured("cifar10-resnet20-per-channel-23468")
    problem = average(channels, 6.0) if formulation == "convex" else _dense(24)
    gap = None
    for limit_s in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0):
        solution = ScipSolver(formulation).solve(problem, time_limit_s=limit_s)
        assert solution.status is SolveStatus.TIME_LIMIT
        gap = solution.gap
        if gap is not None:
            break
    assert gap is not None and PROVEN_GAP < gap < math.inf


@pytest.mark.parametrize("solver", LIMITED, ids=solver_name)
def test_provers_stop_at_the_gap_that_was_asked_for(solver: Solver) -> None:
    """The root's gap is below it already, the proof would need a tree."""
    matrix = random_matrix(np.random.default_rng(5), n_layers=12, bits=(2, 4, 8))
    problem = average(matrix, 3.0)
    solution = solver.solve(problem, gap_limit=0.5)
    assert solution.status is SolveStatus.GAP_LIMIT
    assert solution.gap is not None and PROVEN_GAP < solution.gap <= 0.5
    optimum = EnumerationSolver().solve(problem).objective
    assert solution.bound < optimum <= solution.objective + 1e-9 * abs(optimum)


@pytest.fixture
def no_switching() -> Iterator[None]:
    """Threads get the interpreter only where it is given up, never after some milliseconds."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(interval)


def test_other_threads_run_while_scip_solves(
    no_switching: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    incumbent = Incumbent(_dense(22))
    LocalSearchSolver().improve(incumbent)
    began, ended = threading.Event(), threading.Event()

    @contextmanager
    def around_the_solve() -> Iterator[None]:
        began.set()
        yield
        ended.set()

    monkeypatch.setattr(scip, "one_thread", around_the_solve)
    prove = ScipSolver("products").prove
    solve = threading.Thread(target=lambda: prove(incumbent, None, 0.0, report=False))
    solve.start()
    began.wait()
    assert not ended.is_set()
    solve.join()


def _medium() -> AllocationProblem:
    matrix = random_matrix(np.random.default_rng(5), n_layers=12, bits=(2, 4, 8))
    return average(matrix, 3.0)


def test_a_bound_at_all_of_the_gap_is_within_it() -> None:
    """Rounding put it beyond for some, and SCIP, which takes ten times as long, began."""
    problem = AllocationProblem(measured("cifar10-resnet20-per-tensor-248"), 1_103_551)
    for gap_limit in np.linspace(0.01, 0.2, 8).tolist():
        solution = TieredSolver(race=False).solve(problem, gap_limit=gap_limit)
        assert solution.solver == "daqp", gap_limit


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("solver", LIMITED, ids=solver_name)
def test_the_unit_of_the_objective_changes_nothing(solver: Solver, unit: float) -> None:
    problem = _medium()
    scaled = dataclasses.replace(problem.matrix, G=unit * problem.matrix.G)
    optimum = unit * EnumerationSolver().solve(problem).objective
    for gap_limit, status in ((0.0, SolveStatus.OPTIMAL), (0.5, SolveStatus.GAP_LIMIT)):
        solution = solver.solve(dataclasses.replace(problem, matrix=scaled), gap_limit=gap_limit)
        assert solution.status is status
        assert solution.objective == pytest.approx(optimum, rel=1e-9, abs=0.0)
        assert solution.bound <= optimum + 1e-9 * abs(optimum)
        assert solution.gap is not None and solution.gap <= max(gap_limit, PROVEN_GAP)


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("solver", LIMITED, ids=solver_name)
def test_nor_does_it_where_nothing_interacts(solver: Solver, unit: float) -> None:
    """As in what the baselines minimize, whose sensitivities come in units of their own."""
    matrix = random_matrix(np.random.default_rng(0), n_layers=8, bits=(2, 4, 8)).diagonal_only()
    problem = average(dataclasses.replace(matrix, G=unit * matrix.G), 4.0)
    optimum = EnumerationSolver().solve(problem).objective
    solution = solver.solve(problem)
    assert solution.objective == pytest.approx(optimum, rel=1e-9, abs=0.0)
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.gap is not None and solution.gap <= PROVEN_GAP


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_scip_gives_up_its_tolerance(formulation: Formulation) -> None:
    """It compares in floating point, so a proof is worth no more."""
    problem = _medium()
    solution = ScipSolver(formulation).solve(problem)
    assert solution.gap is not None
    assert 0.5 * PROOF_TOLERANCE < solution.gap < 10 * PROOF_TOLERANCE


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e6])
@pytest.mark.parametrize("prover", ["convex", "products", "daqp"])
def test_provers_find_the_optimum_from_a_bad_start(prover: str, unit: float) -> None:
    """The local search before them nearly always has it, which would hide that they do not."""
    dense = _medium()
    additive = average(dense.matrix.diagonal_only(), 3.0)
    for problem in (dense, additive):
        scaled = dataclasses.replace(problem.matrix, G=unit * problem.matrix.G)
        problem = dataclasses.replace(problem, matrix=scaled)
        incumbent = Incumbent(problem, warm_start=problem.extremes()[0])
        if prover == "daqp":
            in_time = branch_and_bound(incumbent, None, None, 0.0)
        else:
            formulation: Formulation = "convex" if prover == "convex" else "products"
            in_time = ScipSolver(formulation).prove(incumbent, None, 0.0, report=False)
        assert in_time and incumbent.solution(prover).status is SolveStatus.OPTIMAL
        optimum = EnumerationSolver().solve(problem).objective
        assert incumbent.objective == pytest.approx(optimum, rel=1e-6, abs=0.0)
        assert incumbent.bound <= optimum + 1e-9 * abs(optimum)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_a_budget_that_nothing_breaks_hides_no_other(formulation: Formulation) -> None:
    matrix = random_matrix(np.random.default_rng(7), n_layers=7, bits=(2, 4, 8))
    largest = AllocationProblem(matrix).extremes()[1]
    problem = AllocationProblem(matrix, largest.size_bits, budget_bops=largest.bops // 2)
    incumbent = Incumbent(problem, warm_start=problem.extremes()[0])
    ScipSolver(formulation).prove(incumbent, None, 0.0, report=False)
    optimum = EnumerationSolver().solve(problem).objective
    assert optimum > EnumerationSolver().solve(AllocationProblem(matrix)).objective
    assert incumbent.objective == pytest.approx(optimum, rel=1e-9)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_scip_reports_bounds_while_it_solves(formulation: Formulation) -> None:
    """Not at the end alone."""
    seen: list[Progress] = []
    matrix = random_matrix(np.random.default_rng(1), n_layers=16, bits=(2, 4, 8))
    ScipSolver(formulation).solve(average(matrix, 4.0), on_progress=seen.append)
    assert len({p.bound for p in seen if math.isfinite(p.bound)}) > 3


def test_an_error_in_the_progress_callback_stops_scip_and_is_raised() -> None:
    class StopError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if math.isfinite(progress.bound):
            raise StopError

    matrix = random_matrix(np.random.default_rng(1), n_layers=20, bits=(2, 4, 8))
    with pytest.raises(StopError):
        ScipSolver().solve(average(matrix, 4.0), on_progress=stop)


def test_scip_that_takes_over_reports_and_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """DAQP gets a share of the limit alone."""
    given: list[float] = []

    def fails(
        incumbent: Incumbent, shifts: None, limit_s: float, gap_limit: float, root_limit_s: float
    ) -> bool:
        given.append(limit_s)
        raise SolverError("on purpose")

    monkeypatch.setattr(tiered.daqp, "branch_and_bound", fails)
    seen: list[Progress] = []
    matrix = random_matrix(np.random.default_rng(1), n_layers=16, bits=(2, 4, 8))
    problem = average(matrix, 4.0)
    solution = TieredSolver().solve(problem, on_progress=seen.append, time_limit_s=100.0)
    assert 0 < given[0] < 100.0
    assert solution.solver == "scip" and solution.status is SolveStatus.OPTIMAL
    assert len({p.bound for p in seen if math.isfinite(p.bound)}) > 3


@pytest.mark.parametrize("path", ["confirmed", "taken over"])
def test_one_solve_solves_one_sdp(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DAQP and SCIP search the same convex form, made within the limit of the whole solve."""
    limits: list[float | None] = []

    def counted(program: Program, *, time_limit_s: float | None) -> ConvexForm:
        limits.append(time_limit_s)
        return convexify(program, time_limit_s=time_limit_s)

    monkeypatch.setattr(shifts, "convexify", counted)
    if path == "taken over":
        monkeypatch.setattr(tiered.daqp, "branch_and_bound", lambda *arguments: False)
    solution = TieredSolver(confirm=True).solve(_medium(), time_limit_s=1000.0)
    assert solution.solver.startswith("daqp+" if path == "confirmed" else "scip")
    assert len(limits) == 1 and limits[0] is not None and 0 < limits[0] < 1000


def test_a_form_cut_short_is_exact_all_the_same() -> None:
    problem = _medium()
    program = compile_program(problem)
    cut = NodeRelaxation(program, convexify(program, time_limit_s=0.0)).root().value
    whole = NodeRelaxation(program, convexify(program)).root().value
    optimum = EnumerationSolver().solve(problem).objective
    assert cut < whole <= optimum
