"""The chip: every state of a proof, the queue, the bounds, and what can be done about them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

import clado_core as cc
from dashboard.cards import proofs, status
from dashboard.cards.status import status_info, useful, who
from dashboard.known import caches, catalogue, services
from dashboard.workers.solve_job import Job, JobState, SolveRequest
from dashboard.workers.solve_service import SolveService
from tests.conftest import make_matrix
from tests.dashboard.conftest import OpenPage
from tests.dashboard.reading import texts
from tests.waiting import wait_for

SLOW = """
import json, sys, time
for line in sys.stdin:
    request = json.loads(line)
    for elapsed, objective, bound in ((0.1, 4.0, 1.0), (0.2, 3.9, 3.0)):
        print(json.dumps({"kind": "progress", "elapsed_s": elapsed, "objective": objective,
                          "bound": bound}), flush=True)
    if request["time_limit_s"] > 10:
        time.sleep(60)
    if request["budget_bits"] % 2:
        print(json.dumps({"kind": "failed", "message": "The solver failed (made to)."}), flush=True)
        continue
    bits = request["warm_start"]
    print(json.dumps({"kind": "done", "bits": bits, "status": "TIME_LIMIT", "bound": -100.0,
                      "solver": "scip", "runtime_s": 5.0, "first_answer_s": 0.1}), flush=True)
"""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[SolveService]:
    """Never proves: it stops at its limit, fails at odd budgets, sleeps where asked for longer."""
    made = SolveService((sys.executable, "-u", "-c", SLOW))
    monkeypatch.setattr(services, "solve_service", lambda: made)
    yield made
    made.close()


def answer(**changes: object) -> cc.Solution:
    matrix = make_matrix(3)
    problem = cc.AllocationProblem(matrix, budget_bits=4 * matrix.layers.total_weights)
    return replace(cc.EnumerationSolver().solve(problem), **changes)


def job(state: JobState, *trace: tuple[float, float, float]) -> Job:
    made = Job(SolveRequest("x", "d", 1), "me")
    made.state = state
    made.trace.extend(trace)
    return made


OPEN = {"status": cc.SolveStatus.HEURISTIC, "objective": 4.0, "bound": 3.0}


@pytest.mark.parametrize(
    ("state", "chip", "detail"),
    [
        (None, "Approximate", "the proof follows"),
        (job(JobState.QUEUED), "Approximate", "the proof follows"),
        (job(JobState.RUNNING, (0.5, 4.0, 3.0)), "Improving", "gap 25 %"),
        (job(JobState.RUNNING, (0.5, 4.0, -9.0)), "Improving", "no bound yet"),
        (job(JobState.DONE), "Best found in 5 s", "at most 25 % from optimal"),
        (job(JobState.FAILED), "Exact solve unavailable", "approximate answer stays"),
    ],
)
def test_every_state_has_its_words(state: Job | None, chip: str, detail: str) -> None:
    told = status_info(answer(**OPEN), state, True, now=time.monotonic())
    assert told.chip == chip
    assert detail in told.detail


@pytest.mark.parametrize("there", [True, False])
def test_an_open_answer_names_a_prover_that_is_missing(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.cards.status.is_installed", lambda: there)
    told = status_info(answer(**OPEN), job(JobState.DONE), True, now=0.0)
    assert ("toulbar2, which may prove it, is not installed" in told.detail) == (not there)


def test_a_proven_answer_names_who_proved_it() -> None:
    told = status_info(answer(solver="daqp"), None, True, now=0.0)
    assert (told.chip, told.detail) == ("Proven optimal", "found and proven by DAQP")
    assert who("found by local-search, proven by scip") == "found by local search, proven by SCIP"


def test_without_proofs_it_says_so() -> None:
    told = status_info(answer(**OPEN), None, False, now=0.0)
    assert told.chip == "Approximate" and "not proven" in told.detail
    assert useful(1.5) is None and useful(0.2) == 0.2


def test_who_waits_is_told_how_many_come_first() -> None:
    told = status_info(answer(**OPEN), job(JobState.QUEUED), True, now=0.0, before=2)
    assert (told.chip, "2 proofs of others first" in told.detail) == ("Waiting", True)


def test_the_place_in_the_queue(service: SolveService) -> None:
    running = service.submit("first", SolveRequest("x", "d", 2, time_limit_s=60))
    wait_for(lambda: running.state is JobState.RUNNING)
    service.submit("second", SolveRequest("x", "d", 4))
    service.submit("third", SolveRequest("x", "d", 6))
    assert [service.before(name) for name in ("first", "second", "third")] == [0, 1, 2]
    service.cancel("first")
    wait_for(lambda: service.before("third") <= 1)


def solved(open_page: OpenPage, service: SolveService, avg_bits: str) -> object:
    """The page once the solver has answered."""
    app = open_page(mode="Exact", avg_bits=avg_bits)
    asked = service.job(app.session_state[proofs.OWNER])
    assert asked is not None
    wait_for(lambda: not asked.active)
    return app.run()


def test_a_time_limit_is_a_result_and_the_search_can_go_on(
    open_page: OpenPage, service: SolveService
) -> None:
    app = solved(open_page, service, "4")
    assert not app.exception
    assert "Best found in 5 s" in texts(app)
    app.button(key="keep-searching").click().run()
    assert not app.exception
    job = service.job(app.session_state[proofs.OWNER])
    assert job is not None and job.request.time_limit_s == proofs.LONGER_S


def test_the_bounds_are_drawn_in_a_popover(open_page: OpenPage, service: SolveService) -> None:
    app = solved(open_page, service, "4")
    app.session_state[status.BOUNDS] = True
    app.run()
    assert not app.exception
    alts = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert any("the optimum is at least +1.50" in alt for alt in alts)


def test_a_failed_proof_keeps_the_answer_and_can_be_asked_for_again(
    open_page: OpenPage, service: SolveService
) -> None:
    matrix = caches.matrix(catalogue.find().artifacts["alpha"])
    odd = 4 * matrix.layers.total_weights + 1
    app = solved(open_page, service, f"{odd / matrix.layers.total_weights:.6f}")
    assert not app.exception
    assert "the approximate answer stays" in texts(app)
    before = service.job(app.session_state[proofs.OWNER])
    app.button(key="retry").click().run()
    assert service.job(app.session_state[proofs.OWNER]) is not before
