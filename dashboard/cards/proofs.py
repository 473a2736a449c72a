"""What a session asks the solvers' processes for: its budget and the front, searched and proven."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import streamlit as st

from clado_core import Solution, SolveStatus
from clado_core.allocation.bootstrap import Stability
from dashboard.known import other_methods, searching, services, uncertainty
from dashboard.known.answers import Answers, solution_from_message
from dashboard.state.view_state import ViewState
from dashboard.workers.solve_job import Job, OnDone, SolveRequest
from dashboard.workers.solve_service import LAST

POLL_S = 0.3
FRONT_POLL_S = 1.0
FRONT_STEP = 8
"""New answers about the front after which the chart is drawn again."""
FIRMNESS_CANDIDATES = 300
"""Up to this many candidates (layers × bit-widths) drawing the samples again takes some seconds."""
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


def search_fronts(state: ViewState, /) -> tuple[bool, ...]:
    """Have the front, and other methods', searched while nobody waits; which are not there yet."""
    artifact, rules = state.artifact, state.rules
    ours = searching.front_soon(artifact, state.answers)
    others = other_methods.methods(state.matrix)
    return ours, *(other_methods.front_of(each, artifact, rules) is None for each in others)


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


def firmness(state: ViewState, /) -> Future[Stability | None] | None:
    """The bootstrap of this budget, on its way; None for networks where it would take long."""
    if len(state.matrix.G) > FIRMNESS_CANDIDATES:
        return None
    return uncertainty.stability_soon(state.artifact, state.rules, state.budget_bits)


@dataclass(frozen=True, slots=True)
class Watched:
    """What was on its way when the chip was drawn.

    Args:
        state: What is shown.
        answer: The choice on the screen.
        job: Its proof, finished or not.
        proof: Whether that proof was on its way.
        search: Whether a longer search was.
        front: Whether proofs of the front were.
        seen: How much was known.
        firm: The bootstrap, if any.
        firming: Whether that was on its way.
    """

    state: ViewState
    answer: Solution
    job: Job[SolveRequest] | None
    proof: bool
    search: bool
    front: bool
    seen: int
    firm: Future[Stability | None] | None
    firming: bool

    @property
    def interval_s(self) -> float | None:
        """How often to look."""
        if self.proof or self.search or self.firming:
            return POLL_S
        return FRONT_POLL_S if self.front else None

    @property
    def only_firmness(self) -> bool:
        """Whether the bootstrap is all that is waited for."""
        return self.firming and not (self.proof or self.search)

    def has_news(self) -> bool:
        """Whether the page is to be drawn again."""
        if self.proof and self.job is not None and not self.job.active:
            return True
        if self.search and not search_answer(self.state, self.answer):
            return True
        more = self.state.answers.version >= self.seen + FRONT_STEP
        return self.front and (more or not services.solve_service().left())


def watch(state: ViewState, answer: Solution, /) -> Watched:
    """Ask for what is wanted, and note what is on its way."""
    job = ask_for_proof(state, answer)
    firm = firmness(state) if answer.status is SolveStatus.OPTIMAL else None
    return Watched(
        state=state,
        answer=answer,
        job=job,
        proof=job is not None and job.active,
        search=search_answer(state, answer),
        front=state.exact and prove_front(state),
        seen=state.answers.version,
        firm=firm,
        firming=firm is not None and not firm.done(),
    )


def _keeper(answers: Answers) -> OnDone[SolveRequest]:
    """Called from the service's thread with each answer."""

    def keep(request: SolveRequest, message: Mapping[str, Any]) -> None:
        answers.add(request.budget_bits, solution_from_message(answers.matrix, message))

    return keep
