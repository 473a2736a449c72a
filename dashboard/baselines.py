"""What a choice is measured against: the additive model, uniform allocations, the knee."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from clado_core import AllocationProblem, SensitivityMatrix, Solution, SolveStatus
from clado_core.baselines import allocate
from clado_core.errors import CladoError
from clado_core.frontier import Frontier
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.sweeping import budget_grid
from dashboard import artifacts
from dashboard.artifacts import Artifact
from dashboard.rules import NO_RULES, Rules

POINTS = 21
DESCENT = LocalSearchSolver(n_walks=0)
"""Without cross-layer terms descents are all but exact, and take milliseconds."""


@st.cache_resource(max_entries=64, show_spinner=False)
def _surrogate(path: str, digest: str, rules: Rules, psd: bool) -> tuple[Solution, ...]:
    """Choices over the range of sizes that minimize another matrix, scored on the measured one."""
    matrix = artifacts.matrix(Artifact("", path, digest))
    minimized = matrix.project_psd() if psd else matrix.diagonal_only()
    found: list[Solution] = []
    for budget in budget_grid(rules.problem(matrix), POINTS):
        problem = rules.problem(minimized, budget)
        start = found[-1].assignment if found else None
        solved = DESCENT.solve(problem, warm_start=start)
        found.append(
            replace(
                solved,
                status=SolveStatus.HEURISTIC,
                objective=matrix.objective(solved.assignment.bits),
                bound=-math.inf,
                method="clado-psd" if psd else "diagonal",
            )
        )
    return tuple(found)


def diagonal_front(artifact: Artifact, rules: Rules = NO_RULES, /) -> tuple[Solution, ...]:
    """Choices of the additive model over the range, scored on the measured matrix."""
    return _surrogate(artifact.path, artifact.digest, rules, False)


def psd_front(artifact: Artifact, rules: Rules = NO_RULES, /) -> tuple[Solution, ...]:
    """What the paper minimizes, G with negative eigenvalues clipped, scored on the measured G."""
    return _surrogate(artifact.path, artifact.digest, rules, True)


@st.cache_resource(max_entries=256, show_spinner=False)
def _diagonal_at(path: str, digest: str, budget_bits: int, rules: Rules) -> Solution:
    matrix = artifacts.matrix(Artifact("", path, digest))
    problem = rules.problem(matrix, budget_bits)
    return allocate(problem, method="diagonal", solver=LocalSearchSolver())


def diagonal_at(artifact: Artifact, budget_bits: int, rules: Rules = NO_RULES, /) -> Solution:
    """The additive model's choice at one budget, scored on the measured matrix."""
    return _diagonal_at(artifact.path, artifact.digest, budget_bits, rules)


def uniform(matrix: SensitivityMatrix, /) -> list[Solution]:
    """Every layer at one bit-width, for each of the menu."""
    total = matrix.layers.total_weights
    return [
        allocate(AllocationProblem(matrix, budget_bits=b * total), method="uniform")
        for b in matrix.bit_widths
    ]


@st.cache_resource(max_entries=64, show_spinner=False)
def _uniform_choices(path: str, digest: str, rules: Rules) -> tuple[Solution, ...]:
    matrix = artifacts.matrix(Artifact("", path, digest))
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
    artifact: Artifact, budget_bits: int, rules: Rules = NO_RULES, /
) -> Solution | None:
    """The largest uniform allocation that fits; None where not even the smallest does."""
    choices = _uniform_choices(artifact.path, artifact.digest, rules)
    return next((s for s in reversed(choices) if s.assignment.size_bits <= budget_bits), None)


def knee(front: Sequence[Solution], /) -> Solution | None:
    """Where more bits begin to buy little; None for a front too short to bend."""
    if len(front) < 3:
        return None
    sizes = tuple(s.assignment.size_bits for s in front)
    return front[Frontier(sizes, tuple(front)).knee()]
