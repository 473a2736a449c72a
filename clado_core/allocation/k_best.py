"""Not the optimum alone: the k best assignments, and what a pin costs."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from clado_core._typing import Choices
from clado_core.errors import InputError, SolverError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import Program
from clado_core.problem.solution import Solution, SolveStatus, solution_of
from clado_core.solvers.daqp import MOST_FORBIDDEN
from clado_core.solvers.daqp_tree import INFEASIBLE, TIME_LIMIT, Tree
from clado_core.solvers.elimination import capped, least_objectives
from clado_core.solvers.enumerate import ranked_choices
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.neighbourhood import Neighbourhood
from clado_core.solvers.protocol import Solver
from clado_core.solvers.shifts import ConvexifyingShifts, convexify_for
from clado_core.solvers.tiered import TieredSolver

FEW = 20_000
"""So many assignments are all looked at, whatever their scales."""

ROUNDS = 5
"""A candidate less lowers what others contribute at least."""

logger = logging.getLogger(__name__)


def k_best(
    problem: AllocationProblem,
    /,
    *,
    k: int = 5,
    within: float = math.inf,
    shifts: ConvexifyingShifts | None = None,
    time_limit_s: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Solution, ...]:
    """The k best assignments, best first, each proven to follow the one before.

    Args:
        problem: Budgets and wishes hold for all of them.
        k: At most so many.
        within: Stop at the first that exceeds the best x'Gx by more than this share of |x'Gx|.
        shifts: As for DaqpSolver.
        time_limit_s: Of the whole search; the best alone where it cannot be proven within it.
        on_progress: Called with (assignments found, k).

    Returns:
        At least the best; the bound of all is the best one's, so a gap says how far behind one is.
        A runner-up that is not as good as the best is no optimum: its status is HEURISTIC.

    Raises:
        InputError: k below 1, or a share below 0.
    """
    _check(k, within)
    first = TieredSolver(shifts).solve(problem, time_limit_s=time_limit_s)
    incumbent = Incumbent(problem, warm_start=first.assignment)
    if incumbent.is_settled or first.status is not SolveStatus.OPTIMAL:
        return (first,)
    limit, stops_at = _limit(first.objective, within), _end(time_limit_s, first.runtime_s)
    found = [first]
    followers = _followers(incumbent, shifts, limit, k, stops_at)
    for choice in itertools.islice(followers, min(k - 1, sys.maxsize)):
        found.append(_as_solution(incumbent, choice, first))
        if on_progress is not None:
            on_progress(len(found), k)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class PinPrice:
    """What one pinned layer costs: the optimum with the pin against the optimum without.

    Args:
        layer: Its name.
        bits: Its pinned bit-width.
        pinned: The best solution with the pin.
        free: The best solution without it, everything else equal.
    """

    layer: str
    bits: int
    pinned: Solution
    free: Solution

    @property
    def predicted_loss_increase(self) -> float:
        """How much predicted loss the pin adds."""
        return self.pinned.predicted_loss_increase - self.free.predicted_loss_increase

    @property
    def size_bits(self) -> int:
        """How many bits of searched weights the pin adds (negative: saves)."""
        return self.pinned.assignment.size_bits - self.free.assignment.size_bits


def price_of_pin(
    problem: AllocationProblem, layer: str, bits: int, /, *, solver: Solver | None = None
) -> PinPrice:
    """Solve with and without one pin.

    Args:
        problem: All its other wishes and budgets hold in both; a pin it has on the layer is
            replaced and, for the free solution, dropped.
        layer: Name of the layer.
        bits: Bit-width to pin it to.
        solver: A TieredSolver where None.
    """
    solver = TieredSolver() if solver is None else solver
    others = {name: b for name, b in problem.pins.items() if name != layer}
    free = solver.solve(dataclasses.replace(problem, pins=others))
    pinned_problem = dataclasses.replace(problem, pins=others | {layer: bits})
    return PinPrice(layer, bits, solver.solve(pinned_problem), free)


def _check(k: int, within: float) -> None:
    if k < 1:
        raise InputError(f"At least one assignment must be asked for, not {k}.")
    if not within >= 0:
        raise InputError(f"The share that a runner-up may be worse is 0 or more, not {within}.")


def _limit(best: float, within: float) -> float:
    """The largest objective of a runner-up (an infinite share of 0 is no number)."""
    return math.inf if within == math.inf else best + within * abs(best)


def _end(time_limit_s: float | None, spent_s: float) -> float | None:
    """When what is left of a time limit is over; None where there is none."""
    return None if time_limit_s is None else time.perf_counter() + max(time_limit_s - spent_s, 0.0)


def _followers(
    incumbent: Incumbent,
    shifts: ConvexifyingShifts | None,
    limit: float,
    k: int,
    stops_at: float | None,
) -> Iterator[Choices]:
    """The choices that follow the incumbent's, best first, up to an objective.

    Every search forbids the choices found so far; the best allowed neighbour of one of them gives
    it a bound to beat.
    """
    if incumbent.program.n_assignments <= FEW:
        yield from itertools.islice(ranked_choices(incumbent.program, k, limit), 1, None)
        return
    _rule_out(incumbent, k, limit)
    if incumbent.is_settled:
        return
    program, choice = incumbent.program, incumbent.choice
    tree = Tree(program, convexify_for(incumbent, shifts))
    known: dict[tuple[int, ...], float] = {}
    seen = set()
    while choice is not None:
        seen.add(tuple(choice.tolist()))
        tree.forbid(choice)
        known |= neighbours(program, choice, k)
        known = {other: value for other, value in known.items() if other not in seen}
        choice = _next_best(tree, program, known, limit, stops_at)
        if choice is not None:
            yield choice


def _rule_out(incumbent: Incumbent, k: int, limit: float) -> None:
    """Leave nothing that only assignments beyond the k-th best need: k feasible ones are known."""
    for _ in range(ROUNDS):
        program, choice = incumbent.program, incumbent.choice
        assert choice is not None
        known = sorted([incumbent.objective, *neighbours(program, choice, k).values()])
        if len(known) >= k:
            limit = min(limit, known[k - 1])
        dropped = least_objectives(program) > limit
        dropped[program.variables(choice)] = False
        if not dropped.any():
            break
        incumbent.rule_out(dropped)
        if incumbent.is_settled:
            return
    incumbent.replace_program(capped(incumbent.program, limit))


def _next_best(
    tree: Tree,
    program: Program,
    known: dict[tuple[int, ...], float],
    limit: float,
    stops_at: float | None,
) -> Choices | None:
    """The best choice not forbidden, None where none is within the limit or the time is over.

    What DAQP finds joins the known ones, whose own objectives say which is the best: DAQP's values
    are good to its tolerance only.
    """
    best_known = min(known, key=lambda other: known[other], default=None)
    target = limit if best_known is None else min(known[best_known], limit)
    for _ in range(MOST_FORBIDDEN):
        left_s = None if stops_at is None else max(stops_at - time.perf_counter(), 0.0)
        try:
            flag, choice = tree.search(target, left_s)
        except SolverError as problem:
            logger.warning("The search for runners-up ends early: %s", problem)
            return None
        if flag in TIME_LIMIT:
            return None
        if flag == INFEASIBLE:
            break
        if program.is_feasible(choice):
            known[tuple(choice.tolist())] = program.objective(choice)
            break
        tree.forbid(choice)
    best = min(known, key=lambda other: known[other], default=None)
    return None if best is None or known[best] > limit else np.array(best, dtype=np.int64)


def neighbours(program: Program, choice: Choices, k: int, /) -> dict[tuple[int, ...], float]:
    """The k best feasible choices that are one or two moves away, with their objectives."""
    table = Neighbourhood(program, choice)
    found: dict[tuple[int, ...], float] = {}
    for move in table.ranked_moves(k + 1):
        other = table.program.variables(choice).copy()
        for a in move:
            other[table.decision[a]] = a
        other -= program.offsets[:-1]
        found[tuple(other.tolist())] = program.objective(other)
    return found


def _as_solution(incumbent: Incumbent, choice: Choices, best: Solution) -> Solution:
    """A runner-up; the best one's bound holds for all, so its gap tells how far behind it is."""
    assignment = incumbent.problem.assignment(incumbent.program.layer_bits(choice))
    return solution_of(
        incumbent.problem.matrix,
        assignment,
        solver=best.solver,
        bound=best.bound,
        runtime_s=incumbent.elapsed_s,
    )
