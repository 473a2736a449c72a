"""What a choice is held against: the additive model, uniform allocations, the knee."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import streamlit as st

from clado_core import AllocationProblem, Assignment, SensitivityMatrix, Solution
from clado_core.allocation.frontier import Frontier
from clado_core.allocation.methods import allocate
from clado_core.problem.solution import solution_of
from clado_core.records.names import MEASURED_ALONG
from dashboard.known import caches, searching
from dashboard.known.catalogue import Artifact
from dashboard.known.recent import Recent
from dashboard.rules import NO_RULES, Rules
from dashboard.workers.searches import POINTS, PSD, Effort, is_small, method_front, minimized
from dashboard.workers.solve_job import SearchRequest

EXACT_LAYERS = 60
"""Up to this many layers a full search takes 0.1 s."""

KEPT_FRONTS = 64
DIAGONAL = "diagonal"
Key: TypeAlias = tuple[str, Artifact, Rules]


def methods(matrix: SensitivityMatrix, /) -> tuple[str, ...]:
    """What else can be minimized for a network: the additive model, others' sensitivities where
    they were measured, and what the paper minimizes."""
    along = tuple(name for name in MEASURED_ALONG if name in matrix.diagonals)
    return (DIAGONAL, *along, PSD)


def front_of(
    method: str, artifact: Artifact, rules: Rules = NO_RULES, /
) -> tuple[Solution, ...] | None:
    """A method's choices over the range of sizes, scored on the measured matrix.

    Of a large network they are None until the searching process has found them; empty where it
    could not.
    """
    key = method, artifact, rules
    found = _fronts().get(key)
    if found is not None:
        return found
    matrix = caches.matrix(artifact)
    if is_small(matrix):
        return _keep(key, method_front(matrix, method, rules))
    points = {budget: _points().get((key, budget)) for budget in _budgets(artifact, rules)}
    choices = [choice for choice in points.values() if choice is not None]
    if len(choices) == len(points):
        return _keep(key, choices)

    def keep(request: SearchRequest, message: Mapping[str, Any]) -> None:
        _points()[key, request.budget_bits] = searching.choice_found(matrix, message)

    wanted = [
        SearchRequest(
            artifact=artifact.path,
            digest=artifact.digest,
            rules=rules,
            budget_bits=budget,
            method=method,
        )
        for budget, choice in points.items()
        if choice is None
    ]
    topic = f"{method} {artifact.digest} {rules}"
    rank = searching.OTHERS + methods(matrix).index(method)
    return None if searching.ask(wanted, keep, topic=topic, rank=rank) else ()


def _budgets(artifact: Artifact, rules: Rules) -> tuple[int, ...]:
    """Every second of the front's, and the last."""
    grid = caches.answers(artifact, rules).grid
    return (*grid[:-1:2], grid[-1])


@st.cache_resource(show_spinner=False)
def _points() -> Recent[tuple[Key, int], Assignment]:
    """Choices of fronts that are not complete."""
    return Recent(KEPT_FRONTS * POINTS)


def are_known(artifact: Artifact, rules: Rules = NO_RULES, /) -> bool:
    """Whether no front of another method is still searched for."""
    wanted = methods(caches.matrix(artifact))
    return None not in [front_of(method, artifact, rules) for method in wanted]


@st.cache_resource(show_spinner=False)
def _fronts() -> Recent[Key, tuple[Solution, ...]]:
    return Recent(KEPT_FRONTS)


def _keep(key: Key, found: Iterable[Assignment]) -> tuple[Solution, ...]:
    method, artifact, _ = key
    front = tuple(_scored(caches.matrix(artifact), each, method) for each in found)
    _fronts()[key] = front
    return front


@st.cache_resource(max_entries=256, show_spinner=False)
def choice_of(
    method: str, artifact: Artifact, budget_bits: int, rules: Rules = NO_RULES, /
) -> Solution:
    """A method's choice at one budget, scored on the measured matrix."""
    matrix = caches.matrix(artifact)
    problem = rules.problem(minimized(matrix, method), budget_bits)
    return _scored(matrix, Effort.FULL.solver.solve(problem).assignment, method)


def diagonal_within(
    artifact: Artifact, budget_bits: int, rules: Rules, /, *, now: bool
) -> Solution | None:
    """What the additive model would choose at a budget; the nearest of its front below it where
    the answer must be there now or the network is large; None where not even that is known."""
    if not now and caches.matrix(artifact).n_layers <= EXACT_LAYERS:
        return choice_of(DIAGONAL, artifact, budget_bits, rules)
    front = front_of(DIAGONAL, artifact, rules) or ()
    fits = [s for s in front if s.assignment.size_bits <= budget_bits]
    return fits[-1] if fits else None


def _scored(matrix: SensitivityMatrix, choice: Assignment, method: str) -> Solution:
    named = "clado-psd" if method == PSD else method
    return solution_of(matrix, choice, solver="local-search", method=named)


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
