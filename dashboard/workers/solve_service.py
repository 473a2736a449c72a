"""Background solves: one worker process for the whole server, the latest wish wins.

Solvers hold a core for seconds and may not answer an interruption, so they run in a process that
can be terminated; the server's interpreter is never blocked. The worker ends by itself when the
server's end of its pipe closes, so no orphan is left even after a kill.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic

from dashboard.workers.solve_job import Job, JobState, OnDone, R

FRONT = "front"
"""Topic of the background work that proves the front point by point."""

LAST = 9
"""Rank of what comes after all else."""

ROOT = Path(__file__).resolve().parents[2]
SETTLE_S = 0.15
"""A wish waits this long before it runs: wishes replaced meanwhile cost nothing."""
KEPT_WISHES = 256
"""Of those that are over; one that is forgotten is solved again when its session asks again."""
OVERTIME_S = 5.0
"""A solve that ignores its time limit for this long is terminated."""


PROVING, SEARCHING = (
    (sys.executable, "-m", f"dashboard.workers.{name}")
    for name in ("solve_worker", "search_worker")
)
"""Commands that start a worker."""


class SolveService(Generic[R]):
    """Runs jobs one after another in a worker process.

    Args:
        command: Starts the worker; tests replace it.
    """

    def __init__(self, command: tuple[str, ...] = PROVING) -> None:
        self._command = command
        self._changed = threading.Condition()
        self._wishes: dict[str, Job[R]] = {}
        self._background: dict[str, deque[Job[R]]] = {}
        self._running: Job[R] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="solve-service", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def submit(
        self,
        owner: str,
        request: R,
        on_done: OnDone[R] | None = None,
    ) -> Job[R]:
        """Ask for a solve; an earlier wish of the same owner is cancelled.

        Args:
            owner: One live job each.
            request: What to solve; the owner's current one is kept if it is the same.
            on_done: Called with the answer, from another thread.
        """
        with self._changed:
            current = self._wishes.get(owner)
            unfinished = current is not None and current.state is not JobState.CANCELLED
            if current is not None and unfinished and current.request == request:
                return current
            self._cancel(current)
            self._wishes.pop(owner, None)  # the newest comes last
            job = self._wishes[owner] = Job(request, owner, on_done)
            self._forget()
            if self._running is not None and not self._running.owner:
                self._interrupt(requeue=True)
            self._changed.notify_all()
            return job

    def job(self, owner: str) -> Job[R] | None:
        """The owner's latest wish."""
        return self._wishes.get(owner)

    def work_through(
        self, requests: Iterable[R], on_done: OnDone[R], *, topic: str = FRONT, rank: int = 0
    ) -> None:
        """Queue work for when nobody waits; replaces work on the topic that has not run.

        Args:
            requests: In this order.
            on_done: Called with each answer, from another thread.
            topic: Of topics of one rank, that which was asked for last comes first.
            rank: Topics of a lower rank come before.
        """
        with self._changed:
            self._background.pop(topic, None)
            self._background[topic] = deque(Job(r, "", on_done, topic, rank) for r in requests)
            self._changed.notify_all()

    def before(self, owner: str) -> int:
        """Wishes of others that are solved before this owner's; 0 once it runs."""
        with self._changed:
            mine = self._wishes.get(owner)
            if mine is None or mine.state is not JobState.QUEUED:
                return 0
            return sum(
                job.state is JobState.RUNNING or job.submitted < mine.submitted
                for job in self._wishes.values()
                if job is not mine and job.active
            )

    def left(self, topic: str = FRONT) -> list[R]:
        """What is left to do on a topic, what runs included."""
        with self._changed:
            job = self._running
            left = list(self._background.get(topic, ()))
            if job is not None and not job.owner and job.topic == topic:
                left.insert(0, job)
            return [each.request for each in left]

    def cancel(self, owner: str) -> None:
        """Withdraw an owner's wish, for example when its session ends."""
        with self._changed:
            self._cancel(self._wishes.pop(owner, None))

    def worker_pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def close(self) -> None:
        """End the worker; the service takes no more work."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._terminate()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=2.0)

    def _forget(self) -> None:
        """Sessions end without a word: of the wishes that are over only the last ones are kept."""
        over = [owner for owner, job in self._wishes.items() if not job.active]
        for owner in over[:-KEPT_WISHES]:
            del self._wishes[owner]

    def _cancel(self, job: Job[R] | None) -> None:
        if job is None or not job.active:
            return
        job.state = JobState.CANCELLED
        if job is self._running:
            self._interrupt(requeue=False)

    def _interrupt(self, *, requeue: bool) -> None:
        """Stop what runs; the loop sees its pipe close and starts a new worker."""
        if self._running is None:
            return
        if requeue:
            again = self._running
            left = self._background.setdefault(again.topic, deque())
            left.appendleft(Job(again.request, "", again.on_done, again.topic, again.rank))
            again.state = JobState.CANCELLED
        self._terminate()

    def _loop(self) -> None:
        self._work_until_closed()
        self._discard_worker()

    def _work_until_closed(self) -> None:
        while True:
            with self._changed:
                while (job := self._next()) is None:
                    if self._closed:
                        return
                    self._changed.wait(SETTLE_S / 3 if self._settling() else None)
                if self._closed:
                    return
                job.state, self._running = JobState.RUNNING, job
            try:
                self._execute(job)
            finally:
                with self._changed:
                    self._running = None

    def _settling(self) -> bool:
        return any(job.state is JobState.QUEUED for job in self._wishes.values())

    def _next(self) -> Job[R] | None:
        settled = time.monotonic() - SETTLE_S
        ready = [j for j in self._wishes.values() if j.state is JobState.QUEUED]
        ready = [j for j in ready if j.submitted <= settled]
        if ready:
            return min(ready, key=lambda job: job.submitted)
        return None if self._settling() else self._next_of_background()

    def _next_of_background(self) -> Job[R] | None:
        self._background = {topic: jobs for topic, jobs in self._background.items() if jobs}
        latest_first = reversed(self._background.values())
        jobs = min(latest_first, key=lambda jobs: jobs[0].rank, default=None)
        return jobs.popleft() if jobs else None

    def _execute(self, job: Job[R]) -> None:
        overtime = threading.Timer(job.request.time_limit_s + OVERTIME_S, self._terminate)
        overtime.daemon = True
        try:
            process = self._worker()
            overtime.start()
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps(asdict(job.request)) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if self._take(job, json.loads(line)):
                    return
        except (OSError, ValueError):
            pass  # the worker was terminated or has crashed: told apart below
        finally:
            overtime.cancel()
        self._discard_worker()
        if job.state is JobState.RUNNING:
            job.message = "The solver process stopped before it had an answer."
            job.state = JobState.FAILED

    def _take(self, job: Job[R], message: Mapping[str, Any]) -> bool:
        """Note one message of the worker; says whether it was the last."""
        if message["kind"] == "progress":
            job.trace.append((message["elapsed_s"], message["objective"], message["bound"]))
            return False
        if job.state is not JobState.RUNNING:
            return True
        if message["kind"] == "failed":
            job.message, job.state = message["message"], JobState.FAILED
            return True
        job.answer = message
        if job.on_done is not None:
            job.on_done(job.request, message)
        job.state = JobState.DONE
        return True

    def _worker(self) -> subprocess.Popen[str]:
        with self._changed:
            if self._closed:
                raise OSError("The service is closed.")
            if self._process is None or self._process.poll() is not None:
                paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                )
            return self._process

    def _discard_worker(self) -> None:
        """End the worker and close its pipes; only the thread that reads them may do this."""
        self._terminate()
        process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout) if process is not None else ():
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _terminate(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=1.0)
