"""What a session asks the solvers' processes for: its budget and the front, searched and proven."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import streamlit as st

from clado_core import Solution, SolveStatus
from dashboard.known import other_methods, searching, services
from dashboard.known.answers import Answers, solution_from_message
from dashboard.state.view_state import ViewState
from dashboard.workers.solve_job import Job, OnDone, SolveRequest
from dashboard.workers.solve_service import LAST

MAX_FRONT_PROOFS = 3
"""A front that so many rounds of proofs leave open stays open."""
FRONT_LIMIT_S = 2.0
TIME_LIMIT_S = 5.0
LONGER_S = 60.0
OWNER = "clado_owner"
LONG = "clado_keep_searching"


def owner() -> str:
    """This session's name towards the other processes."""
    if OWNER not in st.session_state:
        st.session_state[OWNER] = f"session-{time.monotonic_ns()}"
    return str(st.session_state[OWNER])


def ask_for_proof(state: ViewState, answer: Solution, /) -> Job[SolveRequest] | None:
    """Start, or find, the background solve of the current budget; None where none is needed."""
    service = services.solve_service()
    if not state.exact or answer.status is SolveStatus.OPTIMAL:
        return None
    longer = st.session_state.get(LONG) == (state.artifact.digest, state.budget_bits, state.rules)
    request = SolveRequest(
        artifact=state.artifact.path,
        digest=state.artifact.digest,
        budget_bits=state.budget_bits,
        rules=state.rules,
        warm_start=answer.assignment.bits,
        time_limit_s=LONGER_S if longer else TIME_LIMIT_S,
    )
    return service.submit(owner(), request, _keeper(state.answers))


def search_answer(state: ViewState, answer: Solution, /) -> bool:
    """Have the current budget of a large network searched on; says whether that goes on."""
    if answer.status is SolveStatus.OPTIMAL:
        return False
    return searching.answer_soon(state.artifact, state.answers, state.budget_bits, owner=owner())


def search_front(state: ViewState, /) -> bool:
    """Have the front, and other methods', searched while nobody waits; whether that goes on."""
    ours = searching.front_soon(state.artifact, state.answers)
    return not other_methods.are_known(state.artifact, state.rules) or ours


def prove_front(state: ViewState, /) -> bool:
    """Have the front, once it is searched, proven point by point; says whether that goes on."""
    service, known = services.solve_service(), state.answers
    if known.left():
        return False
    if service.left():
        return True
    if known.proofs_asked >= MAX_FRONT_PROOFS:
        return False
    known.proofs_asked += 1
    requests = [
        SolveRequest(
            artifact=state.artifact.path,
            digest=state.artifact.digest,
            budget_bits=budget,
            rules=state.rules,
            warm_start=best.assignment.bits if (best := known.best(budget)) else None,
            time_limit_s=FRONT_LIMIT_S,
        )
        for budget in known.unproven()
    ]
    service.work_through(requests, _keeper(known), rank=LAST)
    return bool(requests)


def _keeper(answers: Answers) -> OnDone[SolveRequest]:
    """Called from the service's thread with each answer."""

    def keep(request: SolveRequest, message: Mapping[str, Any]) -> None:
        answers.add(request.budget_bits, solution_from_message(answers.matrix, message))

    return keep
