"""What is known so far about the best choices of one network, from every solver that has run.

Budgets help each other, as ``clado_core.allocation.sharing`` says.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from clado_core import AllocationProblem, SensitivityMatrix, Solution, SolveStatus
from clado_core.allocation.frontier import Frontier
from clado_core.allocation.sharing import ProvenBound, shared_answers
from clado_core.allocation.sweep import budget_grid
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard.rules import Rules

FRONT_POINTS = 41
T = TypeVar("T")

INSTANT_LAYERS = 30
"""Up to this many layers a full local search fits into a drag step; above, only descents do."""


class Answers:
    """Choices and bounds of one matrix under one set of rules; shared by all sessions.

    Args:
        matrix: The sensitivities.
        rules: Wishes about layers.

    ``version`` counts what was added; ``refinements`` how often proofs of the whole front were
    asked for.
    """

    def __init__(self, matrix: SensitivityMatrix, rules: Rules) -> None:
        self.matrix = matrix
        self.rules = rules
        self._found: dict[int, Solution] = {}
        self._bounds: dict[int, tuple[float, str]] = {}
        self._searched: set[int] = set()
        self._descended: set[int] = set()
        self._front: tuple[Solution, ...] = ()
        self._front_seen = -1
        self.front_version = 0
        self._grid: tuple[int, ...] = ()
        self._lock = threading.Lock()
        self._derived: dict[tuple[int, Hashable], Any] = {}
        self.version = 0
        self.refinements = 0
        smallest, largest = rules.problem(matrix).extremes()
        self.least_bits, self.most_bits = smallest.size_bits, largest.size_bits

    def add(self, budget_bits: int, solution: Solution, /) -> None:
        """Keep a solution, and its bound if it has one."""
        size = solution.assignment.size_bits
        with self._lock:
            self.version += 1
            kept = self._found.get(size)
            if kept is None or solution.objective < kept.objective:
                self._found[size] = solution
            known, _ = self._bounds.get(budget_bits, (-math.inf, ""))
            if solution.bound > known:
                self._bounds[budget_bits] = (solution.bound, solution.solver)

    def best(self, budget_bits: int, /) -> Solution | None:
        """The best known choice that fits, with the tightest bound proven for this budget."""
        return self._best_within([budget_bits])[0]

    def known(self) -> list[Solution]:
        """Every choice found so far, in order of size, whether another beats it or not."""
        with self._lock:
            return [solution for _, solution in sorted(self._found.items())]

    def quick(self, budget_bits: int, /, *, thorough: bool) -> Solution:
        """An answer now: what is known, improved by as much local search as the moment allows."""
        done = budget_bits in self._searched
        if not done and (thorough or budget_bits not in self._descended):
            instant = self.matrix.n_layers <= INSTANT_LAYERS
            known = self.best(budget_bits)
            if known is None or instant or thorough:
                self._search(budget_bits, known, thorough=thorough)
        answer = self.best(budget_bits)
        assert answer is not None
        return answer

    def sweep(self) -> None:
        """Fill in choices over the whole range by descents, each started from the one before."""
        for budget in self.budgets():
            known = self.best(budget)
            if known is None or known.gap is None:
                self._search(budget, known, thorough=False)

    def budgets(self) -> tuple[int, ...]:
        """The grid of the front: a stored front's own budgets, else evenly spaced ones."""
        if not self._grid:
            self._grid = budget_grid(self.rules.problem(self.matrix), FRONT_POINTS)
        return self._grid

    def take(self, stored: Frontier, /) -> None:
        """Adopt a stored front, and its budgets as the grid."""
        self._grid = stored.budgets_bits
        for budget, point in zip(stored.budgets_bits, stored.points, strict=True):
            self.add(budget, point)

    def unproven(self) -> list[int]:
        """The budgets of the grid whose best choice is not proven optimal, coarse ones first."""
        grid = self.budgets()
        order = sorted(range(len(grid)), key=lambda i: (i % 4 != 0, i % 2 != 0, i))
        best = ((grid[i], self.best(grid[i])) for i in order)
        return [b for b, s in best if s is None or s.status is not SolveStatus.OPTIMAL]

    def front(self) -> tuple[Solution, ...]:
        """The best known choices at the grid's budgets, in order of size, none matched by another.

        The same tuple comes back until it changes, and ``front_version`` counts the changes.
        """
        with self._lock:
            if self._front_seen == self.version:
                return self._front
            version = self.version
        front: list[Solution] = []
        for solution in self._best_within(self.budgets()):
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

    def _best_within(self, budgets_bits: Sequence[int]) -> tuple[Solution | None, ...]:
        with self._lock:
            found = list(self._found.values())
            bounds = [ProvenBound(budget, *proven) for budget, proven in self._bounds.items()]
        return shared_answers(budgets_bits, found, bounds)

    def _search(self, budget_bits: int, known: Solution | None, *, thorough: bool) -> None:
        problem = self.rules.problem(self.matrix, budget_bits)
        solver = LocalSearchSolver() if thorough else LocalSearchSolver(n_walks=0)
        self.add(
            budget_bits,
            solver.solve(problem, warm_start=known.assignment if known is not None else None),
        )
        (self._searched if thorough else self._descended).add(budget_bits)


def solution_from_message(matrix: SensitivityMatrix, message: Mapping[str, Any], /) -> Solution:
    """The solution that a worker's answer describes, its objective recomputed here."""
    problem = AllocationProblem(matrix)
    bits = tuple(int(b) for b in message["bits"])
    objective = matrix.objective(bits)
    return Solution(
        assignment=problem.assignment(bits),
        status=SolveStatus[message["status"]],
        objective=objective,
        bound=min(float(message["bound"]), objective),
        method="clado",
        solver=message["solver"],
        runtime_s=float(message["runtime_s"]),
        first_answer_s=float(message["first_answer_s"]),
    )
