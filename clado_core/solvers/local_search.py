"""Local search: a good answer in milliseconds, without a proof."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core._typing import Choices
from clado_core.errors import InputError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import Program
from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment
from clado_core.solvers.elimination import eliminate
from clado_core.solvers.incumbent import NO_ASSIGNMENT, Incumbent
from clado_core.solvers.neighbourhood import Neighbourhood
from clado_core.solvers.protocol import OnProgress
from clado_core.solvers.walks import IMPROVEMENT, tabu_walks

N_WALKS, STEPS_PER_VARIABLE = 64, 2
"""Half the walks and as many steps again miss more of the optima of 56 layers with strong
interactions."""

SCOUTED, N_SCOUTS = 300, 8
"""Variables above which a few walks go ahead: on 400 layers of three choices they are within 2 % of
all walks' answer after 0.2 s, where all walks take 4 s. So few need none ahead of them."""

FAR_ABOVE, WORTH_A_SEARCH = 1e6, 1e-3
"""The largest entry over an answer's terms for which searching again is considered, and by how much
it must shrink. Measured networks reach 1e4."""


@dataclass(frozen=True, slots=True)
class LocalSearchSolver:
    """Tabu walks in and out of the budgets, then steepest descent over 1-moves and 2-swaps.

    The work is counted in steps, never in seconds, so the answer depends on the seed alone,
    unless a time limit is given and reached.

    Args:
        seed: Seed of starts, tenures and restarts.
        n_walks: Tabu walks, all taken at once; 0 leaves the descents alone, from the warm start,
            the smallest assignment and the largest.
        steps_per_variable: Steps of each walk for every binary variable of the program.
    """

    seed: int = 0
    n_walks: int = N_WALKS
    steps_per_variable: int = STEPS_PER_VARIABLE

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
        if not incumbent.is_settled:
            self.improve(incumbent, time_limit_s=time_limit_s)
        return incumbent.solution("local-search")

    def improve(self, incumbent: Incumbent, /, *, time_limit_s: float | None = None) -> None:
        """Offer the incumbent every better choice that the search meets.

        One entry far above an answer's own leaves its rounding in every sum and sets the least
        improvement that counts. What no better answer uses is then ruled out, for another search.

        Raises:
            InputError: It meets none that keeps all budgets.
        """
        while True:
            for choice in self._answers(incumbent.program, incumbent.choice):
                incumbent.offer(choice)
                if incumbent.left_s(time_limit_s) == 0:
                    return
            if incumbent.choice is None:
                raise InputError(NO_ASSIGNMENT)
            largest = _largest(incumbent.program)
            if largest <= FAR_ABOVE * incumbent.terms or incumbent.left_s(time_limit_s) == 0:
                return
            eliminate(incumbent, time_limit_s=time_limit_s)
            if incumbent.is_settled or _largest(incumbent.program) > WORTH_A_SEARCH * largest:
                return

    def _answers(self, program: Program, start: Choices | None) -> Iterator[Choices]:
        given = [] if start is None else [start]
        ends = [np.zeros(program.n_decisions, dtype=np.int64), program.n_choices - 1]
        if self.n_walks:
            rng = np.random.default_rng(self.seed)
            if program.n_variables > SCOUTED and self.n_walks > N_SCOUTS:
                starts = np.stack(given + ends + _mixtures(program, rng, N_SCOUTS))
                for choice in tabu_walks(program, starts[:N_SCOUTS], rng, 2 * program.n_decisions):
                    yield choice
                    given = [choice]
            starts = np.stack(given + ends + _mixtures(program, rng, self.n_walks))
            n_steps = self.steps_per_variable * program.n_variables
            for choice in tabu_walks(program, starts[: self.n_walks], rng, n_steps):
                yield choice
                given, ends = [choice], []
        for begin in given + ends:
            yield from descend(program, begin)


def _largest(program: Program) -> float:
    return float(np.abs(program.Q).max(initial=0.0))


def _mixtures(program: Program, rng: np.random.Generator, n: int) -> list[Choices]:
    """From nearly the smallest assignment to a wholly random one: n choices."""
    shape = (n, program.n_decisions)
    random: npt.NDArray[np.int64] = rng.integers(0, program.n_choices, shape)
    share = np.linspace(0, 1, n)[:, None]
    return list(np.where(rng.random(shape) < share, random, 0))


def descend(program: Program, start: Choices) -> Iterator[Choices]:
    """Mend the start where it breaks a limit, then take the best move while it improves.

    Yields:
        Better and better choices that keep every limit; none where mending fails.
    """
    table = Neighbourhood(program, start)
    if not _mend(table):
        return
    yield table.choice
    least = IMPROVEMENT * table.scale
    while True:
        change, move = table.best_move()
        if change >= -least:
            break
        table.apply(move)
        yield table.choice


def _mend(table: Neighbourhood) -> bool:
    """Reach feasibility by 1-moves, each the least loss per share of a limit that it frees.

    Every move lowers the shares by which limits are broken, all together: with joint choices, what
    frees bits can cost bit operations, and moves could follow each other in a circle.

    Returns:
        Whether that succeeded; it always does where one choice takes the least of everything.
    """
    limits = np.maximum(table.program.limits, 1).astype(np.float64)
    while (slack := table.slack).min(initial=0.0) < 0:
        over = np.where(slack < 0, 1 / limits, 0.0)
        freed = -(over @ table.extra)
        broken = (np.maximum(-slack, 0) / limits).sum()
        after = (np.maximum(table.extra - slack[:, None], 0) / limits[:, None]).sum(axis=0)
        rate = np.full(len(freed), np.inf)
        useful = (after < broken) & np.isfinite(table.one)
        if not useful.any():
            return False
        # A move that gains on both sides is taken at once, the largest gain first.
        rate[useful] = np.where(
            table.one[useful] > 0,
            table.one[useful] / freed[useful],
            table.one[useful] * freed[useful],
        )
        table.apply((int(rate.argmin()),))
    return True
