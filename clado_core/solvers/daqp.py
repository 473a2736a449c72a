"""DAQP: branch and bound over convex quadratic programs; proves in milliseconds."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core._typing import Choices
from clado_core.errors import SolverError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import Program
from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment
from clado_core.solvers.convexify import ConvexForm, budget_rows
from clado_core.solvers.incumbent import PROOF_TOLERANCE, Incumbent
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.solvers.node_bound import UNBOUNDED
from clado_core.solvers.protocol import OnProgress
from clado_core.solvers.root import bound_root
from clado_core.solvers.shifts import ConvexifyingShifts, convexify_for
from clado_core.solvers.shrink import shrink

logger = logging.getLogger(__name__)

OPTIMAL, INFEASIBLE, CYCLING, TIME_LIMIT = 1, -1, -2, (-7, 5)
"""DAQP's exit flags; 5 also comes at a time limit (0.11). "Infeasible" under a bound on the
objective means that nothing better than the bound exists."""

BINARY = 16
"""DAQP's mark of a row that must hold at one of its bounds."""

PRIMAL_TOLERANCES = (1e-8, 1e-7, 1e-6)
"""Tried in turn where DAQP cycles (exit flag −2). A looser one accepts more points as feasible, so
it can only lower what is proven."""

ITERATIONS = 2**31 - 1
"""DAQP's own limit counts active-set steps of the whole tree; the time limit is the one we use."""


MOST_FORBIDDEN = 200
"""Choices over a budget by less than DAQP's tolerance, cut off one by one; where layers' sizes are
so far apart that there are more, another solver goes on."""

WIDE_GAP, WIDE_SEARCH = 0.2, LocalSearchSolver(seed=2, steps_per_variable=6)
"""Where a relaxation is as far off as this, it may be the answer that is bad."""

QUICK_S = 0.5
"""What a tree is given before its program is shrunk: three choices a layer take less, mostly."""

SLICE_S = 1.0
"""Of a tree's first part while a rival may end; each part takes twice the last, so that what is
begun again is no more than the whole."""

WITHIN = 1 - 1e-9
"""Of a gap that is enough: a bound at all of it can be beyond by rounding."""

SMALLEST_TOLERANCE = 1e-9
"""What the proof gives up at least, relative to max |Q̃|: DAQP's values are good to about 1e-10."""


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
        LocalSearchSolver().improve(incumbent, time_limit_s=time_limit_s)
        in_time = branch_and_bound(incumbent, self.shifts, time_limit_s, gap_limit)
        return incumbent.solution("daqp", gap_limit=gap_limit, in_time=in_time)


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
    """Make the program smaller, and look for better answers where that leaves much open.

    It is worth a rival's while from here on.
    """
    if incumbent.rival is not None:
        incumbent.rival.start(incumbent.left_s(time_limit_s))
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


class Tree:
    """DAQP's arrays for one program; its variables are z in branching order, in units of scale."""

    def __init__(self, program: Program, convex: ConvexForm) -> None:
        form, order = convex.form, np.argsort(-convex.H.diagonal(), kind="stable")
        self._program, self._convex, self._order = program, convex, order
        self._scale = form.scale
        self._H = 2 * convex.H[np.ix_(order, order)] / self._scale
        self._linear = convex.linear[order] / self._scale
        budgets, room = budget_rows(program, form)
        crowded = np.flatnonzero(program.n_choices > 2)
        one_hot = np.equal.outer(crowded, form.decision) * 1.0
        self._rows = np.concatenate([budgets, one_hot])[:, order]
        self._limits = np.concatenate([room, np.ones(len(crowded))])

    def tolerance(self, objective: float) -> float:
        """What the proof gives up, in units of the objective."""
        return max(PROOF_TOLERANCE * abs(objective), SMALLEST_TOLERANCE * self._scale)

    def search(self, target: float, time_limit_s: float | None) -> tuple[int, Choices]:
        """Look for the best choice with an objective below ``target``: exit flag and choice."""
        if time_limit_s == 0:
            return TIME_LIMIT[0], np.zeros(0, dtype=np.int64)
        bound = min((target - self._convex.form.base) / self._scale, UNBOUNDED)
        flag, z = self._run(bound, time_limit_s)
        if flag not in (OPTIMAL, INFEASIBLE, *TIME_LIMIT):
            raise SolverError(f"DAQP stopped with its exit flag {flag}, which should not happen.")
        return flag, self._choice(z)

    def forbid(self, choice: Choices) -> None:
        """Cut one choice off: not all of its variables at once."""
        form = self._convex.form
        chosen = self._program.variables(choice)
        kept = np.isin(form.kept, chosen) * 1.0
        # A reference that is chosen counts as 1 − Σ z of its decision.
        at_reference = np.isin(form.reference, chosen)
        row = kept - at_reference[form.decision]
        self._rows = np.concatenate([self._rows, row[None, self._order]])
        limit = self._program.n_decisions - 1.0 - at_reference.sum()
        self._limits = np.append(self._limits, limit)

    @property
    def _n_variables(self) -> int:
        return len(self._linear)

    def _run(self, bound: float, time_limit_s: float | None) -> tuple[int, npt.NDArray[np.float64]]:
        import daqp

        n = self._n_variables
        sense = np.zeros(n + len(self._limits), dtype=np.intc)
        sense[:n] = BINARY
        for primal_tolerance in PRIMAL_TOLERANCES:
            z, _, flag, _ = daqp.solve(
                self._H,
                self._linear,
                np.ascontiguousarray(self._rows),
                np.concatenate([np.ones(n), self._limits]),
                np.concatenate([np.zeros(n), np.full(len(self._limits), -UNBOUNDED)]),
                sense,
                primal_tol=primal_tolerance,
                iter_limit=ITERATIONS,
                fval_bound=bound,
                time_limit=time_limit_s or 0.0,
                # H is definite by construction: no regularization that would change the problem.
                eps_prox=0.0,
            )
            if flag != CYCLING:
                break
        return int(flag), np.asarray(z)

    def _choice(self, z: npt.NDArray[np.float64]) -> Choices:
        form, program = self._convex.form, self._program
        value = np.zeros(program.n_variables)
        value[form.kept[self._order]] = z
        value[form.reference] = 1 - np.bincount(
            form.decision[self._order], weights=z, minlength=program.n_decisions
        )
        groups = np.split(value, program.offsets[1:-1])
        return np.array([group.argmax() for group in groups], dtype=np.int64)
