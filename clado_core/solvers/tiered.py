"""The solver for users: an answer first, then a proof, then a second opinion where wanted."""

from __future__ import annotations

import logging
import math
import os
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

CONFIRMS_AFTER_S = 0.3
"""What SCIP has before toulbar2, whose process takes as long to start, confirms beside it."""

DAQP, SCIP, HIGHS, TOULBAR2 = "daqp", "scip", "highs", "toulbar2"


@dataclass(frozen=True, slots=True)
class TieredSolver:
    """Local search answers, DAQP proves beside toulbar2, SCIP confirms or takes over.

    ``Solution.solver`` names who proved: "daqp" (its tree, and the relaxations before it),
    "toulbar2" (in a process of its own, where DAQP's first short tree did not end), "scip"
    (DAQP ran out of its share of the time, failed, or could not close the gap). A confirmed proof
    of DAQP's, whose word is taken, has a second name, of who first came to the same from the answer
    alone: "daqp+scip", SCIP's tree, whose every bound is recomputed by duality and holds whatever
    DAQP, which minimizes its relaxations too, returns (both search one convex form; any shifts make
    that exact); or "daqp+toulbar2", from the measured matrix alone, with code and bounds that share
    nothing with DAQP's. Without interactions the problem is a knapsack, which HiGHS proves:
    "highs".

    Args:
        shifts: The matrix's convexification, computed before.
        confirm: Let SCIP and toulbar2, beside each other, prove again what DAQP has proven, as far
            as the time allows.
        race: Let toulbar2 search beside DAQP where it is installed and there is a core for it.
    """

    shifts: ConvexifyingShifts | None = None
    confirm: bool = False
    race: bool = True

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
        daqp.find_answer(incumbent, time_limit_s)
        with toulbar2.Race(incumbent) as race:
            if self.race and toulbar2.is_installed() and _n_cores() > 1:
                incumbent.rival = _Beside(race, incumbent)
            return self._proven(incumbent, race, time_limit_s, gap_limit, on_progress is not None)

    def _proven(
        self,
        incumbent: Incumbent,
        race: toulbar2.Race,
        time_limit_s: float | None,
        gap_limit: float,
        report: bool,
    ) -> Solution:
        """DAQP's proof or toulbar2's, whichever is first, or SCIP's where there is none."""
        share, root = (
            None if time_limit_s is None else part * time_limit_s
            for part in (DAQP_SHARE, ROOT_SHARE)
        )
        try:
            daqp.branch_and_bound(incumbent, self.shifts, share, gap_limit, root)
        except SolverError as problem_found:
            logger.warning("DAQP failed, SCIP goes on: %s", problem_found)
        if incumbent.is_within(gap_limit):
            found = incumbent.solution(TOULBAR2 if race.has_won else DAQP, gap_limit=gap_limit)
            if race.has_won or not self.confirm:
                return found
            return self._confirmed(found, incumbent, race, gap_limit, time_limit_s)
        SECOND_SEARCH.improve(incumbent, time_limit_s=time_limit_s)
        in_time = True
        try:
            scip = ScipSolver(shifts=self.shifts)
            in_time = scip.prove(incumbent, time_limit_s, gap_limit, report=report)
        except SolverError as problem_found:
            logger.warning("SCIP failed, what was found before stands: %s", problem_found)
        solver = TOULBAR2 if race.has_won else SCIP
        return incumbent.solution(solver, gap_limit=gap_limit, in_time=in_time)

    def _confirmed(
        self,
        found: Solution,
        first: Incumbent,
        race: toulbar2.Race,
        gap_limit: float,
        time_limit_s: float | None,
    ) -> Solution:
        """The solution, and the name of who first comes to the same from the answer alone."""
        left_s = first.left_s(time_limit_s)
        again = Incumbent(first.problem, warm_start=found.assignment)
        first.rival, again.rival = None, _Beside(race, again, CONFIRMS_AFTER_S, left_s)
        if first.first_convex is not None:
            # A tree of its own, over the convex form that DAQP began with.
            again.replace_program(first.first_convex[0])
            again.convex = first.first_convex
        try:
            ScipSolver(shifts=self.shifts).prove(again, left_s, gap_limit, report=False)
        except SolverError as problem_found:
            logger.warning("SCIP could not confirm, DAQP's proof stands: %s", problem_found)
        if not again.is_within(gap_limit):
            race.wait(again.left_s(left_s))
        is_second = again.is_within(gap_limit)
        second = again.solution(TOULBAR2 if race.has_won else SCIP, gap_limit=gap_limit)
        if second.objective < found.bound:
            logger.error("A better answer than DAQP's bound allows was found: DAQP is wrong.")
            return replace(second, runtime_s=first.elapsed_s)
        solver = f"{DAQP}+{second.solver}" if is_second else found.solver
        return replace(found, solver=solver, runtime_s=first.elapsed_s)


@dataclass(slots=True)
class _Beside:
    """toulbar2 as the rival of an incumbent, which its failures do not stop.

    Args:
        race: Not started where ``after_s`` says when.
        incumbent: Gets what is found.
        after_s: Seconds of the incumbent's after which it starts by itself; +inf for never.
        left_s: Its time then.
    """

    race: toulbar2.Race
    incumbent: Incumbent
    after_s: float = math.inf
    left_s: float | None = None

    @property
    def is_running(self) -> bool:
        return self.race.is_running

    def start(self, left_s: float | None, /) -> None:
        self.after_s = math.inf
        self.race.start(left_s)

    def collect(self) -> None:
        if self.race.is_open:
            try:
                self.race.collect(self.incumbent)
            except SolverError as problem:
                logger.warning("toulbar2 failed, the others go on: %s", problem)
        elif self.incumbent.elapsed_s > self.after_s and toulbar2.is_installed():
            self.start(self.incumbent.left_s(self.left_s))


def _n_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
