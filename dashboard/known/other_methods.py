"""What a choice is held against: the additive model, uniform allocations, the knee."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from clado_core import AllocationProblem, SensitivityMatrix, Solution
from clado_core.allocation.frontier import Frontier
from clado_core.allocation.methods import allocate, surrogate_matrix, unproven
from clado_core.allocation.sweep import budget_grid
from clado_core.records.names import MEASURED_ALONG
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard.known import caches
from dashboard.known.catalogue import Artifact
from dashboard.rules import NO_RULES, Rules

POINTS = 21
DESCENT = LocalSearchSolver(n_walks=0)
"""Without cross-layer terms descents are all but exact, and take milliseconds."""
SEARCH = LocalSearchSolver(n_walks=8)
"""With them, a few walks find what the exact solvers do on the built-in networks."""

EXACT_LAYERS = 60
"""Up to this many layers a full search takes 0.1 s."""

DIAGONAL, PSD = "diagonal", "psd"


def methods(matrix: SensitivityMatrix, /) -> tuple[str, ...]:
    """What else can be minimized for a network: the additive model, others' sensitivities where
    they were measured, and what the paper minimizes."""
    along = tuple(name for name in MEASURED_ALONG if name in matrix.diagonals)
    return (DIAGONAL, *along, PSD)


def _minimized(matrix: SensitivityMatrix, method: str) -> SensitivityMatrix:
    if method == PSD:
        return surrogate_matrix(matrix, method="clado", psd=True)
    return surrogate_matrix(matrix, method=method)


@st.cache_resource(max_entries=64, show_spinner=False)
def front_of(method: str, artifact: Artifact, rules: Rules = NO_RULES, /) -> tuple[Solution, ...]:
    """A method's choices over the range of sizes, scored on the measured matrix."""
    matrix = caches.matrix(artifact)
    minimized = _minimized(matrix, method)
    found: list[Solution] = []
    solver = SEARCH if method == PSD else DESCENT
    for budget in budget_grid(rules.problem(matrix), POINTS):
        start = found[-1].assignment if found else None
        solved = solver.solve(rules.problem(minimized, budget), warm_start=start)
        found.append(_scored(matrix, solved, method))
    return tuple(found)


@st.cache_resource(max_entries=256, show_spinner=False)
def choice_of(
    method: str, artifact: Artifact, budget_bits: int, rules: Rules = NO_RULES, /
) -> Solution:
    """A method's choice at one budget, scored on the measured matrix."""
    matrix = caches.matrix(artifact)
    problem = rules.problem(_minimized(matrix, method), budget_bits)
    return _scored(matrix, LocalSearchSolver().solve(problem), method)


def diagonal_within(
    artifact: Artifact, budget_bits: int, rules: Rules, /, *, now: bool
) -> Solution | None:
    """What the additive model would choose at a budget; the nearest of its front below it where
    the answer must be there now or the network is large; None where not even that is known."""
    if not now and caches.matrix(artifact).n_layers <= EXACT_LAYERS:
        return choice_of(DIAGONAL, artifact, budget_bits, rules)
    fits = [s for s in front_of(DIAGONAL, artifact, rules) if s.assignment.size_bits <= budget_bits]
    return fits[-1] if fits else None


def _scored(matrix: SensitivityMatrix, solved: Solution, method: str) -> Solution:
    return unproven(matrix, solved, "clado-psd" if method == PSD else method)


def uniform(matrix: SensitivityMatrix, /) -> list[Solution]:
    """Every layer at one bit-width, for each of the menu."""
    total = matrix.layers.total_weights
    return [
        allocate(AllocationProblem(matrix, budget_bits=b * total), method="uniform")
        for b in matrix.bit_widths
    ]


def knee(front: Sequence[Solution], /) -> Solution | None:
    """Where more bits begin to buy little; None for a front too short to bend."""
    if len(front) < 3:
        return None
    sizes = tuple(s.assignment.size_bits for s in front)
    return front[Frontier(sizes, tuple(front)).knee()]
