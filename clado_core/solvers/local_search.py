"""Local search: a good answer in milliseconds, without a proof."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core._typing import Choices
from clado_core.problem import AllocationProblem
from clado_core.program import Program
from clado_core.solution import Assignment, Solution, SolveStatus
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.neighbourhood import Neighbourhood
from clado_core.solvers.protocol import OnProgress

IMPROVEMENT = 1e-12
"""Smallest improvement worth a move, relative to the largest |Q|: below it descent would cycle."""

TENURE = (3, 10)
"""Moves for which a variable switched off stays off; drawn anew at every move."""

VARIABLES_PER_WALK = 15
REDRAWN = 0.1
"""Share of the decisions that a restart redraws. With these two, 44 of 44 runs on a 56-layer
network at 11 budgets reached the proven optimum; redrawing a quarter missed 2 by up to 1 %."""


@dataclass(frozen=True, slots=True)
class LocalSearchSolver:
    """Greedy starts, steepest descent over 1-moves and 2-swaps, then tabu walks between restarts.

    The work is counted in moves, never in seconds, so the answer depends on the seed alone,
    unless a time limit is given and reached.

    Args:
        seed: Seed of the restarts and tenures.
        n_starts: Tabu walks: the first starts from the best descent, each later one from the best
            answer so far with a part of its decisions redrawn. None: one per
            ``VARIABLES_PER_WALK`` variables, so that larger programs get more.
        walk_length: Moves without improvement after which a walk ends.

    Source: Glover, Tabu search (1989); the delta tables follow Glover and Hao's for QUBO (2010).
    """

    seed: int = 0
    n_starts: int | None = None
    walk_length: int = 80

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
        """See Solver.solve; nothing is proven, so ``gap_limit`` is ignored."""
        incumbent = Incumbent(problem, on_progress=on_progress, warm_start=warm_start)
        if incumbent.is_settled:
            return incumbent.solution(SolveStatus.OPTIMAL, "local-search")
        self.improve(incumbent, time_limit_s=time_limit_s)
        return incumbent.solution(SolveStatus.HEURISTIC, "local-search")

    def improve(self, incumbent: Incumbent, /, *, time_limit_s: float | None = None) -> None:
        """Offer the incumbent every better choice that the search meets."""
        for choice in self._answers(incumbent.program, incumbent.choice):
            incumbent.offer(choice)
            if time_limit_s is not None and incumbent.elapsed_s >= time_limit_s:
                return

    def _answers(self, program: Program, start: Choices | None) -> Iterator[Choices]:
        rng = np.random.default_rng(self.seed)
        table = Neighbourhood(program, np.zeros(program.n_decisions, dtype=np.int64))
        best, value = table.choice, math.inf
        for begin in _starts(program, start):
            table.place(begin)
            yield from _mend(table)
            _descend(table)
            if table.objective < value:
                best, value = table.choice, table.objective
                yield best
        n_walks = self.n_starts
        if n_walks is None:
            n_walks = math.ceil(program.n_variables / VARIABLES_PER_WALK)
        for walk in range(n_walks):
            table.place(_shaken(program, best, rng) if walk else best)
            yield from _mend(table)
            for choice, reached in _tabu_walk(table, rng, self.walk_length, value):
                best, value = choice, reached
                yield best


def _starts(program: Program, warm_start: Choices | None) -> Iterator[Choices]:
    """The warm start, the smallest assignment, the largest."""
    if warm_start is not None:
        yield warm_start
    yield np.zeros(program.n_decisions, dtype=np.int64)
    yield program.n_choices - 1


def _mend(table: Neighbourhood) -> Iterator[Choices]:
    """Reach feasibility by 1-moves, each the least loss per share of a limit that it frees."""
    limits = np.maximum(table.program.limits, 1).astype(np.float64)
    while (slack := table.slack).min(initial=0.0) < 0:
        over = np.where(slack < 0, 1 / limits, 0.0)
        freed = -(over @ table.extra)
        rate = np.full(len(freed), math.inf)
        useful = (freed > 0) & np.isfinite(table.one)
        # A move that gains on both sides is taken at once, the largest gain first.
        rate[useful] = np.where(
            table.one[useful] > 0,
            table.one[useful] / freed[useful],
            table.one[useful] * freed[useful],
        )
        table.apply((int(rate.argmin()),))
    yield table.choice


def _descend(table: Neighbourhood) -> None:
    """Take the best move while it improves."""
    least = IMPROVEMENT * table.scale
    while True:
        change, move = table.best_move()
        if change >= -least:
            return
        table.apply(move)


def _tabu_walk(
    table: Neighbourhood, rng: np.random.Generator, length: int, value: float
) -> Iterator[tuple[Choices, float]]:
    """Walk to the best neighbour, better or not, that switches on nothing lately switched off.

    A move to a new best is always allowed. Yields each new best (choice, objective).
    """
    released = np.zeros(table.program.n_variables)
    least = IMPROVEMENT * table.scale
    step, last = 0, 0
    while step - last < length:
        step += 1
        change, move = table.best_move()
        if table.objective + change >= value - least:
            change, move = table.best_move(np.where(released > step, math.inf, 0.0))
            if not math.isfinite(change):
                continue
        for a in move:
            replaced = table.chosen[table.decision[a]]
            released[replaced] = step + rng.integers(*TENURE)
        table.apply(move)
        if table.objective < value - least:
            value, last = table.objective, step
            yield table.choice, value


def _shaken(program: Program, choice: Choices, rng: np.random.Generator) -> Choices:
    """A few of the decisions redrawn."""
    redrawn = rng.random(program.n_decisions) < REDRAWN
    random: npt.NDArray[np.int64] = rng.integers(0, program.n_choices)
    return np.where(redrawn, random, choice)
