"""What a rule costs, or would cost, at the current budget: searched for at once, then proven."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from clado_core import AllocationProblem, Assignment, Solution, SolveStatus
from clado_core.allocation.greedy import adapted
from clado_core.errors import CladoError
from clado_core.records.matrix import LOSS_PER_OBJECTIVE
from dashboard.known import searching, services
from dashboard.known.answers import solution_from_message
from dashboard.known.recent import Recent
from dashboard.rules import Rules
from dashboard.state.view_state import ViewState
from dashboard.workers.searches import Effort, is_small
from dashboard.workers.solve_job import SearchRequest, SolveRequest

EFFORT = Effort.FEW
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
        pending: Whether it is still searched for.
    """

    loss: float | None
    proven: bool
    pending: bool = False


PENDING = Price(None, proven=False, pending=True)


@st.cache_resource(show_spinner=False)
def _solved() -> Recent[Key, Solution]:
    """Answers of the solver process, whether proven or not."""
    return Recent(PRICES)


@st.cache_resource(show_spinner=False)
def _asked() -> Recent[Key, int]:
    """How often each was asked for: a solver that fails is not asked for ever."""
    return Recent(PRICES)


@st.cache_resource(show_spinner=False)
def _searched() -> Recent[Key, float]:
    """Predicted losses found by searches alone."""
    return Recent(PRICES)


def lock_prices(state: ViewState, answer: Solution, layer: str, /) -> dict[int, Price]:
    """What fixing a layer adds, for each bit-width of the menu.

    Args:
        state: Rules in force count; one about this layer's lock is replaced.
        answer: The current choice.
        layer: The layer's name.
    """
    prices = {}
    for b in state.matrix.bit_widths:
        found = _least_loss(state, state.rules.with_lock(layer, b), None)
        if found is None:
            prices[b] = PENDING
            continue
        loss, proven = found
        added = None if loss is None else loss - answer.predicted_loss_increase
        prices[b] = Price(added, proven and answer.status is SolveStatus.OPTIMAL)
    return prices


def rule_price(state: ViewState, answer: Solution, others: Rules, /) -> Price:
    """What one rule costs beside the others, never below zero: dropping it forbids nothing."""
    found = _least_loss(state, others, answer.assignment)
    if found is None:
        return PENDING
    loss, proven = found
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
    service, topic = services.solve_service(), _topic(owner)
    if not state.exact or answer.status is not SolveStatus.OPTIMAL:
        return False
    open_ = [r for r in wanted if _is_open(_key(state, r)) and _problem(state, r)]
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

    service.work_through(requests, keep, topic=topic)
    return bool(requests)


def search(state: ViewState, answer: Solution, wanted: Iterable[Rules], owner: str, /) -> bool:
    """Have prices of a large network searched for; says whether that goes on.

    Args:
        state: The budget.
        answer: The current choice, from which the searches start.
        wanted: Rules whose optimum is asked for.
        owner: The session; its earlier wishes for prices are dropped.
    """
    if is_small(state.matrix):
        return False
    requests = []
    for rules in wanted:
        problem = _problem(state, rules)
        if problem is None or _key(state, rules) in _searched():
            continue
        (start,) = adapted(problem, [state.budget_bits], [answer.assignment.bits])
        requests.append(
            SearchRequest(
                artifact=state.artifact.path,
                digest=state.artifact.digest,
                rules=rules,
                effort=EFFORT,
                budget_bits=state.budget_bits,
                warm_start=None if start is None else start.bits,
            )
        )

    def keep(request: SearchRequest, message: Mapping[str, Any]) -> None:
        choice = searching.choice_found(state.matrix, message)
        key = request.digest, request.rules, request.budget_bits
        _searched()[key] = LOSS_PER_OBJECTIVE * state.matrix.objective(choice.bits)

    return searching.ask(requests, keep, topic=_topic(owner), rank=searching.PRICES)


def are_coming(owner: str, /) -> bool:
    """Whether a session's prices are still searched for or proven."""
    services_ = services.solve_service(), services.search_service()
    return any(service.left(_topic(owner)) for service in services_)


def _topic(owner: str) -> str:
    return f"prices of {owner}"


def _key(state: ViewState, rules: Rules) -> Key:
    return state.artifact.digest, rules, state.budget_bits


def _is_open(key: Key) -> bool:
    return key not in _solved() and _attempts(key) < MAX_ATTEMPTS


def _attempts(key: Key) -> int:
    return _asked().get(key, 0)


def _problem(state: ViewState, rules: Rules) -> AllocationProblem | None:
    """What they ask for at this budget; None where that cannot be followed."""
    try:
        return rules.problem(state.matrix, state.budget_bits)
    except CladoError:
        return None


def _least_loss(
    state: ViewState, rules: Rules, start: Assignment | None
) -> tuple[float | None, bool] | None:
    """Predicted loss of the best known choice under some rules, and whether that is proven; None
    while it is searched for."""
    key = _key(state, rules)
    solved = _solved().get(key)
    if solved is not None and solved.status is SolveStatus.OPTIMAL:
        return solved.predicted_loss_increase, True
    problem = _problem(state, rules)
    if problem is None:
        return None, True
    found = _searched().get(key)
    if found is None and is_small(state.matrix):
        warm = start if start is not None and problem.is_feasible(start) else None
        found = EFFORT.solver.solve(problem, warm_start=warm).predicted_loss_increase
        _searched()[key] = found
    if solved is not None:
        found = min(solved.predicted_loss_increase, math.inf if found is None else found)
    return None if found is None else (found, False)
