"""What a choice is measured against: the additive model, uniform allocations, the knee."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import streamlit as st

from clado_core import AllocationProblem, SensitivityMatrix, Solution
from clado_core.allocation.frontier import Frontier
from clado_core.allocation.methods import allocate, surrogate_matrix, unproven
from clado_core.allocation.sweep import budget_grid
from clado_core.errors import CladoError
from clado_core.records.names import MEASURED_ALONG
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard.known import caches
from dashboard.known.answers import Answers
from dashboard.known.catalogue import Artifact
from dashboard.rules import NO_RULES, Rules

POINTS = 21
DESCENT = LocalSearchSolver(n_walks=0)
"""Without cross-layer terms descents are all but exact, and take milliseconds."""
SEARCH = LocalSearchSolver(n_walks=8)
"""With them, a few walks find what the exact solvers do on the built-in networks."""

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


def _scored(matrix: SensitivityMatrix, solved: Solution, method: str) -> Solution:
    return unproven(matrix, solved, "clado-psd" if method == PSD else method)


def uniform(matrix: SensitivityMatrix, /) -> list[Solution]:
    """Every layer at one bit-width, for each of the menu."""
    total = matrix.layers.total_weights
    return [
        allocate(AllocationProblem(matrix, budget_bits=b * total), method="uniform")
        for b in matrix.bit_widths
    ]


@st.cache_resource(max_entries=64, show_spinner=False)
def _uniform_choices(artifact: Artifact, rules: Rules) -> tuple[Solution, ...]:
    matrix = caches.matrix(artifact)
    total = matrix.layers.total_weights
    found = []
    # Locked layers may lie above or below the common bit-width, so sizes come from the extremes.
    for b in matrix.bit_widths:
        budget = b * total + sum(
            max(0, locked - b) * matrix.layers.layers[matrix.layers.index(name)].n_weights
            for name, locked in rules.locks
        )
        with contextlib.suppress(CladoError):
            found.append(allocate(rules.problem(matrix, budget), method="uniform"))
    return tuple(sorted(found, key=lambda s: s.assignment.size_bits))


def uniform_within(
    artifact: Artifact, budget_bits: int, rules: Rules, known: Answers, /
) -> Solution | None:
    """The largest uniform allocation that fits; None where not even the smallest does."""
    choices = known.derived("uniform", lambda: _uniform_choices(artifact, rules))
    return next((s for s in reversed(choices) if s.assignment.size_bits <= budget_bits), None)


def knee(front: Sequence[Solution], /) -> Solution | None:
    """Where more bits begin to buy little; None for a front too short to bend."""
    if len(front) < 3:
        return None
    sizes = tuple(s.assignment.size_bits for s in front)
    return front[Frontier(sizes, tuple(front)).knee()]
