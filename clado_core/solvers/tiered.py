"""The solver for users: an answer first, then a proof, then a second opinion where wanted."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from clado_core.errors import SolverError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment
from clado_core.solvers import daqp, toulbar2
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.linear import is_linear, prove_linear
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.solvers.protocol import OnProgress
from clado_core.solvers.scip import ScipSolver
from clado_core.solvers.shifts import ConvexifyingShifts

logger = logging.getLogger(__name__)

SECOND_SEARCH = LocalSearchSolver(seed=1, steps_per_variable=6)
"""Where DAQP does not finish, the answer may still improve: three times the work, drawn anew."""

DAQP_SHARE = 0.5
"""Share of a time limit after which SCIP, which improves its bound all along, takes over."""

ROOT_SHARE = 0.8
"""Share of a time limit for the root: where the SDP takes longer than a tree may, its bound is what
the time can buy. With a form cut short by half, 72 layers of five choices had a gap of 360 % for
12 %."""

SCIP_SHARE = 0.5
"""Of the time left for confirming; toulbar2 has the rest where it is installed."""

DAQP, SCIP, HIGHS = "daqp", "scip", "highs"
BOTH, TOULBAR2 = "daqp+scip", "daqp+toulbar2"


@dataclass(frozen=True, slots=True)
class TieredSolver:
    """Local search answers, DAQP proves, SCIP confirms or takes over.

    ``Solution.solver`` names who proved: "daqp" (its tree, and the relaxations before it), "scip"
    (DAQP ran out of its share of the time, failed, or could not close the gap), or "daqp+scip":
    DAQP's tree, whose word is taken, and after it SCIP's, whose every bound is recomputed by
    duality and holds whatever DAQP, which minimizes its relaxations too, returns. Both trees search
    one convex form; any shifts make that exact. "daqp+toulbar2": SCIP did not end in half of the
    time left, and toulbar2 proved the same from the measured matrix alone, with code and bounds
    that share nothing with DAQP's. Without interactions the problem is a knapsack,
    which HiGHS proves: "highs".

    Args:
        shifts: The matrix's convexification, computed before.
        confirm: Let SCIP, or else toulbar2, prove again what DAQP has proven, as far as the time
            allows.
    """

    shifts: ConvexifyingShifts | None = None
    confirm: bool = False

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
            return incumbent.solution(DAQP)
        if is_linear(incumbent.program):
            prove_linear(incumbent, time_limit_s, gap_limit)
            if incumbent.is_within(gap_limit):
                return incumbent.solution(HIGHS, gap_limit=gap_limit)
        LocalSearchSolver().improve(incumbent, time_limit_s=time_limit_s)
        share, root = (
            None if time_limit_s is None else part * time_limit_s
            for part in (DAQP_SHARE, ROOT_SHARE)
        )
        try:
            daqp.branch_and_bound(incumbent, self.shifts, share, gap_limit, root)
        except SolverError as problem_found:
            logger.warning("DAQP failed, SCIP goes on: %s", problem_found)
        if incumbent.is_within(gap_limit):
            found = incumbent.solution(DAQP, gap_limit=gap_limit)
            if not self.confirm:
                return found
            return self._confirmed(found, incumbent, gap_limit, time_limit_s)
        SECOND_SEARCH.improve(incumbent, time_limit_s=time_limit_s)
        scip = ScipSolver(shifts=self.shifts)
        in_time = True
        try:
            in_time = scip.prove(incumbent, time_limit_s, gap_limit, report=on_progress is not None)
        except SolverError as problem_found:
            logger.warning("SCIP failed, what was found before stands: %s", problem_found)
        return incumbent.solution(SCIP, gap_limit=gap_limit, in_time=in_time)

    def _confirmed(
        self, found: Solution, incumbent: Incumbent, gap_limit: float, time_limit_s: float | None
    ) -> Solution:
        """The solution, and the name of who comes to the same from the answer alone."""
        for name, prover in ((BOTH, self._scip_again), (TOULBAR2, _toulbar2_again)):
            again = Incumbent(incumbent.problem, warm_start=found.assignment)
            try:
                prover(again, incumbent, gap_limit, incumbent.left_s(time_limit_s))
            except SolverError as problem_found:
                logger.warning("A confirmation failed, DAQP's proof stands: %s", problem_found)
                continue
            second = again.solution(name.removeprefix(f"{DAQP}+"), gap_limit=gap_limit)
            if second.objective < found.bound:
                logger.error("A better answer than DAQP's bound allows was found: DAQP is wrong.")
                return replace(second, runtime_s=incumbent.elapsed_s)
            if second.status is found.status:
                return replace(found, solver=name, runtime_s=incumbent.elapsed_s)
        return replace(found, runtime_s=incumbent.elapsed_s)

    def _scip_again(
        self, again: Incumbent, first: Incumbent, gap_limit: float, left_s: float | None
    ) -> None:
        """With a tree of its own over the convex form that DAQP began with."""
        if first.first_convex is not None:
            again.replace_program(first.first_convex[0])
            again.convex = first.first_convex
        share_s = left_s
        if left_s is not None and toulbar2.is_installed():
            share_s = SCIP_SHARE * left_s
        ScipSolver(shifts=self.shifts).prove(again, share_s, gap_limit, report=False)


def _toulbar2_again(
    again: Incumbent, first: Incumbent, gap_limit: float, left_s: float | None
) -> None:
    """From the measured matrix alone; not without a limit, where SCIP has proven it already."""
    if left_s and toulbar2.is_installed():
        toulbar2.prove(again, left_s)
