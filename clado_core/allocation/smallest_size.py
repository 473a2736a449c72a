"""The inverse question: the fewest bits whose predicted loss increase is at most so much."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from clado_core.allocation.reach import least_use, unit_of
from clado_core.errors import InputError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import compile_program
from clado_core.problem.solution import Solution, SolveStatus, relative_gap
from clado_core.records.matrix import LOSS_PER_OBJECTIVE
from clado_core.solvers.local_search import SCOUTED, LocalSearchSolver
from clado_core.solvers.protocol import Solver
from clado_core.solvers.tiered import TieredSolver

OnBudget: TypeAlias = Callable[[int, int], None]
"""Called with (bits of the smallest choice so far, the most bits that are known to be too few)."""

SEARCH_SHARE = 0.4
"""Of a time limit for searches: of 200 layers of five choices each takes two seconds."""

ALL_WALKS, FEW_WALKS = LocalSearchSolver(), LocalSearchSolver(n_walks=8, steps_per_variable=1)

NEAR = 0.005
"""Of a size that few walks found, where all walks look next."""

SHARE = 0.5
"""Of the time left for one proof: an open one leaves time to prove a smaller budget too small."""

LEAST_SHARE = 0.02
"""Of the whole time, below which no further proof is begun."""

JUST_ABOVE = 1e-6
"""Share of the way to a target that a proof need not go."""


@dataclass(frozen=True, slots=True)
class SmallestSize:
    """A choice within a predicted loss increase, and how many bits are proven to be too few.

    Args:
        solution: The choice; with its bits none that was found predicts less.
        max_loss: What was asked for, in the loss's own unit.
        too_few_bits: No choice of so many bits of searched weights, or fewer, predicts as little.
    """

    solution: Solution
    max_loss: float
    too_few_bits: int

    @property
    def is_proven(self) -> bool:
        """Whether every choice of fewer bits predicts more."""
        return self.too_few_bits >= self.solution.assignment.size_bits - 1


def smallest_size(
    problem: AllocationProblem,
    /,
    *,
    max_loss: float,
    solver: Solver | None = None,
    time_limit_s: float | None = None,
    on_progress: OnBudget | None = None,
) -> SmallestSize:
    """Choose the fewest bits with ½·x'Gx ≤ max_loss.

    The least x'Gx never rises with the budget. So searches alone bisect the budget, then proofs
    go down from the smallest choice that was found until one says that fewer bits do not do.

    Args:
        problem: Its wishes and other budgets hold; its ``budget_bits``, where set, is the most.
        max_loss: Largest predicted loss increase, in the loss's own unit; may be negative.
        solver: Proves; a TieredSolver where None.
        time_limit_s: Of all searches and proofs together.
        on_progress: Called as the two ends of what is open move.

    Raises:
        InputError: Not a number, or no choice was found that predicts as little.
    """
    if not math.isfinite(max_loss):
        raise InputError(f"The largest loss increase must be a number, not {max_loss}.")
    search = _Search(
        problem,
        max_loss / LOSS_PER_OBJECTIVE,
        solver or TieredSolver(),
        time_limit_s,
        on_progress,
        too_few=least_use(problem, "budget_bits", time_limit_s=time_limit_s).proven - 1,
        unit=unit_of(problem.matrix, "budget_bits"),
    )
    search.start()
    search.descend()
    search.prove()
    solution = replace(search.settled(), runtime_s=time.perf_counter() - search.began)
    return SmallestSize(solution, max_loss, search.too_few)


@dataclass(slots=True)
class _Search:
    """What is open: budgets above ``too_few`` and below the size of ``best``.

    Sizes differ by multiples of ``unit``; ``found`` are answers that proofs start from.
    """

    problem: AllocationProblem
    target: float
    solver: Solver
    time_limit_s: float | None
    on_progress: OnBudget | None
    too_few: int
    unit: int
    best: Solution | None = None
    found: list[Solution] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    @property
    def size(self) -> int:
        """Of the best, in bits."""
        assert self.best is not None
        return self.best.assignment.size_bits

    def start(self) -> None:
        """Find any choice that predicts little enough; an InputError where there is none."""
        least = self._searched(self.problem)
        if not self._takes(least):
            least = self.solver.solve(self.problem, time_limit_s=self._share_s())
            if not self._takes(least):
                raise InputError(_out_of_reach(LOSS_PER_OBJECTIVE * self.target, least))

    def descend(self) -> None:
        """Bisect by searches, which are quick and prove nothing.

        Where all walks take long, a few go ahead, and all of them look below what these found.
        """
        if compile_program(self.problem).n_variables <= SCOUTED:
            self._bisect(self.too_few, ALL_WALKS)
            return
        self._bisect(self.too_few, FEW_WALKS)
        failed, step = self.size, max(1, int(NEAR * self.size))
        while self.too_few + 1 < self.size <= failed and self._left_s(SEARCH_SHARE) != 0:
            failed = max(self.size - step, self.too_few + 1)
            self._takes(self._searched(self._within(failed), ALL_WALKS))
            step *= 2
        self._bisect(failed, ALL_WALKS)

    def _bisect(self, failed: int, walks: LocalSearchSolver) -> None:
        while self.size - failed > 1 and self._left_s(SEARCH_SHARE) != 0:
            middle = (self.size + failed) // 2
            if not self._takes(self._searched(self._within(middle), walks)):
                failed = self._below_next(middle)

    def prove(self) -> None:
        """Prove fewer bits too few: first those just below the best, then by halves.

        Below a budget that a proof leaves open, how many bits are too few can still be said.
        """
        above, step = self.size, 1
        while above - self.too_few > 1 and self._has_time():
            budget = max(above - step, self.too_few + 1)
            found = self._decided(budget)
            if self._takes(found):
                above, step = self.size, 2 * step
                continue
            if self._is_beyond(found):
                self.too_few = self._below_next(budget)
                self._report()
            else:
                above = budget
            step = max(1, (above - self.too_few) // 2)

    def settled(self) -> Solution:
        """The best choice of the size that was found."""
        assert self.best is not None
        if self._has_time():
            again = self.solver.solve(
                self._within(self.size),
                warm_start=self.best.assignment,
                time_limit_s=self._left_s(),
            )
            self._takes(again)
        return self.best

    def _searched(
        self, problem: AllocationProblem, walks: LocalSearchSolver = ALL_WALKS
    ) -> Solution:
        found = walks.solve(problem, time_limit_s=self._left_s(SEARCH_SHARE))
        self.found.append(found)
        return found

    def _decided(self, budget: int) -> Solution:
        """The answer within a budget, proven only as far as it matters on which side it lies.

        A gap up to the target is enough; an answer that became better leaves another to close.
        """
        problem = self._within(budget)
        fitting = [each for each in self.found if each.assignment.size_bits <= budget]
        known = min(fitting or [self._searched(problem)], key=lambda each: each.objective)
        while known.objective > self.target:
            found = self.solver.solve(
                problem,
                warm_start=known.assignment,
                time_limit_s=self._share_s(),
                gap_limit=_gap_to(self.target, known),
            )
            self.found.append(found)
            is_better = found.objective < known.objective
            known = found
            if self._is_beyond(found) or not (is_better and self._has_time()):
                break
        return known

    def _is_beyond(self, found: Solution) -> bool:
        """Whether it is proven that nothing within its budget predicts little enough."""
        return found.objective > self.target and (
            found.bound > self.target or found.status is SolveStatus.OPTIMAL
        )

    def _takes(self, found: Solution) -> bool:
        """Whether it predicts little enough; the smallest such is kept, of equal ones the best."""
        if found.objective > self.target:
            return False
        if self.best is None or _order(found) <= _order(self.best):
            self.best = found
            self._report()
        return True

    def _below_next(self, budget: int) -> int:
        """The largest budget within which choices are no larger: sizes differ by whole units."""
        below = self.size - 1
        return below - (below - budget) // self.unit * self.unit

    def _within(self, budget_bits: int) -> AllocationProblem:
        return replace(self.problem, budget_bits=budget_bits)

    def _left_s(self, share: float = 1.0) -> float | None:
        """Of a share of the time, counted from the beginning."""
        if self.time_limit_s is None:
            return None
        return max(0.0, share * self.time_limit_s - (time.perf_counter() - self.began))

    def _share_s(self) -> float | None:
        left_s = self._left_s()
        return None if left_s is None else SHARE * left_s

    def _has_time(self) -> bool:
        left_s = self._left_s()
        return left_s is None or left_s > LEAST_SHARE * (self.time_limit_s or 0.0)

    def _report(self) -> None:
        if self.on_progress is not None and self.best is not None:
            self.on_progress(self.size, self.too_few)


def _gap_to(target: float, known: Solution) -> float:
    """The relative gap of an answer whose bound is just above a target below it."""
    gap = relative_gap(known.objective, target, known.terms)
    return 0.0 if gap is None else (1 - JUST_ABOVE) * gap


def _order(solution: Solution) -> tuple[int, float, bool]:
    """Smaller, better, proven first."""
    proven = solution.status is SolveStatus.OPTIMAL
    return solution.assignment.size_bits, solution.objective, not proven


def _out_of_reach(max_loss: float, least: Solution) -> str:
    sure = "least" if least.status is SolveStatus.OPTIMAL else "least that was found"
    return (
        f"No choice was found whose predicted loss increase is at most {max_loss:g}: the {sure} is "
        f"{least.predicted_loss_increase:.6g}, at {least.assignment.avg_bits:.3f} bits on average."
    )
