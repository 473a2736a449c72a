"""What the searching process is asked for: of large networks the answer, its prices, the front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from clado_core import AllocationProblem, Assignment, SensitivityMatrix, Solution
from clado_core.problem.solution import solution_of
from dashboard.known import services
from dashboard.known.answers import Answers
from dashboard.known.catalogue import Artifact
from dashboard.known.recent import Recent
from dashboard.workers.searches import FULL_AT_ONCE, Effort
from dashboard.workers.solve_job import OnDone, SearchRequest

ANSWER, PRICES, FRONT, OTHERS = range(4)
"""Ranks: the choice on the screen, what locks cost there, the front; from there on the fronts of
other methods, in their order."""

MAX_ATTEMPTS = 3
"""What fails, or whose process is killed, so often is not asked for again."""

ASKED = 4096
"""Wishes of which it is remembered how often they were asked for."""


def ask(
    wanted: Iterable[SearchRequest], keep: OnDone[SearchRequest], *, topic: str, rank: int
) -> bool:
    """Have searches made, unless they are on their way; says whether anything is to come.

    Args:
        wanted: What is not known yet.
        keep: Called with each answer, from another thread, before it counts as made.
        topic: What is not wanted any more of it is dropped, except what runs.
        rank: Whose turn it is.
    """
    service = services.search_service()
    on_their_way = set(service.left(topic))
    open_ = [w for w in wanted if w in on_their_way or _asked().get(w, 0) < MAX_ATTEMPTS]
    new = [w for w in open_ if w not in on_their_way]
    if new:
        for wish in new:
            _asked()[wish] = _asked().get(wish, 0) + 1
        service.work_through(open_, keep, topic=topic, rank=rank)
    return bool(open_)


def front_soon(artifact: Artifact, known: Answers, /) -> bool:
    """Have the open budgets of a front searched; says whether more is to come."""
    left = known.left()
    starts = known.at(left)
    wanted = [
        _wish(artifact, known, budget, start, Effort.FIRST)
        for budget, start in zip(left, starts, strict=True)
    ]
    topic = f"front {artifact.digest} {known.rules}"
    return ask(wanted, _keeper(known, Effort.FIRST), topic=topic, rank=FRONT)


def answer_soon(artifact: Artifact, known: Answers, budget_bits: int, /, *, owner: str) -> bool:
    """Have one budget searched as long as is of use; says whether that goes on.

    Args:
        artifact: The network.
        known: Where the answer goes.
        budget_bits: The budget.
        owner: The session; what it has wished for before is dropped.
    """
    large = len(known.matrix.G) > FULL_AT_ONCE
    wanted = []
    if large and known.effort(budget_bits) < Effort.FULL:
        start = known.best(budget_bits)
        wanted = [_wish(artifact, known, budget_bits, start, Effort.FULL)]
    return ask(wanted, _keeper(known, Effort.FULL), topic=f"answer of {owner}", rank=ANSWER)


def choice_found(matrix: SensitivityMatrix, message: Mapping[str, Any], /) -> Assignment:
    """The choice of an answer."""
    return AllocationProblem(matrix).assignment(tuple(int(b) for b in message["bits"]))


def _wish(
    artifact: Artifact, known: Answers, budget: int, start: Solution | None, effort: Effort
) -> SearchRequest:
    return SearchRequest(
        artifact=artifact.path,
        digest=artifact.digest,
        rules=known.rules,
        effort=effort,
        budget_bits=budget,
        warm_start=None if start is None else start.assignment.bits,
    )


def _keeper(known: Answers, effort: Effort) -> OnDone[SearchRequest]:
    def keep(request: SearchRequest, message: Mapping[str, Any]) -> None:
        choice = choice_found(known.matrix, message)
        found = solution_of(known.matrix, choice, solver="local-search")
        known.searched(request.budget_bits, found, effort)

    return keep


@st.cache_resource(show_spinner=False)
def _asked() -> Recent[SearchRequest, int]:
    return Recent(ASKED)
