"""What is known so far about the best choices of one network, from every solver that has run.

Budgets help each other, as ``clado_core.allocation.sharing`` says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from clado_core import AllocationProblem, Assignment, SensitivityMatrix, Solution, SolveStatus
from clado_core.allocation.frontier import Frontier
from clado_core.allocation.greedy import adapted, greedy_front
from clado_core.allocation.sweep import budget_grid
from clado_core.problem.solution import solution_of
from dashboard.known.found import Found
from dashboard.known.recent import Recent
from dashboard.rules import Rules
from dashboard.workers.searches import FULL_AT_ONCE, GREEDY, Effort

FRONT_POINTS = 41
T = TypeVar("T")

INSTANT_LAYERS = 30
"""Up to this many layers descents fit into a drag step; above, the best that is known is shown."""

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
        self._problem = rules.problem(matrix)
        smallest, largest = self._problem.extremes()
        self.least_bits, self.most_bits = smallest.size_bits, largest.size_bits
        self.front_version = 0
        self.proofs_asked = 0
        self.grid = stored.budgets_bits if stored else budget_grid(self._problem, FRONT_POINTS)
        self._found = Found(self.grid)
        self._efforts: Recent[int, Effort] = Recent(SEARCHES)
        self._front: tuple[Solution, ...] = ()
        self._front_seen = -1
        self._lock = threading.Lock()
        self._derived: dict[tuple[int, Hashable], Any] = {}
        self._open = set(self.grid)
        if stored is not None:
            for budget, point in zip(stored.budgets_bits, stored.points, strict=True):
                self.add(budget, point)
                if point.gap is not None:
                    self._open.discard(budget)

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

    def at(self, budgets_bits: Sequence[int], /) -> tuple[Solution | None, ...]:
        """``best`` of several budgets, which do not count as used."""
        return self._found.within(budgets_bits)

    def known(self) -> list[Solution]:
        """The choices found, in order of size, whether another beats them or not."""
        return self._found.by_size()

    def quick(self, budget_bits: int, /, *, thorough: bool) -> Solution:
        """An answer now: what is known, improved by as much local search as the moment allows."""
        known = self.best(budget_bits)
        instant = self.matrix.n_layers <= INSTANT_LAYERS
        effort = Effort.DESCENTS
        if thorough:
            effort = Effort.FULL if len(self.matrix.G) <= FULL_AT_ONCE else Effort.FIRST
        if (known is None or instant or thorough) and self.effort(budget_bits) < effort:
            self._search(budget_bits, known, effort)
        answer = self.best(budget_bits)
        assert answer is not None
        return answer

    def effort(self, budget_bits: int, /) -> int:
        """How a budget was searched; 0 where it was not."""
        return self._efforts.get(budget_bits, 0)

    def searched(self, budget_bits: int, solution: Solution, effort: Effort, /) -> None:
        """Keep what a search has found, whoever ran it."""
        self.add(budget_bits, solution)
        self._efforts[budget_bits] = max(effort, self._efforts.get(budget_bits, effort))
        self._open.discard(budget_bits)

    def guess(self, relatives: Iterable[Answers] = (), /) -> None:
        """A choice for every open budget of the grid, before anything is searched.

        Args:
            relatives: Answers under other rules. Their choices, with what breaks a rule changed,
                are where searches start; their bounds hold here where these rules keep theirs, as
                fewer choices are left.
        """
        budgets = [budget for budget in self.grid if budget in self._open]
        self._keep_guesses(budgets, greedy_front(self._problem, budgets))
        for other in relatives:
            if self.rules.keeps(other.rules):
                self._found.learn(other._found.bounds())
            known = zip(budgets, other.at(budgets), strict=True)
            starts = {budget: each.assignment.bits for budget, each in known if each is not None}
            self._keep_guesses(starts, adapted(self._problem, starts, starts.values()))

    def sweep(self) -> None:
        """Search the open budgets by descents, each started from the best that is known."""
        for budget in self.left():
            self._search(budget, self.best(budget), Effort.DESCENTS)

    def left(self) -> list[int]:
        """Budgets of the grid that nobody has searched, coarse ones first."""
        return [budget for budget in _coarse_first(self.grid) if budget in self._open]

    def unproven(self) -> list[int]:
        """The budgets of the grid whose best choice is not proven optimal, coarse ones first."""
        order = _coarse_first(self.grid)
        best = zip(order, self._found.within(order), strict=True)
        return [b for b, s in best if s is None or s.status is not SolveStatus.OPTIMAL]

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

    def _search(self, budget_bits: int, known: Solution | None, effort: Effort) -> None:
        problem = self.rules.problem(self.matrix, budget_bits)
        start = known.assignment if known is not None else None
        self.searched(budget_bits, effort.solver.solve(problem, warm_start=start), effort)

    def _keep_guesses(
        self, budgets_bits: Iterable[int], choices: Iterable[Assignment | None]
    ) -> None:
        for budget, choice in zip(budgets_bits, choices, strict=True):
            if choice is not None:
                self.add(budget, solution_of(self.matrix, choice, solver=GREEDY))


def _coarse_first(grid: Sequence[int]) -> list[int]:
    """The ends and every fourth, then every second, then the others."""
    last = len(grid) - 1
    order = sorted(range(len(grid)), key=lambda i: (i % 4 != 0 and i != last, i % 2 != 0, i))
    return [grid[i] for i in order]


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
