"""The solver for users: an answer first, then a proof, then a second opinion where wanted."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from clado_core.errors import SolverError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.solution import Solution, SolveStatus
from clado_core.records.assignment import Assignment
from clado_core.solvers import daqp
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.solvers.protocol import OnProgress
from clado_core.solvers.scip import ScipSolver
from clado_core.solvers.shifts import ConvexifyingShifts

logger = logging.getLogger(__name__)

SECOND_SEARCH = LocalSearchSolver(seed=1, steps_per_variable=6)
"""Where DAQP does not finish, the answer may still improve: three times the work, drawn anew."""

DAQP_SHARE = 0.5
"""Share of a time limit after which SCIP, which improves its bound all along, takes over."""


@dataclass(frozen=True, slots=True)
class TieredSolver:
    """Local search answers, DAQP proves, SCIP confirms or takes over.

    ``Solution.solver`` names who proved: "daqp", "scip" (DAQP ran out of its share of the time, or
    failed), or "daqp+scip" (both, independently).

    Args:
        shifts: The matrix's convexification, computed before.
        confirm: Let SCIP prove again what DAQP has proven, as far as the time allows.
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
            return incumbent.solution(SolveStatus.OPTIMAL, "daqp")
        LocalSearchSolver().improve(incumbent, time_limit_s=time_limit_s)
        share = None if time_limit_s is None else DAQP_SHARE * time_limit_s
        try:
            status = daqp.branch_and_bound(incumbent, self.shifts, share, gap_limit)
        except SolverError as problem:
            logger.warning("DAQP failed, SCIP goes on: %s", problem)
            status = SolveStatus.TIME_LIMIT
        proven = status is not SolveStatus.TIME_LIMIT
        if proven and not self.confirm:
            return incumbent.solution(status, "daqp")
        if not proven:
            SECOND_SEARCH.improve(incumbent, time_limit_s=time_limit_s)
        scip = ScipSolver(shifts=self.shifts)
        try:
            second = scip.prove(incumbent, time_limit_s, gap_limit, report=on_progress is not None)
        except SolverError as problem:
            logger.warning("SCIP failed, what was found before stands: %s", problem)
            second = SolveStatus.HEURISTIC
        if not proven:
            return incumbent.solution(second, "scip")
        confirmed = second in (SolveStatus.OPTIMAL, SolveStatus.GAP_LIMIT)
        return incumbent.solution(status, "daqp+scip" if confirmed else "daqp")
