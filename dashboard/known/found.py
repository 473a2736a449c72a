"""The choices found and the bounds proven for one network, as many as are of use.

Each budget that a visitor drags over may bring a choice of its own, and a server runs for months.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clado_core import Solution
from clado_core.allocation.sharing import ProvenBound, shared_answers
from dashboard.workers.searches import GREEDY

OTHERS = 64
"""Choices, and bounds, that are kept beside those that answer the grid: those last asked for. Each
answer of a drag looks through all of them, 2 ms for 200 choices of 20 layers."""

NO_BOUND = (-math.inf, "")


class Found:
    """Choices and bounds of one matrix under one set of rules, for several threads.

    Kept are the answers to the budgets of the grid, which are what they would be if nothing was
    ever forgotten; the bounds last asked for, with the answers that they are about; and the
    choices last asked for.

    Args:
        grid: Budgets in bits of searched weights.
        others: How many bounds, and how many choices, are kept beside.

    ``version`` counts what was added.
    """

    def __init__(self, grid: Sequence[int], /, *, others: int = OTHERS) -> None:
        self.version = 0
        self._grid = tuple(grid)
        self._others = others
        self._choices: dict[int, Solution] = {}
        self._bounds: dict[int, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def add(self, budget_bits: int, solution: Solution, /) -> None:
        """Keep a solution, and its bound if it has one; forget what is of no use any more."""
        size = solution.assignment.size_bits
        with self._lock:
            self.version += 1
            kept = self._choices.pop(size, solution)
            better = solution.objective < kept.objective
            # A guess that a search has not improved is not a guess any more.
            checked = kept.solver == GREEDY and solution.objective == kept.objective
            self._choices[size] = solution if better or checked else kept
            if solution.bound > self._bounds.get(budget_bits, NO_BOUND)[0]:
                self._bounds.pop(budget_bits, None)
                self._bounds[budget_bits] = (solution.bound, solution.solver)
            self._forget()

    def learn(self, bounds: Iterable[ProvenBound], /) -> None:
        """Keep bounds proven elsewhere that hold here too."""
        with self._lock:
            for budget, value, prover in bounds:
                if value > self._bounds.get(budget, NO_BOUND)[0]:
                    self.version += 1
                    self._bounds[budget] = value, prover
            self._forget()

    def bounds(self) -> list[ProvenBound]:
        """What was proven."""
        with self._lock:
            return [ProvenBound(budget, *proven) for budget, proven in self._bounds.items()]

    def best(self, budget_bits: int, /) -> Solution | None:
        """The best choice that fits, with the tightest bound that holds; both count as used."""
        (answer,) = self.within([budget_bits])
        with self._lock:
            if answer is not None:
                _use(self._choices, answer.assignment.size_bits)
            _use(self._bounds, budget_bits)
        return answer

    def within(self, budgets_bits: Sequence[int], /) -> tuple[Solution | None, ...]:
        """The best choice for each of several budgets, None where none fits."""
        with self._lock:
            choices = list(self._choices.values())
        return shared_answers(budgets_bits, choices, self.bounds())

    def by_size(self) -> list[Solution]:
        """Every choice that is kept, in order of size, whether another beats it or not."""
        with self._lock:
            return [solution for _, solution in sorted(self._choices.items())]

    def _forget(self) -> None:
        """Shorten what is too long; what answers the grid stays, so answers there only improve.

        Half of the others go at once: finding out what is needed takes as long as an answer.
        """
        half = self._others // 2
        if len(self._bounds) > len(self._grid) + self._others:
            needed = _tightest(self._bounds, self._grid)
            _drop(self._bounds, needed, len(self._grid) + half)
        answered = {*self._grid, *self._bounds}
        if len(self._choices) > len(answered) + self._others:
            best = shared_answers(answered, self._choices.values(), ())
            needed = {each.assignment.size_bits for each in best if each is not None}
            _drop(self._choices, needed, len(answered) + half)


def _tightest(bounds: Mapping[int, tuple[float, str]], budgets: Iterable[int]) -> set[int]:
    """The budgets whose bounds are the tightest that hold at these."""
    left = sorted(bounds.items())
    tightest: tuple[tuple[float, str], int] = (NO_BOUND, -1)
    needed = set()
    for budget in sorted(budgets, reverse=True):
        while left and left[-1][0] >= budget:
            at, proven = left.pop()
            tightest = max(tightest, (proven, at))
        needed.add(tightest[1])
    return needed


def _use(kept: dict[int, Any], key: int) -> None:
    """Make a key the newest, where it is known."""
    if key in kept:
        kept[key] = kept.pop(key)


def _drop(kept: dict[int, Any], needed: set[int], limit: int) -> None:
    """Shorten to the limit: those unused for longest go, but none that is needed."""
    spare = [key for key in kept if key not in needed]
    for key in spare[: len(kept) - limit]:
        del kept[key]
