"""The solver process: latest wish wins, one alive, cancelled by termination, no orphan."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import clado_core as cc
from clado_core.files.artifact import artifact_digest
from clado_core.solvers import TieredSolver
from clado_core.solvers.daqp import DaqpSolver
from clado_core.solvers.scip import ScipSolver
from dashboard.workers import solve_service
from dashboard.workers.solve_job import JobState, SolveRequest
from dashboard.workers.solve_service import SolveService
from tests.conftest import ROOT, make_matrix
from tests.waiting import wait_for

FAKE = """
import json, os, sys, time
for line in sys.stdin:
    request = json.loads(line)
    if request["budget_bits"] == 13:
        sys.exit(3)
    print(json.dumps({"kind": "progress", "elapsed_s": 0.0, "objective": 2.0, "bound": 1.0}))
    sys.stdout.flush()
    while request["artifact"] and not os.path.exists(request["artifact"]):
        time.sleep(0.01)
    answer = {"kind": "done", "bits": [], "status": "OPTIMAL", "bound": 1.0, "solver": "fake",
              "runtime_s": 0.0, "first_answer_s": 0.0, "budget": request["budget_bits"]}
    print(json.dumps(answer), flush=True)
"""


NEVER = "no such file"


def request(budget: int, *, until: Path | str = "") -> SolveRequest:
    """Answered at once, or when there is a file."""
    return SolveRequest(str(until), "d", budget, time_limit_s=60)


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def service() -> Iterator[SolveService]:
    """A service whose worker waits for a file instead of solving."""
    made = SolveService((sys.executable, "-u", "-c", FAKE))
    yield made
    made.close()


def test_a_job_runs_and_reports(service: SolveService) -> None:
    seen: list[tuple[SolveRequest, Mapping[str, Any]]] = []
    job = service.submit("me", request(7), lambda r, m: seen.append((r, m)))
    wait_for(lambda: job.state is JobState.DONE)
    assert job.trace == [(0.0, 2.0, 1.0)]
    assert seen[0][0] == request(7)
    assert seen[0][1]["budget"] == 7


def test_the_same_wish_is_not_solved_twice(service: SolveService) -> None:
    job = service.submit("me", request(7))
    assert service.submit("me", request(7)) is job
    wait_for(lambda: job.state is JobState.DONE)
    assert service.submit("me", request(7)) is job


def test_of_ten_quick_changes_only_the_last_is_solved(service: SolveService) -> None:
    with service._changed:  # so that the service cannot look in between, on a busy machine
        jobs = [service.submit("me", request(b)) for b in range(100, 110)]
    wait_for(lambda: jobs[-1].state is JobState.DONE)
    assert [job.state for job in jobs[:-1]] == [JobState.CANCELLED] * 9
    assert not any(job.trace for job in jobs[:-1])


def test_a_running_solve_is_terminated_and_the_worker_replaced(service: SolveService) -> None:
    slow = service.submit("me", request(1, until=NEVER))
    wait_for(lambda: slow.state is JobState.RUNNING and bool(slow.trace))
    pid = service.worker_pid()
    quick = service.submit("me", request(2))
    assert slow.state is JobState.CANCELLED
    assert pid is not None and not alive(pid)  # already: submitting is what ends it
    wait_for(lambda: quick.state is JobState.DONE)
    assert service.worker_pid() not in (None, pid)


def test_sessions_do_not_cancel_each_other(service: SolveService) -> None:
    first = service.submit("first", request(1))
    second = service.submit("second", request(2))
    wait_for(lambda: first.state is JobState.DONE and second.state is JobState.DONE)


def test_a_crash_is_a_sentence_and_the_next_wish_works(service: SolveService) -> None:
    crashed = service.submit("me", request(13))
    wait_for(lambda: crashed.state is JobState.FAILED)
    assert "stopped" in crashed.message
    after = service.submit("me", request(14))
    wait_for(lambda: after.state is JobState.DONE)


def test_background_work_yields_and_continues(service: SolveService, tmp_path: Path) -> None:
    """The proof that runs gives way to a visitor's wish, and is taken up again."""
    go_on, done = tmp_path / "go on", list[int]()
    proofs = [request(b, until=go_on) for b in (1, 2)]
    service.work_through(proofs, lambda r, m: done.append(r.budget_bits))
    wait_for(lambda: service.worker_pid() is not None)
    job = service.submit("me", request(9))
    wait_for(lambda: job.state is JobState.DONE)
    assert done == [] and len(service.left()) == 2
    go_on.touch()
    wait_for(lambda: done == [1, 2])
    wait_for(lambda: not service.left())


def test_of_topics_the_lowest_rank_comes_first_then_the_latest(service: SolveService) -> None:
    done = list[int]()
    with service._changed:  # so that all are there before one is taken up
        for budget, topic, rank in ((1, "a", 2), (2, "b", 2), (3, "c", 1), (4, "d", 3)):
            service.work_through(
                [request(budget), request(10 * budget)],
                lambda r, m: done.append(r.budget_bits),
                topic=topic,
                rank=rank,
            )
    wait_for(lambda: len(done) == 8)
    assert done == [3, 30, 2, 20, 1, 10, 4, 40]


def test_wishes_of_sessions_that_left_are_forgotten(
    service: SolveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solve_service, "KEPT_WISHES", 2)
    monkeypatch.setattr(solve_service, "SETTLE_S", 0.0)
    for k in range(5):
        job = service.submit(f"session {k}", request(k))
        wait_for(lambda job=job: job.state is JobState.DONE)
    kept = [k for k in range(5) if service.job(f"session {k}") is not None]
    assert kept == [2, 3, 4]


def test_closing_leaves_no_process(service: SolveService) -> None:
    job = service.submit("me", request(1, until=NEVER))
    wait_for(lambda: bool(job.trace))
    pid = service.worker_pid()
    service.close()
    assert pid is not None
    wait_for(lambda: not alive(pid), 5)


def test_a_killed_server_leaves_no_orphan(tmp_path: Path) -> None:
    """SIGKILL gives the server no chance to clean up: the worker notices its pipe closing."""
    artifact = tmp_path / "toy.clado"
    cc.save_matrix(make_matrix(), artifact)
    server = textwrap.dedent(
        f"""
        import time
        from dashboard.workers.solve_job import SolveRequest
        from dashboard.workers.solve_service import SolveService
        service = SolveService()
        service.submit("me", SolveRequest({str(artifact)!r}, "d", 10**6))
        while service.worker_pid() is None:
            time.sleep(0.01)
        print(service.worker_pid(), flush=True)
        time.sleep(60)
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", server], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.kill()
    wait_for(lambda: not alive(pid), 10)


def test_the_real_worker_proves_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So this interpreter's lock is never held by a solver."""

    def not_here(*_: object, **__: object) -> None:
        raise AssertionError("solved in the server's own process")

    for solver in (TieredSolver, DaqpSolver, ScipSolver):
        monkeypatch.setattr(solver, "solve", not_here)
    artifact = tmp_path / "toy.clado"
    matrix = make_matrix(14)
    cc.save_matrix(matrix, artifact)
    service = SolveService()
    try:
        budget = 4 * matrix.layers.total_weights
        wish = SolveRequest(str(artifact), artifact_digest(artifact), budget, time_limit_s=20.0)
        job = service.submit("me", wish)
        wait_for(lambda: not job.active)
        assert job.state is JobState.DONE, job.message
        assert job.answer is not None
        assert job.answer["status"] == "OPTIMAL" and len(job.answer["bits"]) == 14
        assert service.worker_pid() not in (None, os.getpid())
    finally:
        service.close()
