"""What a choice is measured against: the additive model, uniform allocations, the knee."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from clado_core import AllocationProblem, SensitivityMatrix, Solution
from clado_core.baselines import allocate
from clado_core.errors import CladoError
from clado_core.frontier import Frontier, budget_grid
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard import artifacts
from dashboard.artifacts import Artifact

POINTS = 21
DESCENT = LocalSearchSolver(n_starts=0)
"""Without cross-layer terms descents are all but exact, and take milliseconds."""

Locks = tuple[tuple[str, int], ...]


@st.cache_resource(max_entries=64, show_spinner=False)
def _diagonal(path: str, digest: str, locks: Locks) -> tuple[Solution, ...]:
    matrix = artifacts.matrix(Artifact("", path, digest))
    problem = AllocationProblem(matrix, pins=dict(locks))
    return tuple(
        allocate(
            AllocationProblem(matrix, budget_bits=budget, pins=dict(locks)),
            method="diagonal",
            solver=DESCENT,
        )
        for budget in budget_grid(problem, POINTS)
    )


def diagonal_front(artifact: Artifact, locks: Locks = (), /) -> tuple[Solution, ...]:
    """Choices of the additive model over the range, scored on the measured matrix."""
    return _diagonal(artifact.path, artifact.digest, locks)


@st.cache_resource(max_entries=256, show_spinner=False)
def _diagonal_at(path: str, digest: str, budget_bits: int, locks: Locks) -> Solution:
    matrix = artifacts.matrix(Artifact("", path, digest))
    problem = AllocationProblem(matrix, budget_bits=budget_bits, pins=dict(locks))
    return allocate(problem, method="diagonal", solver=LocalSearchSolver())


def diagonal_at(artifact: Artifact, budget_bits: int, locks: Locks = (), /) -> Solution:
    """The additive model's choice at one budget, scored on the measured matrix."""
    return _diagonal_at(artifact.path, artifact.digest, budget_bits, locks)


def uniform(matrix: SensitivityMatrix, /) -> list[Solution]:
    """Every layer at one bit-width, for each of the menu."""
    total = matrix.layers.total_weights
    return [
        allocate(AllocationProblem(matrix, budget_bits=b * total), method="uniform")
        for b in matrix.bit_widths
    ]


def uniform_within(
    matrix: SensitivityMatrix, budget_bits: int, locks: Locks = (), /
) -> Solution | None:
    """The largest uniform allocation that fits; None where not even the smallest does."""
    try:
        problem = AllocationProblem(matrix, budget_bits=budget_bits, pins=dict(locks))
        return allocate(problem, method="uniform")
    except CladoError:
        return None


def knee(front: Sequence[Solution], /) -> Solution | None:
    """Where more bits begin to buy little; None for a front too short to bend."""
    if len(front) < 3:
        return None
    sizes = tuple(s.assignment.size_bits for s in front)
    return front[Frontier(sizes, tuple(front)).knee()]
