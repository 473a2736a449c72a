"""What a rule costs, or would cost, at the current budget."""

from __future__ import annotations

import streamlit as st

from clado_core import Assignment
from clado_core.errors import CladoError
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard import artifacts
from dashboard.artifacts import Artifact
from dashboard.rules import Rules

SEARCH = LocalSearchSolver(n_walks=1)


@st.cache_data(max_entries=1024, show_spinner=False)
def _loss(
    path: str, digest: str, rules: Rules, budget_bits: int, _start: Assignment | None
) -> float | None:
    matrix = artifacts.matrix(Artifact("", path, digest))
    try:
        problem = rules.problem(matrix, budget_bits)
    except CladoError:
        return None
    start = _start if _start is not None and problem.is_feasible(_start) else None
    return SEARCH.solve(problem, warm_start=start).predicted_loss_increase


def lock_prices(
    artifact: Artifact, rules: Rules, budget_bits: int, loss: float, layer: str, /
) -> dict[int, float | None]:
    """Bit-width → predicted loss that fixing the layer there adds; None where it cannot fit.

    Args:
        artifact: The network.
        rules: Those in force; one about this layer's lock is replaced.
        budget_bits: The budget.
        loss: Predicted loss increase of the current choice.
        layer: The layer's name.
    """
    prices: dict[int, float | None] = {}
    for b in artifacts.matrix(artifact).bit_widths:
        found = _loss(artifact.path, artifact.digest, rules.with_lock(layer, b), budget_bits, None)
        prices[b] = None if found is None else found - loss
    return prices


def rule_price(
    artifact: Artifact, others: Rules, budget_bits: int, loss: float, chosen: Assignment, /
) -> float:
    """Predicted loss that one rule costs beside the others, from a search that starts at the
    current choice, so never below zero."""
    without = _loss(artifact.path, artifact.digest, others, budget_bits, chosen)
    return 0.0 if without is None else max(0.0, loss - without)
