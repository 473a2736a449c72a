"""DAQP: branch and bound over convex quadratic programs; proves in milliseconds."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from clado_core._typing import Choices
from clado_core.errors import InputError, SolverError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment
from clado_core.solvers.daqp_tree import INFEASIBLE, TIME_LIMIT, Tree
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.solvers.protocol import OnProgress
from clado_core.solvers.root import bound_root
from clado_core.solvers.shifts import ConvexifyingShifts, convexify_for
from clado_core.solvers.shrink import shrink

logger = logging.getLogger(__name__)

MOST_FORBIDDEN = 200
"""Choices over a budget by less than DAQP's tolerance, cut off one by one; where layers' sizes are
so far apart that there are more, another solver goes on."""

FIRST_SEARCH, FULL_SEARCH = LocalSearchSolver(n_walks=0), LocalSearchSolver()
"""Descents are where a tree begins, which mostly ends sooner than walks do; where it does not, the
walks are worth their time."""

WIDE_GAP, WIDE_SEARCH = 0.2, LocalSearchSolver(seed=2, steps_per_variable=6)
"""Where a relaxation is as far off as this, it may be the answer that is bad."""

QUICK_S = 0.5
"""What a tree is given before its program is shrunk: three choices a layer take less, mostly."""

SLICE_S = 1.0
"""Of a tree's first part while a rival may end; each part takes twice the last, so that what is
begun again is no more than the whole."""

WITHIN = 1 - 1e-9
"""Of a gap that is enough: a bound at all of it can be beyond by rounding."""


@dataclass(frozen=True, slots=True)
class DaqpSolver:
    """Local search, exact convexification, then DAQP's depth-first branch and bound.

    DAQP branches on binaries in the order they are given, so the order decides: largest diagonal
    of the convexified matrix first, which are the low bit-widths of the layers that matter most.
    One thread, without the GIL.

    Args:
        shifts: The matrix's convexification, computed before; without one an SDP is solved
            for each problem (0.03 s for 20 layers, 0.3 s for 56), which is a little tighter.

    Source: Arnström, Bemporad, Axehill, A dual active-set solver for embedded quadratic
    programming (2022).
    """

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
            return incumbent.solution("daqp")
        find_answer(incumbent, time_limit_s)
        in_time = branch_and_bound(incumbent, self.shifts, time_limit_s, gap_limit)
        return incumbent.solution("daqp", gap_limit=gap_limit, in_time=in_time)


def find_answer(incumbent: Incumbent, time_limit_s: float | None, /) -> None:
    """Offer the incumbent an answer to begin with.

    Raises:
        InputError: No assignment is met that keeps all budgets.
    """
    try:
        FIRST_SEARCH.improve(incumbent, time_limit_s=time_limit_s)
    except InputError:
        # Joint choices trade budgets for each other: walks go where descents cannot.
        FULL_SEARCH.improve(incumbent, time_limit_s=time_limit_s)


def branch_and_bound(
    incumbent: Incumbent,
    shifts: ConvexifyingShifts | None,
    time_limit_s: float | None,
    gap_limit: float,
    root_limit_s: float | None = None,
    /,
) -> bool:
    """Improve the incumbent until it is proven, within the gap, or out of time.

    Args:
        incumbent: Has an answer.
        shifts: As for DaqpSolver.
        time_limit_s: Counted from the incumbent's start; at the limit the bound is the root's.
        gap_limit: Gap that is enough.
        root_limit_s: Of the first root, where it may take longer than a tree; None for the same.

    Returns:
        Whether it ended before the time did.

    Raises:
        SolverError: DAQP failed numerically.
    """
    limit_s = time_limit_s if root_limit_s is None else root_limit_s
    search = _search_briefly
    while not incumbent.is_within(gap_limit):
        bound_root(incumbent, shifts, limit_s)
        limit_s, before = time_limit_s, incumbent.objective
        ended = incumbent.is_within(gap_limit) or search(incumbent, time_limit_s, gap_limit)
        if incumbent.is_within(gap_limit):
            break
        if search is not _search and incumbent.left_s(time_limit_s) != 0:
            # Also where the tree ended: a smaller program has a smaller unit, and tolerance.
            search = _search
            _shrink(incumbent, shifts, time_limit_s, gap_limit)
        elif not ended or incumbent.objective == before:
            # A better answer would have smaller tolerances, and rule more out.
            return ended
    return True


def _shrink(
    incumbent: Incumbent,
    shifts: ConvexifyingShifts | None,
    time_limit_s: float | None,
    gap_limit: float,
) -> None:
    """Search in earnest, make the program smaller, and search again where that leaves much open.

    It is worth a rival's while from here on.
    """
    if incumbent.rival is not None:
        incumbent.rival.start(incumbent.left_s(time_limit_s))
    FULL_SEARCH.improve(incumbent, time_limit_s=time_limit_s)
    before = math.inf
    while incumbent.objective < before and not incumbent.is_settled:
        before = incumbent.objective
        convex = convexify_for(incumbent, shifts, time_limit_s=time_limit_s)
        shrink(incumbent, convex, time_limit_s, gap_limit)
        if incumbent.gap <= WIDE_GAP or incumbent.left_s(time_limit_s) == 0:
            return
        WIDE_SEARCH.improve(incumbent, time_limit_s=time_limit_s)


def _search_briefly(incumbent: Incumbent, time_limit_s: float | None, gap_limit: float) -> bool:
    """Whether a tree ends before shrinking the program could pay."""
    soon_s = incumbent.elapsed_s + QUICK_S
    try:
        return _search(
            incumbent, soon_s if time_limit_s is None else min(soon_s, time_limit_s), gap_limit
        )
    except SolverError as problem:
        logger.warning("DAQP failed, a smaller program may help: %s", problem)
        return False


def _search(incumbent: Incumbent, time_limit_s: float | None, gap_limit: float) -> bool:
    """One tree: proves the incumbent, up to DAQP's tolerance, or finds a better one."""
    assert incumbent.convex is not None
    tree = Tree(*incumbent.convex)
    for _ in range(MOST_FORBIDDEN):
        if incumbent.is_within(gap_limit):
            break
        tolerance = tree.tolerance(incumbent.objective)
        enough = WITHIN * gap_limit * abs(incumbent.objective)
        target = incumbent.objective - max(enough, tolerance)
        flag, choice = _in_slices(tree, target, incumbent, time_limit_s, gap_limit)
        if flag in TIME_LIMIT:
            return incumbent.is_within(gap_limit)
        if flag == INFEASIBLE:
            incumbent.prove(target)
            break
        # Nothing lies below DAQP's choice, be it within the budgets or over by its tolerance.
        value = incumbent.program.objective(choice)
        if incumbent.program.is_feasible(choice):
            incumbent.offer(choice)
            incumbent.prove(value - tolerance)
            break
        incumbent.prove(min(value, target) - tolerance)
        tree.forbid(choice)
    return True


def _in_slices(
    tree: Tree, target: float, incumbent: Incumbent, time_limit_s: float | None, gap_limit: float
) -> tuple[int, Choices]:
    """A tree, begun again with more time as long as a rival is at work: none hears it meanwhile."""
    slice_s = SLICE_S
    while incumbent.has_rival:
        left_s = incumbent.left_s(time_limit_s)
        flag, choice = tree.search(target, slice_s if left_s is None else min(slice_s, left_s))
        if flag not in TIME_LIMIT or incumbent.is_within(gap_limit) or left_s == 0:
            return flag, choice
        slice_s *= 2
    return tree.search(target, incumbent.left_s(time_limit_s))
