"""SCIP: the exact answer to any symmetric G, indefinite or not, under any budgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from clado_core._typing import Choices
from clado_core.errors import SolverError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment
from clado_core.solvers import scip_convex, scip_products
from clado_core.solvers.blas import one_thread
from clado_core.solvers.elimination import eliminate
from clado_core.solvers.incumbent import PROOF_TOLERANCE, Incumbent
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.solvers.protocol import OnProgress
from clado_core.solvers.scip_parts import Guard, listen
from clado_core.solvers.shifts import ConvexifyingShifts, convexify_for

Formulation: TypeAlias = Literal["convex", "products"]

SMALLEST_SCALE = 1e-4
"""The objective is divided by the first answer's, or by this share of max |Q| where larger."""


@dataclass(frozen=True, slots=True)
class ScipSolver:
    """Local search, then SCIP's branch and bound from that answer, with the GIL released.

    Two formulations, both exact for any G:

    - "convex": nodes are bounded by the quadratic programs of an exactly convexified objective,
      minimized by DAQP and made safe by duality. Proves dense networks of 56 layers in seconds.
    - "products": every product of two binaries is a variable, nodes are linear programs. Shares no
      code with DAQP's proof. For about 20 layers; on larger dense ones its bound stays weak.

    Args:
        formulation: One of the two.
        shifts: As for DaqpSolver; the products do not need it.
    """

    formulation: Formulation = "convex"
    shifts: ConvexifyingShifts | None = None

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
            return incumbent.solution("scip")
        LocalSearchSolver().improve(incumbent, time_limit_s=time_limit_s)
        in_time = self.prove(incumbent, time_limit_s, gap_limit, report=on_progress is not None)
        return incumbent.solution("scip", gap_limit=gap_limit, in_time=in_time)

    def prove(
        self, incumbent: Incumbent, time_limit_s: float | None, gap_limit: float, /, *, report: bool
    ) -> bool:
        """Improve the incumbent until it is proven, within the gap, or out of time.

        Args:
            incumbent: Has an answer.
            time_limit_s: Counted from the incumbent's start.
            gap_limit: Relative gap that is enough.
            report: Hand every improvement on as it comes, not at the end alone.

        Returns:
            Whether it ended before the time did.

        Raises:
            SolverError: SCIP failed; the incumbent keeps what was found.
        """
        while True:
            eliminate(incumbent, time_limit_s=time_limit_s)
            before = incumbent.objective
            if incumbent.is_settled or incumbent.is_within(gap_limit):
                return True
            if not _Run(self, incumbent, report, time_limit_s).optimize(time_limit_s, gap_limit):
                return incumbent.is_within(gap_limit)
            # SCIP's tolerances refer to the first answer: where that was far worse, once more.
            if incumbent.is_within(gap_limit) or incumbent.objective == before:
                return True


class _Run:
    """One SCIP model of one program, its objective in units of ``scale``."""

    def __init__(
        self, solver: ScipSolver, incumbent: Incumbent, report: bool, time_limit_s: float | None
    ) -> None:
        from pyscipopt import Model

        self._incumbent, self._program = incumbent, incumbent.program
        self._scale = _scale(incumbent)
        self._model, self._guard = Model(), Guard()
        self._model.hideOutput()
        self._products: dict[tuple[int, int], Any] = {}
        self._objective: scip_convex.ConvexObjective | None = None
        if solver.formulation == "convex":
            self._objective = scip_convex.ConvexObjective(
                self._model,
                self._program,
                convexify_for(incumbent, solver.shifts, time_limit_s=time_limit_s),
                self._scale,
                self._guard,
            )
            self._x = self._objective.binaries
            scip_convex.set_parameters(self._model)
        else:
            self._x, self._products = scip_products.add_products(
                self._model, self._program, self._scale
            )
            scip_products.set_parameters(self._model)
        _set_parameters(self._model)
        if report or incumbent.rival is not None:
            listen(self._model, self._guard, self._heed)

    def optimize(self, time_limit_s: float | None, gap_limit: float) -> bool:
        """Solve, leave answer and bound with the incumbent; says whether it ended in time."""
        assert self._incumbent.choice is not None
        self._start_from(self._incumbent.choice)
        left_s = self._incumbent.left_s(time_limit_s)
        if left_s is not None:
            self._model.setParam("limits/time", left_s)
        self._model.setParam("limits/gap", gap_limit)
        with one_thread():
            self._model.optimizeNogil()
        self._guard.check()
        status = self._model.getStatus()
        self.report()
        if status == "optimal":
            self._incumbent.prove(self._incumbent.objective - PROOF_TOLERANCE * self._scale)
        elif status in ("timelimit", "userinterrupt"):
            return False
        elif status != "gaplimit":
            raise SolverError(f"SCIP stopped with the status '{status}', which should not happen.")
        return True

    def _heed(self) -> None:
        """Report, and end where a rival has proven it."""
        self.report()
        if self._incumbent.is_within(0.0):
            self._model.interruptSolve()

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

    def _start_from(self, choice: Choices) -> None:
        """Give SCIP a complete solution: it drops partial ones silently."""
        chosen = set(self._program.variables(choice).tolist())
        start = self._model.createSol()
        for a, variable in enumerate(self._x):
            self._model.setSolVal(start, variable, float(a in chosen))
        for pair, variable in self._products.items():
            self._model.setSolVal(start, variable, float(chosen.issuperset(pair)))
        if self._objective is not None:
            self._model.setSolVal(start, self._objective.t, self._objective.value(choice))
        if not self._model.checkSol(start, printreason=False, original=True):
            raise SolverError("SCIP does not accept the starting assignment as feasible.")
        self._model.addSol(start)


def _scale(incumbent: Incumbent) -> float:
    """Unit of SCIP's objective: with it, relative accuracy is what its tolerances mean."""
    largest = float(np.abs(incumbent.program.Q).max(initial=0.0))
    return max(abs(incumbent.objective), SMALLEST_SCALE * largest) or 1.0


def _set_parameters(model: Any) -> None:
    # Tolerances are absolute on a model of order 1, and are what its proof is worth.
    model.setParam("numerics/feastol", 1e-9)
    model.setParam("numerics/dualfeastol", 1e-9)
    # Ctrl-C belongs to the caller.
    model.setParam("misc/catchctrlc", False)
