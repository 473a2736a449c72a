"""SCIP: the exact answer to any symmetric G, indefinite or not, under any budgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from clado_core._typing import Choices
from clado_core.errors import SolverError
from clado_core.problem import AllocationProblem
from clado_core.program import Program
from clado_core.solution import Assignment, Solution, SolveStatus
from clado_core.solvers.incumbent import PROOF_TOLERANCE, Incumbent
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.solvers.products import ReferenceForm, reference_form
from clado_core.solvers.protocol import OnProgress

SMALLEST_SCALE = 1e-4
"""The objective is divided by the first answer's, or by this share of max |Q| where larger."""


@dataclass(frozen=True, slots=True)
class ScipSolver:
    """Products against a reference level, made linear, in SCIP's branch and cut.

    Every product y = z_a·z_b of two binaries of different decisions i, j becomes a variable with

        Σ_b y_ab ≤ z_a,   Σ_a y_ab ≤ z_b,   Σ_a z_a + Σ_b z_b − Σ_ab y_ab ≤ 1,

    exact for any G. Local search gives the first answer; SCIP starts from it and proves it or
    improves it, with the GIL released.
    """

    def solve(
        self,
        problem: AllocationProblem,
        /,
        *,
        warm_start: Assignment | None = None,
        time_limit_s: float | None = None,
        gap_limit: float = 0.0,
        on_progress: OnProgress | None = None,
    ) -> Solution:
        """See Solver.solve."""
        incumbent = Incumbent(problem, on_progress=on_progress, warm_start=warm_start)
        if incumbent.is_settled:
            return incumbent.solution(SolveStatus.OPTIMAL, "scip")
        LocalSearchSolver().improve(incumbent, time_limit_s=time_limit_s)
        status = branch_and_bound(
            incumbent, time_limit_s, gap_limit, listen=on_progress is not None
        )
        return incumbent.solution(status, "scip")


def branch_and_bound(
    incumbent: Incumbent, time_limit_s: float | None, gap_limit: float, /, *, listen: bool
) -> SolveStatus:
    """Improve the incumbent until it is proven, within the gap, or out of time.

    Args:
        incumbent: Has an answer.
        time_limit_s: Counted from the incumbent's start.
        gap_limit: Relative gap that is enough.
        listen: Report every improvement as it comes, not at the end alone.

    Raises:
        SolverError: SCIP failed; it carries the incumbent's answer.
    """
    try:
        return _ScipRun(incumbent, with_events=listen).optimize(time_limit_s, gap_limit)
    except SolverError as error:
        best = incumbent.solution(SolveStatus.HEURISTIC, "local-search")
        raise SolverError(str(error), best=best) from error


class _ScipRun:
    """One SCIP model of one program, in units of ``scale``."""

    def __init__(self, incumbent: Incumbent, *, with_events: bool) -> None:
        from pyscipopt import Model

        self._incumbent = incumbent
        self._program = incumbent.program
        self._form = reference_form(incumbent.program)
        self._scale = _scale(incumbent)
        self._model = Model()
        self._model.hideOutput()
        _set_parameters(self._model)
        self._x, self._products = _build(self._model, self._program, self._form, self._scale)
        self._model.addObjoffset(self._form.base / self._scale)
        self._handler = _listen(self._model, self.report) if with_events else None

    def optimize(self, time_limit_s: float | None, gap_limit: float) -> SolveStatus:
        """Solve, and leave answer and bound with the incumbent."""
        self._start_from(self._answer())
        if time_limit_s is not None:
            rest = max(time_limit_s - self._incumbent.elapsed_s, 0.0)
            self._model.setParam("limits/time", rest)
        self._model.setParam("limits/gap", gap_limit)
        self._model.optimizeNogil()
        if self._handler is not None and self._handler.error is not None:
            raise self._handler.error
        status = self._model.getStatus()
        self.report()
        if status == "optimal":
            self._incumbent.prove(self._incumbent.objective - PROOF_TOLERANCE * self._scale)
            return SolveStatus.OPTIMAL
        if status == "gaplimit" or self._incumbent.gap <= gap_limit:
            return SolveStatus.GAP_LIMIT
        if status in ("timelimit", "userinterrupt"):
            return SolveStatus.TIME_LIMIT
        raise SolverError(f"SCIP stopped with the status '{status}', which should not happen.")

    def report(self) -> None:
        """Offer SCIP's best answer and its bound to the incumbent."""
        if self._model.getNSols() > 0:
            best = self._model.getBestSol()
            x = np.array([self._model.getSolVal(best, variable) for variable in self._x])
            groups = np.split(x, self._program.offsets[1:-1])
            choice = np.array([group.argmax() for group in groups], dtype=np.int64)
            if self._program.is_feasible(choice):
                self._incumbent.offer(choice)
        bound = self._model.getDualbound()
        if not self._model.isInfinity(-bound):
            # Branch and bound compares up to the tolerances set below; the bound gives them up.
            self._incumbent.prove((bound - PROOF_TOLERANCE) * self._scale)

    def _answer(self) -> Choices:
        assert self._incumbent.choice is not None
        return self._incumbent.choice

    def _start_from(self, choice: Choices) -> None:
        """Give SCIP a complete solution: it drops partial ones silently."""
        chosen = set(self._program.variables(choice).tolist())
        start = self._model.createSol()
        for a, variable in enumerate(self._x):
            self._model.setSolVal(start, variable, float(a in chosen))
        for pair, variable in self._products.items():
            self._model.setSolVal(start, variable, float(chosen.issuperset(pair)))
        if not self._model.checkSol(start, printreason=False, original=True):
            raise SolverError("SCIP does not accept the starting assignment as feasible.")
        self._model.addSol(start)


def _scale(incumbent: Incumbent) -> float:
    """Unit of SCIP's objective: with it, relative accuracy is what its tolerances mean."""
    largest = float(np.abs(incumbent.program.Q).max(initial=0.0))
    return max(abs(incumbent.objective), SMALLEST_SCALE * largest) or 1.0


def _set_parameters(model: Any) -> None:
    from pyscipopt.scip import PY_SCIP_PARAMSETTING as SCIP_PARAMSETTING

    # The start is nearly always optimal: heuristics only cost time, and cuts and long presolving
    # gain less than they cost on these dense models (measured on a 20-layer network, n = 60).
    model.setHeuristics(SCIP_PARAMSETTING.OFF)
    model.setSeparating(SCIP_PARAMSETTING.OFF)
    model.setPresolve(SCIP_PARAMSETTING.FAST)
    # Tolerances are absolute on a model of order 1, and are what its proof is worth.
    model.setParam("numerics/feastol", 1e-9)
    model.setParam("numerics/dualfeastol", 1e-9)
    # Ctrl-C belongs to the caller.
    model.setParam("misc/catchctrlc", False)


def _build(
    model: Any, program: Program, form: ReferenceForm, scale: float
) -> tuple[list[Any], dict[tuple[int, int], Any]]:
    """One-hot binaries, budgets and products; returns the binaries, and products by pair."""
    from pyscipopt import quicksum

    linear = np.zeros(program.n_variables)
    linear[form.kept] = form.linear / scale
    x = [model.addVar(vtype="B", obj=c) for c in linear]
    for start, stop in pairwise(program.offsets):
        model.addCons(quicksum(x[start:stop]) == 1)
    _add_budgets(model, program, x)
    products: dict[tuple[int, int], Any] = {}
    owned = [np.flatnonzero(form.decision == k) for k in range(program.n_decisions)]
    for left, right in combinations(owned, 2):
        coefficients = 2 * form.quadratic[np.ix_(left, right)] / scale
        if coefficients.any():
            y = [[model.addVar(ub=1.0, obj=c) for c in row] for row in coefficients]
            a, b = form.kept[left].tolist(), form.kept[right].tolist()
            _add_product_rows(model, y, [x[v] for v in a], [x[v] for v in b])
            products |= {(m, n): y[i][j] for i, m in enumerate(a) for j, n in enumerate(b)}
    return x, products


def _add_product_rows(model: Any, y: list[list[Any]], left: list[Any], right: list[Any]) -> None:
    """y[a][b] = left[a]·right[b] for binaries of which at most one of each side is 1."""
    from pyscipopt import quicksum

    for variable, row in zip(left, y, strict=True):
        model.addCons(quicksum(row) <= variable)
    for variable, column in zip(right, zip(*y, strict=True), strict=True):
        model.addCons(quicksum(column) <= variable)
    both = quicksum(left) + quicksum(right)
    model.addCons(both - quicksum(v for row in y for v in row) <= 1)


def _add_budgets(model: Any, program: Program, x: list[Any]) -> None:
    """Each limit as a knapsack of whole numbers, which SCIP keeps exactly.

    Every decision takes its cheapest variable's cost anyway, so only what is above it counts;
    dividing by the common divisor and rounding the capacity down changes nothing either.
    """
    start = program.offsets[:-1]
    cheapest = np.minimum.reduceat(program.costs, start, axis=1)
    extra = program.costs - np.repeat(cheapest, program.n_choices, axis=1)
    for weights, capacity in zip(extra, program.limits - cheapest.sum(axis=1), strict=True):
        if np.maximum.reduceat(weights, start).sum() <= capacity:
            continue
        divisor = np.gcd.reduce(weights)
        terms = [(v, int(w // divisor)) for v, w in zip(x, weights, strict=True) if w]
        model.addConsKnapsack(
            [v for v, _ in terms], [w for _, w in terms], int(capacity // divisor)
        )


def _listen(model: Any, report: Callable[[], None]) -> Any:
    """Call ``report`` at every better answer or bound; an error there stops the solve."""
    from pyscipopt import Eventhdlr
    from pyscipopt.scip import PY_SCIP_EVENTTYPE as SCIP_EVENTTYPE
    from pyscipopt.scip import PY_SCIP_STAGE as SCIP_STAGE

    class Listener(Eventhdlr):
        error: BaseException | None = None

        def eventinit(self) -> None:
            for event in (SCIP_EVENTTYPE.BESTSOLFOUND, SCIP_EVENTTYPE.DUALBOUNDIMPROVED):
                self.model.catchEvent(event, self)

        def eventexec(self, event: Any) -> None:
            # SCIP's C code cannot carry a Python error: keep it, stop, raise it afterwards.
            if self.error is None:
                try:
                    report()
                except BaseException as error:
                    self.error = error
            if self.error is not None and self.model.getStage() == SCIP_STAGE.SOLVING:
                self.model.interruptSolve()

    listener = Listener()
    model.includeEventhdlr(listener, "clado", "reports answers and bounds")
    return listener
