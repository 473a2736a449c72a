"""Wishes for exact solves and for searches, and what is known about each until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar

from dashboard.rules import NO_RULES, Rules
from dashboard.workers.searches import Effort


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What is to be searched for without a proof, as plain values that a process can be sent.

    Args:
        artifact: Path of the artifact.
        digest: Its digest, so that a replaced file is another request.
        rules: Wishes about layers.
        effort: How long; see ``searches``.
        budget_bits: Σ n_i·b_i may not exceed this.
        method: What is minimized instead of the measured matrix, "" for nothing else.
        warm_start: Bits per layer to start from; a greedy choice where None.
        time_limit_s: A search takes seconds: a process that takes longer hangs.
    """

    artifact: str
    digest: str
    rules: Rules = NO_RULES
    effort: Effort = Effort.FIRST
    budget_bits: int
    method: str = ""
    warm_start: tuple[int, ...] | None = field(default=None, compare=False)
    time_limit_s: float = 120.0


R = TypeVar("R", SolveRequest, SearchRequest)
OnDone: TypeAlias = Callable[[R, Mapping[str, Any]], None]
"""Called once with the worker's last message, from the service's thread."""


@dataclass(slots=True, eq=False)
class Job(Generic[R]):
    """A request and what is known about it; written by the service, read by pages.

    Args:
        request: What is solved.
        owner: Session that asked; "" for background work.
        topic: Of background work: newer work on the same topic replaces what has not run.
        rank: Of background work: of several topics the lowest comes first.
        on_done: Called once with the answer, from the service's thread.
        state: Where it stands.
        trace: (elapsed seconds, x'Gx, bound) at every improvement.
        answer: The worker's last message once done.
        message: One sentence where it failed.
        submitted: Monotonic time of the wish.
    """

    request: R
    owner: str
    on_done: OnDone[R] | None = None
    topic: str = ""
    rank: int = 0
    state: JobState = JobState.QUEUED
    trace: list[tuple[float, float, float]] = field(default_factory=list)
    answer: Mapping[str, Any] | None = None
    message: str = ""
    submitted: float = field(default_factory=time.monotonic)

    @property
    def active(self) -> bool:
        """Whether more is to come."""
        return self.state in (JobState.QUEUED, JobState.RUNNING)
