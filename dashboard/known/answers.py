"""What is known so far about the best choices of one network, from every solver that has run.

Budgets help each other, as ``clado_core.allocation.sharing`` says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from clado_core import AllocationProblem, SensitivityMatrix, Solution, SolveStatus
from clado_core.allocation.frontier import Frontier
from clado_core.allocation.sweep import budget_grid
from clado_core.problem.solution import solution_of
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard.known.found import Found
from dashboard.known.recent import Recent
from dashboard.rules import Rules

FRONT_POINTS = 41
T = TypeVar("T")

INSTANT_LAYERS = 30
"""Up to this many layers a full local search fits into a drag step; above, only descents do."""

SEARCHES = 512
"""Budgets of which it is remembered how they were searched: more than a slider has stops."""


class Answers:
    """Choices and bounds of one matrix under one set of rules; shared by all sessions.

    Args:
        matrix: The sensitivities.
        rules: Wishes about layers.
        stored: A front solved before; its budgets become the grid.

    ``grid`` are the budgets of the front, evenly spaced where none is stored; ``front_version``
    counts the changes of the front, ``proofs_asked`` how often it was to be proven as a whole.
    """

    def __init__(
        self, matrix: SensitivityMatrix, rules: Rules, stored: Frontier | None = None, /
    ) -> None:
        self.matrix = matrix
        self.rules = rules
        problem = rules.problem(matrix)
        smallest, largest = problem.extremes()
        self.least_bits, self.most_bits = smallest.size_bits, largest.size_bits
        self.front_version = 0
        self.proofs_asked = 0
        self.grid = stored.budgets_bits if stored else budget_grid(problem, FRONT_POINTS)
        self._found = Found(self.grid)
        self._thorough: Recent[int, bool] = Recent(SEARCHES)
        self._front: tuple[Solution, ...] = ()
        self._front_seen = -1
        self._lock = threading.Lock()
        self._derived: dict[tuple[int, Hashable], Any] = {}
        if stored is not None:
            for budget, point in zip(stored.budgets_bits, stored.points, strict=True):
                self.add(budget, point)

    @property
    def version(self) -> int:
        """Counts what was added."""
        return self._found.version

    def add(self, budget_bits: int, solution: Solution, /) -> None:
        """Keep a solution, and its bound if it has one."""
        self._found.add(budget_bits, solution)

    def best(self, budget_bits: int, /) -> Solution | None:
        """The best known choice that fits, with the tightest bound proven for this budget."""
        return self._found.best(budget_bits)

    def known(self) -> list[Solution]:
        """The choices found, in order of size, whether another beats them or not."""
        return self._found.by_size()

    def quick(self, budget_bits: int, /, *, thorough: bool) -> Solution:
        """An answer now: what is known, improved by as much local search as the moment allows."""
        searched = self._thorough.get(budget_bits)  # None: not even by descents
        if not searched and (thorough or searched is None):
            instant = self.matrix.n_layers <= INSTANT_LAYERS
            known = self.best(budget_bits)
            if known is None or instant or thorough:
                self._search(budget_bits, known, thorough=thorough)
        answer = self.best(budget_bits)
        assert answer is not None
        return answer

    def sweep(self) -> None:
        """Fill in choices over the whole range by descents, each started from the one before."""
        for budget in self.grid:
            known = self.best(budget)
            if known is None or known.gap is None:
                self._search(budget, known, thorough=False)

    def unproven(self) -> list[int]:
        """The budgets of the grid whose best choice is not proven optimal, coarse ones first."""
        best = self._found.within(self.grid)
        order = sorted(range(len(best)), key=lambda i: (i % 4 != 0, i % 2 != 0, i))
        open_ = [i for i in order if (s := best[i]) is None or s.status is not SolveStatus.OPTIMAL]
        return [self.grid[i] for i in open_]

    def front(self) -> tuple[Solution, ...]:
        """The best known choices at the grid's budgets, in order of size, none matched by another.

        The same tuple comes back until it changes, and ``front_version`` counts the changes.
        """
        with self._lock:
            version = self.version
            if self._front_seen == version:
                return self._front
        front: list[Solution] = []
        for solution in self._found.within(self.grid):
            if solution and (not front or solution.objective < front[-1].objective):
                front.append(solution)
        with self._lock:
            self._front_seen = version
            if tuple(front) != self._front:
                self._front = tuple(front)
                self.front_version += 1
            return self._front

    def derived(self, key: Hashable, make: Callable[[], T], /) -> T:
        """What follows from the front, made once per front and key."""
        self.front()
        version = self.front_version
        known = self._derived.get((version, key))
        if known is None:
            for stale in [k for k in list(self._derived) if k[0] != version]:
                self._derived.pop(stale, None)
            known = self._derived[version, key] = (make(),)
        found: T = known[0]
        return found

    def _search(self, budget_bits: int, known: Solution | None, *, thorough: bool) -> None:
        problem = self.rules.problem(self.matrix, budget_bits)
        solver = LocalSearchSolver() if thorough else LocalSearchSolver(n_walks=0)
        start = known.assignment if known is not None else None
        self.add(budget_bits, solver.solve(problem, warm_start=start))
        self._thorough[budget_bits] = thorough


def solution_from_message(matrix: SensitivityMatrix, message: Mapping[str, Any], /) -> Solution:
    """The solution that a worker's answer describes, its objective and status recomputed here."""
    bits = tuple(int(b) for b in message["bits"])
    return solution_of(
        matrix,
        AllocationProblem(matrix).assignment(bits),
        solver=message["solver"],
        bound=float(message["bound"]),
        otherwise=SolveStatus[message["status"]],
        runtime_s=float(message["runtime_s"]),
        first_answer_s=float(message["first_answer_s"]),
    )
