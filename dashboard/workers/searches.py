"""Searches without a proof: how much each moment allows, at once or in a process of their own.

Networks of few candidates (layers × bit-widths) are searched where the page is drawn; a search of
1,000 candidates takes seconds, and would freeze it for everyone.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from functools import lru_cache

from clado_core import Assignment, SensitivityMatrix
from clado_core.allocation.methods import surrogate_matrix
from clado_core.allocation.sweep import budget_grid
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard.rules import Rules

AT_ONCE = 120
"""Up to this many candidates a front is searched while the page is drawn: in 0.2 s."""

FULL_AT_ONCE = 200
"""Up to this many candidates a full search of one budget takes 0.2 s."""

GREEDY = "greedy"
"""Name of the solver of first guesses."""

PSD = "psd"
"""What the paper minimizes: negative eigenvalues set to zero."""

POINTS = 21
"""Of another method's front."""


class Effort(IntEnum):
    """How long is searched, each more thoroughly than those before."""

    DESCENTS = 1
    FIRST = 2
    FEW = 3
    FULL = 4

    @property
    def solver(self) -> LocalSearchSolver:
        """What searches so long.

        At 1,000 candidates, from a greedy start: descents 0.6 to 1.2 s, a first answer 0.14 s and
        within 0.5 % of the full search's, which takes 1.6 s.
        """
        return _SOLVERS[self]


_SOLVERS = {
    Effort.DESCENTS: LocalSearchSolver(n_walks=0),
    Effort.FIRST: LocalSearchSolver(n_walks=4, steps_per_variable=1),
    Effort.FEW: LocalSearchSolver(n_walks=8),
    Effort.FULL: LocalSearchSolver(),
}


def is_small(matrix: SensitivityMatrix, /) -> bool:
    """Whether its fronts are searched while the page is drawn."""
    return len(matrix.G) <= AT_ONCE


@lru_cache(maxsize=8)
def minimized(matrix: SensitivityMatrix, method: str, /) -> SensitivityMatrix:
    """What another method minimizes."""
    if method == PSD:
        return surrogate_matrix(matrix, method="clado", psd=True)
    return surrogate_matrix(matrix, method=method)


def method_front(matrix: SensitivityMatrix, method: str, rules: Rules, /) -> list[Assignment]:
    """A method's choices over the range of sizes of a small network, each from the one before.

    Without cross-layer terms descents are all but exact, and take milliseconds; with them, a few
    walks find what the exact solvers do on the built-in networks.
    """
    problem = rules.problem(minimized(matrix, method))
    solver = (Effort.FEW if method == PSD else Effort.DESCENTS).solver
    found: list[Assignment] = []
    for budget in budget_grid(problem, POINTS):
        start = found[-1] if found else None
        solved = solver.solve(replace(problem, budget_bits=budget), warm_start=start)
        found.append(solved.assignment)
    return found
