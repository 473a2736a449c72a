"""Convex forms are exact on assignments, and their bounds never exceed an optimum."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clado_core import AllocationProblem, SolveStatus
from clado_core.errors import InputError
from clado_core.problem.program import Program, compile_program
from clado_core.solvers import (
    ConvexifyingShifts,
    DaqpSolver,
    EnumerationSolver,
    LocalSearchSolver,
    ScipSolver,
    TieredSolver,
    compute_shifts,
)
from clado_core.solvers.blas import one_thread
from clado_core.solvers.conic import solve_dual_with_cvxpy
from clado_core.solvers.convexify import (
    ConvexForm,
    budget_rows,
    convex_form,
    convexify,
    relaxation,
)
from clado_core.solvers.node_bound import NodeRelaxation
from clado_core.solvers.reference_form import reference_form
from clado_core.solvers.sdp import solve_dual
from tests.core.instances import (
    average,
    measured,
    n_assignments,
    random_matrix,
    random_problem,
    worked_example,
)


def _value(convex: ConvexForm, program: Program, choice: np.ndarray) -> float:
    z = np.isin(convex.form.kept, program.variables(choice)) * 1.0
    return float(convex.form.base + convex.linear @ z + z @ convex.H @ z)


def _random_choices(program: Program, n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, program.n_choices) for _ in range(n)]


def _programs(n: int) -> list[Program]:
    programs = map(compile_program, map(random_problem, range(n)))
    return [program for program in programs if program.n_decisions]


@pytest.mark.parametrize("program", _programs(20))
def test_forms_are_exact_on_assignments(program: Program) -> None:
    form, convex = reference_form(program), convexify(program)
    scale = np.abs(program.Q).max()
    for choice in _random_choices(program, 20):
        z = np.isin(form.kept, program.variables(choice)) * 1.0
        plain = form.base + form.linear @ z + z @ form.quadratic @ z
        assert plain == pytest.approx(program.objective(choice), rel=1e-9, abs=1e-12 * scale)
        assert _value(convex, program, choice) == pytest.approx(plain, rel=1e-9, abs=1e-12 * scale)
    assert np.linalg.eigvalsh(convex.H)[0] > 0


def test_any_shifts_give_an_exact_convex_form() -> None:
    program = compile_program(random_problem(2))
    form = reference_form(program)
    rng = np.random.default_rng(0)
    shifts = np.diag(rng.normal(size=len(form.linear)))
    convex = convex_form(form, shifts)
    assert np.linalg.eigvalsh(convex.H)[0] > 0
    for choice in _random_choices(program, 20):
        expected = program.objective(choice)
        assert _value(convex, program, choice) == pytest.approx(expected, rel=1e-10, abs=1e-12)


UNDECIDED = [seed for seed in range(60) if n_assignments(random_problem(seed)) > 1]


@pytest.mark.parametrize("seed", UNDECIDED)
def test_root_bound_never_exceeds_the_optimum(seed: int) -> None:
    problem = random_problem(seed)
    program = compile_program(problem)
    optimum = EnumerationSolver().solve(problem).objective
    bound = NodeRelaxation(program, convexify(program)).root().value
    assert math.isfinite(bound)
    assert bound <= optimum + 1e-9 * abs(optimum)


def test_root_bound_equals_that_of_cvxpy() -> None:
    cvxpy = pytest.importorskip("cvxpy")
    matrix = random_matrix(np.random.default_rng(0), n_layers=6, bits=(2, 4, 8))
    program = compile_program(AllocationProblem(matrix, 4 * matrix.layers.total_weights))
    form = reference_form(program)
    w = len(form.linear)
    Y = cvxpy.Variable((w + 1, w + 1), PSD=True)
    z, Z = Y[0, 1:], Y[1:, 1:]
    inside = np.equal.outer(form.decision, form.decision) & ~np.eye(w, dtype=bool)
    rows, room = budget_rows(program, form)
    minimum = cvxpy.Problem(
        cvxpy.Minimize(form.linear @ z + cvxpy.sum(cvxpy.multiply(form.quadratic, Z))),
        [Y[0, 0] == 1, cvxpy.diag(Z) == z, cvxpy.multiply(inside, Z) == 0, rows @ z <= room],
    ).solve(solver=cvxpy.CLARABEL)
    bound = NodeRelaxation(program, convexify(program)).root().value
    assert bound == pytest.approx(form.base + minimum, rel=1e-4)


@pytest.mark.parametrize("program", _programs(12))
def test_both_methods_give_the_same_multipliers_value(program: Program) -> None:
    form = reference_form(program)
    sdp = relaxation(program, form)
    ours, theirs = solve_dual(sdp), solve_dual_with_cvxpy(sdp)
    assert ours.error < 1e-7 and theirs is not None
    assert sdp.rhs @ theirs == pytest.approx(sdp.rhs @ ours.y, rel=1e-4, abs=1e-5)
    assert (theirs[sdp.is_limit] <= 0).all()
    assert np.linalg.eigvalsh(sdp.slack(theirs))[0] > -1e-4


def test_where_our_method_stops_short_cvxpy_comes_closer(monkeypatch: pytest.MonkeyPatch) -> None:
    program = compile_program(random_problem(2))
    best = NodeRelaxation(program, convexify(program)).root().value
    monkeypatch.setattr("clado_core.solvers.sdp.MAX_ITERATIONS", 2)
    rescued = NodeRelaxation(program, convexify(program)).root().value
    monkeypatch.setattr("clado_core.solvers.convexify.TIME_LIMIT_S", 0.0)
    alone = NodeRelaxation(program, convexify(program)).root().value
    assert rescued == pytest.approx(best, rel=1e-4)
    assert alone < best - 1e-2 * abs(best), "two steps alone give a looser bound, and no error"


def test_shifts_serve_every_budget_and_wish() -> None:
    matrix = random_matrix(np.random.default_rng(3), n_layers=7, bits=(2, 4, 8))
    shifts = compute_shifts(matrix, n_sizes=4)
    names, n = matrix.layers.names, matrix.layers.total_weights
    bops = sum(AllocationProblem(matrix).extremes()[i].bops for i in (0, 1)) // 2
    problems = [
        AllocationProblem(matrix),
        AllocationProblem(matrix, 3 * n),
        AllocationProblem(matrix, 5 * n, budget_bops=bops),
        AllocationProblem(matrix, 5 * n, pins={names[0]: 2, names[3]: 8}),
        AllocationProblem(matrix, 4 * n, ties=((names[1], names[4], names[5]),)),
        AllocationProblem(matrix, 4 * n, allowed={names[1]: (2, 4), names[2]: (4, 8)}),
    ]
    for problem in problems:
        optimum = EnumerationSolver().solve(problem)
        solution = DaqpSolver(shifts).solve(problem)
        assert solution.status is SolveStatus.OPTIMAL
        assert solution.objective == pytest.approx(optimum.objective, rel=1e-9)
        program = compile_program(problem)
        convex = shifts.convex_form(problem, program, 4 * n)
        for choice in _random_choices(program, 10):
            expected = program.objective(choice)
            assert _value(convex, program, choice) == pytest.approx(expected, abs=1e-12)


def test_shifts_of_another_matrix_cost_time_but_no_correctness() -> None:
    rng = np.random.default_rng(4)
    matrix, other = (random_matrix(rng, n_layers=6, bits=(2, 4, 8)) for _ in range(2))
    problem = AllocationProblem(matrix, 4 * matrix.layers.total_weights)
    solution = DaqpSolver(compute_shifts(other, n_sizes=2)).solve(problem)
    optimum = EnumerationSolver().solve(problem)
    assert solution.objective == pytest.approx(optimum.objective, rel=1e-9)


def test_shifts_resume_and_go_through_arrays() -> None:
    matrix = random_matrix(np.random.default_rng(5), n_layers=4, bits=(2, 4, 8))
    partial: list[ConvexifyingShifts] = []
    whole = compute_shifts(matrix, n_sizes=4, on_progress=lambda c, total: partial.append(c))
    assert [len(c.sizes_bits) for c in partial] == [1, 2, 3, 4]
    solved_again: list[ConvexifyingShifts] = []
    resumed = compute_shifts(
        matrix, n_sizes=4, known=partial[1], on_progress=lambda c, total: solved_again.append(c)
    )
    assert len(solved_again) == 2
    copy = ConvexifyingShifts.from_arrays(resumed.to_arrays())
    assert (copy.shifts == whole.shifts).all()
    assert not copy.shifts.flags.writeable


def test_shifts_are_mixed_between_sizes_and_kept_beyond() -> None:
    matrix = random_matrix(np.random.default_rng(5), n_layers=4, bits=(2, 4, 8))
    shifts = compute_shifts(matrix, n_sizes=3)
    first, second, _ = shifts.sizes_bits.tolist()
    problem = AllocationProblem(matrix)
    program = compile_program(problem)
    form = reference_form(program)
    inside = np.equal.outer(form.decision, form.decision) & ~np.eye(len(form.linear), dtype=bool)

    def at(size: int) -> np.ndarray:
        """Inside decisions and off the diagonal, where the form is that of the shifts."""
        return shifts.convex_form(problem, program, size).H[inside]

    quarter = first + (second - first) // 4
    share = (quarter - first) / (second - first)
    assert at(quarter) == pytest.approx((1 - share) * at(first) + share * at(second))
    assert (at(first) != at(second)).any()
    assert (at(first - 1) == at(first)).all()
    last = shifts.sizes_bits[-1]
    assert (at(10 * int(last)) == at(int(last))).all()
    alone = ConvexifyingShifts(shifts.sizes_bits[:1], shifts.shifts[:1])
    assert (alone.convex_form(problem, program, second).H[inside] == at(first)).all()


@pytest.mark.parametrize("seed", range(5))
def test_shifts_of_the_matrix_are_as_tight_as_those_of_the_problem(seed: int) -> None:
    """At a size that was solved, the stored form bounds as well as one made for the budget."""
    matrix = random_matrix(np.random.default_rng(seed), n_layers=6, bits=(2, 4, 8))
    shifts = compute_shifts(matrix, n_sizes=3)
    size = int(shifts.sizes_bits[1])
    problem = AllocationProblem(matrix, size)
    program = compile_program(problem)
    own = NodeRelaxation(program, convexify(program)).root().value
    stored = NodeRelaxation(program, shifts.convex_form(problem, program, size)).root().value
    assert stored == pytest.approx(own, rel=1e-5)


def test_shifts_want_two_sizes_and_two_bit_widths() -> None:
    matrix = random_matrix(np.random.default_rng(5), n_layers=4, bits=(2, 4, 8))
    one_width = random_matrix(np.random.default_rng(5), n_layers=4, bits=(4,))
    assert len(compute_shifts(matrix, n_sizes=2).sizes_bits) == 2
    for wrong, n_sizes in ((matrix, 1), (one_width, 2)):
        with pytest.raises(InputError, match="two sizes or more"):
            compute_shifts(wrong, n_sizes=n_sizes)


def test_shifts_refuse_what_does_not_fit() -> None:
    small = compute_shifts(worked_example(), n_sizes=2)
    matrix = random_matrix(np.random.default_rng(6), n_layers=6, bits=(2, 4, 8))
    problem = AllocationProblem(matrix, 4 * matrix.layers.total_weights)
    with pytest.raises(InputError, match="for 3 binaries; the matrix needs 12"):
        small.convex_form(problem, compile_program(problem), 1)
    with pytest.raises(InputError, match="must ascend"):
        ConvexifyingShifts(np.array([2, 1]), np.zeros((2, 3, 1)))
    for sizes, shape in (((2,), (1, 3, 1)), ((2,), (2, 3)), ((2,), (1, 3, 1)), ((0,), (0, 3, 1))):
        with pytest.raises(InputError, match="shifts for every size"):
            ConvexifyingShifts(np.zeros(sizes, dtype=np.int64), np.zeros(shape))
    for wrong in (np.nan, np.inf):
        with pytest.raises(InputError, match="finite"):
            ConvexifyingShifts(np.array([1]), np.full((1, 3, 1), wrong))
    with pytest.raises(InputError, match="'shifts'"):
        ConvexifyingShifts.from_arrays({"sizes_bits": np.array([1])})


@pytest.mark.parametrize("wrong", ["of another network", "beyond all range"])
def test_a_proof_does_without_shifts_that_cannot_be_used(
    wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    matrix = random_matrix(np.random.default_rng(6), n_layers=9, bits=(2, 4, 8))
    problem = average(matrix, 3.0)
    shifts = compute_shifts(worked_example(), n_sizes=2)
    if wrong == "beyond all range":
        shifts = ConvexifyingShifts(np.array([1]), np.full((1, 18, 2), 1e308))
    solution = DaqpSolver(shifts).solve(problem)
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.objective == EnumerationSolver().solve(problem).objective


def test_two_provers_agree_and_the_solution_says_so() -> None:
    problem = next(p for p in map(random_problem, range(20)) if len(p.groups()) > 5)
    both = TieredSolver(confirm=True).solve(problem)
    assert both.solver in {"daqp+scip", "daqp+toulbar2"}
    assert both.status is SolveStatus.OPTIMAL
    assert TieredSolver().solve(problem).solver == "daqp"


def test_where_daqp_fails_scip_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    import daqp

    def cycles(
        *args: object, **options: object
    ) -> tuple[np.ndarray, float, int, dict[str, object]]:
        n = len(args[1])  # type: ignore[arg-type]
        return np.zeros(n), 0.0, -2, {"lam": np.zeros(n)}

    monkeypatch.setattr(daqp, "solve", cycles)
    # One that bounds alone do not prove.
    problem = average(random_matrix(np.random.default_rng(0), n_layers=8, bits=(2, 4, 8)), 4.0)
    optimum = EnumerationSolver().solve(problem).objective
    solution = TieredSolver().solve(problem)
    assert solution.solver == "scip"
    assert solution.objective == pytest.approx(optimum, rel=1e-9)


def test_scip_takes_nobodys_word_for_its_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """A DAQP that finds everything infeasible must not make SCIP call a wrong answer proven."""
    import daqp

    def finds_nothing(
        *args: object, **options: object
    ) -> tuple[np.ndarray, float, int, dict[str, object]]:
        n = len(args[1])  # type: ignore[arg-type]
        return np.zeros(n), 0.0, -1, {"lam": np.zeros(9 * n)}

    monkeypatch.setattr(daqp, "solve", finds_nothing)
    monkeypatch.setattr(LocalSearchSolver, "improve", lambda *args, **options: None)
    matrix = random_matrix(np.random.default_rng(0), n_layers=6, bits=(2, 4, 8))
    problem = average(matrix, 4.0)
    optimum = EnumerationSolver().solve(problem).objective
    start = problem.extremes()[0]
    assert problem.matrix.objective(start.bits) > optimum
    for solver in (TieredSolver(confirm=True), ScipSolver()):
        solution = solver.solve(problem, warm_start=start)
        assert solution.objective == pytest.approx(optimum, rel=1e-9)
        # On a busy machine toulbar2, which asks nobody either, can be the first to contradict.
        assert solution.solver in {"scip", "toulbar2"}
        assert solution.status is SolveStatus.OPTIMAL


def test_where_daqp_cycles_a_looser_tolerance_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import daqp

    solve, tolerances = daqp.solve, []

    def cycles_once(*args: object, **options: float) -> object:
        tolerances.append(options["primal_tol"])
        z, value, flag, info = solve(*args, **options)
        is_tree = "fval_bound" in options
        return z, value, -2 if is_tree and options["primal_tol"] < 1e-7 else flag, info

    monkeypatch.setattr(daqp, "solve", cycles_once)
    matrix = random_matrix(np.random.default_rng(0), n_layers=8, bits=(2, 4, 8))
    problem = average(matrix, 4.0)
    solution = DaqpSolver().solve(problem)
    assert solution.status is SolveStatus.OPTIMAL
    optimum = EnumerationSolver().solve(problem).objective
    assert solution.objective == pytest.approx(optimum, rel=1e-9)
    assert max(tolerances) == 1e-7


@pytest.mark.parametrize("avg_bits", [2.3, 4.0, 6.0])
@pytest.mark.parametrize("name", ["cifar10-resnet20-per-tensor-248", "digits-vit"])
def test_both_provers_agree_on_a_measured_network(name: str, avg_bits: float) -> None:
    problem = average(measured(name), avg_bits)
    scip, daqp = ScipSolver().solve(problem), DaqpSolver().solve(problem)
    assert scip.objective == pytest.approx(daqp.objective, rel=1e-9)
    assert scip.status is daqp.status is SolveStatus.OPTIMAL


@pytest.mark.parametrize("avg_bits", [2.5, 4.0, 6.0])
@pytest.mark.parametrize(
    "name",
    [
        "cifar10-vit-per-tensor-248",
        pytest.param("cifar10-vit-per-channel-23468-logit-gram", marks=pytest.mark.slow),
    ],
)
def test_a_large_network_is_proven(name: str, avg_bits: float) -> None:
    problem = average(measured(name), avg_bits)
    assert TieredSolver().solve(problem).status is SolveStatus.OPTIMAL


def test_overlapping_solves_give_blas_its_threads_back() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def threads() -> dict[str, int]:
        found = threadpoolctl.threadpool_info()
        return {
            each["filepath"]: each["num_threads"] for each in found if each["user_api"] == "blas"
        }

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = threads()
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        inside = threads()
        assert inside != before and min(inside.values()) == 1
        first.__exit__(None, None, None)
        assert threads() == inside
        second.__exit__(None, None, None)
        assert threads() == before
