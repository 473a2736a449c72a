"""Wishes for exact solves, and what is known about each while it waits, runs and ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from dashboard.rules import NO_RULES, Rules

OnDone: TypeAlias = Callable[["SolveRequest", Mapping[str, Any]], None]
"""Called once with the worker's last message, from the service's thread."""


class JobState(Enum):
    """Where a job stands; the value is for tooltips."""

    QUEUED = "waiting for the solver"
    RUNNING = "solving"
    DONE = "finished"
    FAILED = "failed"
    CANCELLED = "replaced by a newer wish"


@dataclass(frozen=True, slots=True)
class SolveRequest:
    """What is to be solved, as plain values that a process can be sent.

    Args:
        artifact: Path of the artifact.
        digest: Its digest, so that a replaced file is another request.
        budget_bits: Σ n_i·b_i may not exceed this.
        rules: Wishes about layers.
        warm_start: Bits per layer to start from.
        time_limit_s: Wall time of the solve.
    """

    artifact: str
    digest: str
    budget_bits: int
    rules: Rules = NO_RULES
    warm_start: tuple[int, ...] | None = field(default=None, compare=False)
    time_limit_s: float = 5.0


@dataclass(slots=True, eq=False)
class Job:
    """A request and what is known about it; written by the service, read by pages.

    Args:
        request: What is solved.
        owner: Session that asked; "" for background work.
        topic: Of background work: newer work on the same topic replaces what has not run.
        on_done: Called once with the answer, from the service's thread.
        state: Where it stands.
        trace: (elapsed seconds, x'Gx, bound) at every improvement.
        answer: The worker's last message once done.
        message: One sentence where it failed.
        submitted: Monotonic time of the wish.
    """

    request: SolveRequest
    owner: str
    on_done: OnDone | None = None
    topic: str = ""
    state: JobState = JobState.QUEUED
    trace: list[tuple[float, float, float]] = field(default_factory=list)
    answer: Mapping[str, Any] | None = None
    message: str = ""
    submitted: float = field(default_factory=time.monotonic)

    @property
    def active(self) -> bool:
        """Whether more is to come."""
        return self.state in (JobState.QUEUED, JobState.RUNNING)
