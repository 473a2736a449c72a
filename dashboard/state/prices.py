"""What a rule costs, or would cost, at the current budget: searched for at once, then proven."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from clado_core import Assignment, Solution, SolveStatus
from clado_core.errors import CladoError
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard.known import caches, services
from dashboard.known.answers import solution_from_message
from dashboard.known.catalogue import Artifact
from dashboard.known.recent import Recent
from dashboard.rules import Rules
from dashboard.state.view_state import ViewState
from dashboard.workers.solve_job import SolveRequest

SEARCH = LocalSearchSolver(n_walks=8)
TIME_LIMIT_S = 2.0
MAX_ATTEMPTS = 3
PRICES = 1024
"""So many are kept, of all sessions together: every layer of a large network at a few budgets."""

Key = tuple[str, Rules, int]


@dataclass(frozen=True, slots=True)
class Price:
    """Predicted loss that a rule adds.

    Args:
        loss: In units of predicted loss, or None where it cannot be followed within the budget.
        proven: Whether both optima, with the rule and without, are proven.
    """

    loss: float | None
    proven: bool


@st.cache_resource(show_spinner=False)
def _solved() -> Recent[Key, Solution]:
    """Answers of the solver process, whether proven or not."""
    return Recent(PRICES)


@st.cache_resource(show_spinner=False)
def _asked() -> Recent[Key, int]:
    """How often each was asked for: a solver that fails is not asked for ever."""
    return Recent(PRICES)


@st.cache_data(max_entries=PRICES, show_spinner=False)
def _searched(
    artifact: Artifact, rules: Rules, budget_bits: int, _start: Assignment | None
) -> float | None:
    matrix = caches.matrix(artifact)
    try:
        problem = rules.problem(matrix, budget_bits)
    except CladoError:
        return None
    start = _start if _start is not None and problem.is_feasible(_start) else None
    return SEARCH.solve(problem, warm_start=start).predicted_loss_increase


def lock_prices(state: ViewState, answer: Solution, layer: str, /) -> dict[int, Price]:
    """What fixing a layer adds, for each bit-width of the menu.

    Args:
        state: Rules in force count; one about this layer's lock is replaced.
        answer: The current choice.
        layer: The layer's name.
    """
    prices = {}
    for b in state.matrix.bit_widths:
        locked = state.rules.with_lock(layer, b)
        loss, proven = _least_loss(state, locked, None)
        added = None if loss is None else loss - answer.predicted_loss_increase
        prices[b] = Price(added, proven and answer.status is SolveStatus.OPTIMAL)
    return prices


def rule_price(state: ViewState, answer: Solution, others: Rules, /) -> Price:
    """What one rule costs beside the others, never below zero: dropping it forbids nothing."""
    loss, proven = _least_loss(state, others, answer.assignment)
    saved = 0.0 if loss is None else max(0.0, answer.predicted_loss_increase - loss)
    return Price(saved, proven and answer.status is SolveStatus.OPTIMAL)


def prove(state: ViewState, answer: Solution, wanted: Iterable[Rules], owner: str, /) -> bool:
    """Have prices proven where the choice itself is; says whether that goes on.

    Args:
        state: The budget.
        answer: The current choice.
        wanted: Rules whose optimum is asked for.
        owner: The session; its earlier wishes for prices are dropped.
    """
    service, topic = services.solve_service(), f"prices of {owner}"
    if not state.exact or answer.status is not SolveStatus.OPTIMAL:
        return False
    open_ = [r for r in wanted if _is_open(_key(state, r)) and _possible(state, r)]
    for rules in open_:
        _asked()[_key(state, rules)] = _attempts(_key(state, rules)) + 1
    requests = [
        SolveRequest(
            artifact=state.artifact.path,
            digest=state.artifact.digest,
            budget_bits=state.budget_bits,
            rules=rules,
            time_limit_s=TIME_LIMIT_S,
        )
        for rules in open_
    ]

    def keep(request: SolveRequest, message: Mapping[str, Any]) -> None:
        solution = solution_from_message(state.matrix, message)
        _solved()[request.digest, request.rules, request.budget_bits] = solution

    service.prove_all(requests, keep, topic=topic)
    return bool(requests)


def proving(owner: str, /) -> bool:
    """Whether a session's prices are still being proven."""
    return bool(services.solve_service().proofs_left(f"prices of {owner}"))


def _key(state: ViewState, rules: Rules) -> Key:
    return state.artifact.digest, rules, state.budget_bits


def _is_open(key: Key) -> bool:
    return key not in _solved() and _attempts(key) < MAX_ATTEMPTS


def _attempts(key: Key) -> int:
    return _asked().get(key, 0)


def _possible(state: ViewState, rules: Rules) -> bool:
    return _least_loss(state, rules, None)[0] is not None


def _least_loss(
    state: ViewState, rules: Rules, start: Assignment | None
) -> tuple[float | None, bool]:
    """Predicted loss of the best known choice under some rules, and whether that is proven."""
    solved = _solved().get(_key(state, rules))
    if solved is not None and solved.status is SolveStatus.OPTIMAL:
        return solved.predicted_loss_increase, True
    found = _searched(state.artifact, rules, state.budget_bits, start)
    if found is None:
        return None, True
    known = found if solved is None else min(found, solved.predicted_loss_increase)
    return known, False
