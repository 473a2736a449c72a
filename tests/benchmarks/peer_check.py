"""What solvers say is checked on the measured matrix, and against what others say."""

from __future__ import annotations

from dataclasses import dataclass, replace

from clado_core import AllocationProblem
from clado_core.problem.solution import CANCELLED
from tests.benchmarks.peers import PeerAnswer

SAME = 1e-5
"""Relative difference up to which two proven objectives agree: each is proven to 1e-6."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one solver gave on one problem, checked.

    Args:
        objective: x'Gx of its assignment, recomputed; None without one.
        bound: As it says.
        is_proven: As it says.
        cpu_s: Of its process and those that it started; None where it had to be ended.
        wall_s: Of the clock.
        unit: What differences are relative to: |x'Gx|, or a thousandth of Σ|terms|.
        fault: What is wrong with its answer, by itself or beside ours.
    """

    objective: float | None
    bound: float | None
    is_proven: bool
    cpu_s: float | None
    wall_s: float
    unit: float = 0.0
    fault: str | None = None


def check(problem: AllocationProblem, answer: PeerAnswer, cpu_s: float, wall_s: float) -> Run:
    """An answer by itself: it keeps the budget, and has the objective that its solver says."""
    run = Run(None, answer.bound, answer.is_proven, cpu_s, wall_s)
    chosen = answer.assignment
    if chosen is None:
        fault = "it proved an answer that it does not give" if answer.is_proven else None
        return replace(run, fault=fault)
    objective, terms = problem.matrix.objective(chosen.bits), problem.matrix.terms(chosen.bits)
    run = replace(run, objective=objective, unit=max(abs(objective), CANCELLED * terms))
    if not problem.is_feasible(chosen):
        return replace(run, fault=f"its assignment of {chosen.size_bits:,} bits breaks the budget")
    if answer.objective is None or abs(answer.objective - objective) > SAME * run.unit:
        return replace(run, fault=f"it says {answer.objective}, its assignment has {objective}")
    return run


def compare(ours: Run, peer: Run) -> Run:
    """The peer's run, with a fault where what it says and what we say cannot both be true."""
    if peer.fault is not None or ours.objective is None:
        return peer
    return replace(peer, fault=_contradiction(ours, peer, "OURS") or _contradiction(peer, ours, ""))


def _contradiction(first: Run, second: Run, name: str) -> str | None:
    """Whether an answer of the second is below what the first says is the least."""
    if second.objective is None:
        return None
    says = []
    if first.bound is not None:
        says.append((f"says that nothing is below {first.bound}", first.bound))
    if first.is_proven and first.objective is not None:
        says.append((f"calls {first.objective} optimal", first.objective))
    for words, least in says:
        if least > second.objective + SAME * second.unit:
            return f"{name or 'it'} {words}, and {second.objective} was found"
    return None


def difference(ours: Run, peer: Run) -> float | None:
    """(the peer's objective − ours) / our unit; positive where ours is better."""
    if ours.objective is None or peer.objective is None:
        return None
    return (peer.objective - ours.objective) / ours.unit if ours.unit else 0.0


def cpu_ratio(ours: Run, peer: Run) -> float | None:
    """CPU seconds of the peer over ours: at least that, where it ended without a proof."""
    return peer.cpu_s / ours.cpu_s if peer.cpu_s is not None and ours.cpu_s else None
