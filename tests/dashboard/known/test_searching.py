"""Large networks: guesses at once, searches in a process of their own, locks from what is known."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import clado_core as cc
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard.known import caches, catalogue, other_methods, searching, services
from dashboard.known.answers import Answers
from dashboard.known.catalogue import Artifact
from dashboard.rules import NO_RULES, Rules
from dashboard.workers.searches import (
    AT_ONCE,
    GREEDY,
    POINTS,
    Effort,
    method_front,
    minimized,
)
from dashboard.workers.solve_job import SearchRequest
from dashboard.workers.solve_service import SEARCHING, SolveService
from tests.large_network import large_matrix
from tests.waiting import wait_for

LAYERS = AT_ONCE // 3 + 4
DEAF = "import sys\nfor line in sys.stdin: sys.exit(3)"


@dataclass(frozen=True)
class Large:
    """A network that is too large to be searched while a page is drawn."""

    artifact: Artifact
    service: SolveService[SearchRequest]

    @property
    def known(self) -> Answers:
        """What is known without rules."""
        return caches.answers(self.artifact)

    def soon(self, known: Answers | None = None) -> bool:
        """Ask for the front; whether more is to come."""
        return searching.front_soon(self.artifact, known or self.known)

    def complete(self, known: Answers | None = None) -> None:
        """Wait for the front, asking again as the page does."""
        wait_for(lambda: not self.soon(known))


@pytest.fixture
def command() -> tuple[str, ...]:
    """Starts the searching process."""
    return SEARCHING


@pytest.fixture
def large(
    own_artifacts: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> Iterator[Large]:
    """It, and the process."""
    cc.save_matrix(large_matrix(LAYERS, 3), own_artifacts / "large.clado")
    service: SolveService[SearchRequest] = SolveService(command)
    monkeypatch.setattr(services, "search_service", lambda: service)
    yield Large(catalogue.find().artifacts["large"], service)
    service.close()


def test_every_budget_has_an_answer_before_anything_is_searched(
    large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalSearchSolver, "solve", None)
    known = large.known
    assert known.left() and set(known.left()) == set(known.grid)
    for budget in known.grid:
        answer = known.quick(budget, thorough=False)
        assert answer.assignment.size_bits <= budget and answer.solver == GREEDY


def test_the_front_comes_point_by_point_from_another_process(large: Large) -> None:
    known, told = large.known, list[int]()
    before = [s.objective for s in known.at(known.grid) if s]
    while large.soon():
        told.append(len(known.left()))
        wait_for(lambda: len(known.left()) < told[-1])
    assert len(set(told)) > 3 and known.left() == []
    after = [s.objective for s in known.at(known.grid) if s]
    assert all(a <= b for a, b in zip(after, before, strict=True))
    assert sum(after) < sum(before)
    assert all(s.solver != GREEDY for s in known.front())
    assert large.service.worker_pid() not in (None, os.getpid())


def test_what_is_on_its_way_is_not_asked_for_again(large: Large) -> None:
    with large.service._changed:  # nothing is taken up meanwhile
        assert large.soon() and large.soon()
        topic = next(iter(large.service._background))
        assert sorted(r.budget_bits for r in large.service.left(topic)) == [*large.known.grid]
        assert set(searching._asked().values()) == {1}


def test_a_killed_process_is_replaced_and_the_front_completed(large: Large) -> None:
    assert large.soon()
    wait_for(lambda: len(large.known.left()) < len(large.known.grid) - 2)
    first = large.service.worker_pid()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    large.complete()
    assert large.known.left() == []
    assert large.service.worker_pid() != first


@pytest.mark.parametrize("command", [(sys.executable, "-c", DEAF)])
def test_a_process_that_only_dies_is_not_asked_for_ever(
    large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Answers(caches.matrix(large.artifact), NO_RULES)
    known.grid = known.grid[:2]
    known._open = set(known.grid)
    known.guess()
    large.complete(known)
    assert len(known.left()) == 2
    assert set(searching._asked().values()) == {searching.MAX_ATTEMPTS}
    assert known.quick(known.grid[1], thorough=False).assignment.size_bits <= known.grid[1]


def test_another_methods_front_is_as_good_as_it_would_be_here(large: Large) -> None:
    assert other_methods.front_of("diagonal", large.artifact) is None
    wait_for(lambda: other_methods.are_known(large.artifact))
    matrix = caches.matrix(large.artifact)
    for method in ("diagonal", "psd"):
        found = other_methods.front_of(method, large.artifact)
        here = method_front(matrix, method, NO_RULES)
        assert found and len(found) == len(here) == POINTS
        less = minimized(matrix, method)
        for one, other in zip(found, here, strict=True):
            assert one.objective == matrix.objective(one.assignment.bits)
            assert less.objective(one.assignment.bits) <= 1.02 * less.objective(other.bits)


@pytest.mark.parametrize("command", [(sys.executable, "-c", DEAF)])
def test_another_methods_front_that_cannot_be_found_is_empty(large: Large) -> None:
    wait_for(lambda: other_methods.are_known(large.artifact))
    assert other_methods.front_of("diagonal", large.artifact) == ()


def test_an_answer_is_searched_on_only_where_that_takes_long(large: Large) -> None:
    budget = 4 * large.known.matrix.layers.total_weights
    large.known.quick(budget, thorough=True)  # 132 candidates: in full, here
    assert not searching.answer_soon(large.artifact, large.known, budget, owner="me")


def test_the_answer_of_a_very_large_network_is_searched_on(
    large: Large, own_artifacts: Path
) -> None:
    cc.save_matrix(large_matrix(70, 3), own_artifacts / "larger.clado")
    artifact = catalogue.find().artifacts["larger"]
    known = caches.answers(artifact)
    budget = 4 * known.matrix.layers.total_weights
    first = known.quick(budget, thorough=True)
    assert known.effort(budget) == Effort.FIRST
    wait_for(lambda: not searching.answer_soon(artifact, known, budget, owner="me"))
    assert known.effort(budget) == Effort.FULL
    assert known.quick(budget, thorough=True).objective <= first.objective


def test_a_lock_while_the_front_is_searched_is_kept_and_completed(large: Large) -> None:
    names = large.known.matrix.layers.names
    large.soon()
    wait_for(lambda: len(large.known.left()) < len(large.known.grid) - 5)
    locked = caches.answers(large.artifact, NO_RULES.with_lock(names[2], 8))
    tied = caches.answers(large.artifact, Rules(ties=((names[0], names[5]),)))
    for known in (locked, tied):
        assert known.left()
        large.complete(known)
        problem = known.rules.problem(known.matrix)
        assert all(problem.is_feasible(s.assignment) for s in known.front())
    # Fewer choices are left under a lock: nothing there beats what is found without it.
    for budget in locked.grid[::8]:
        with_it = locked.quick(budget, thorough=True)
        without = large.known.quick(budget, thorough=True)
        assert with_it.objective >= without.objective - 1e-9
