"""A step of a drag asks for little work and sends little: both are counted, not timed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import clado_core as cc
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard import components
from dashboard.cards import proofs
from dashboard.known import answers, caches, catalogue, services
from dashboard.state import view_state
from tests.conftest import make_matrix

STEP_BYTES = 20_000
"""The chart of the front alone, whole, is larger than what a step of a drag may bring."""


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[LocalSearchSolver]:
    """The local searches that have run."""
    ran: list[LocalSearchSolver] = []
    solve = LocalSearchSolver.solve

    def noted(self: LocalSearchSolver, *given: object, **options: object) -> cc.Solution:
        ran.append(self)
        return solve(self, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalSearchSolver, "solve", noted)
    return ran


@pytest.fixture
def live() -> Iterator[None]:
    """The components that a browser gets."""
    components.SERVED.set()
    yield
    components.SERVED.clear()


def opened(folder: Path, n_layers: int) -> answers.Answers:
    cc.save_matrix(make_matrix(n_layers, seed=3), folder / "alpha.clado")
    return caches.answers(catalogue.find().artifacts["alpha"])


def places(known: answers.Answers, count: int) -> list[int]:
    rng = random.Random(0)
    return [rng.randrange(known.least_bits, known.most_bits) for _ in range(count)]


def test_a_small_network_takes_one_descent_per_place(
    own_artifacts: Path, searches: list[LocalSearchSolver]
) -> None:
    known = opened(own_artifacts, 8)
    visited = places(known, 30)
    searches.clear()
    for budget in visited * 2:
        known.quick(budget, thorough=False)
    assert [search.n_walks for search in searches] == [0] * len(set(visited))


def test_a_large_network_takes_what_is_known(
    own_artifacts: Path, searches: list[LocalSearchSolver]
) -> None:
    known = opened(own_artifacts, answers.INSTANT_LAYERS + 1)
    searches.clear()
    for budget in places(known, 30):
        known.quick(budget, thorough=False)
    assert searches == []


def test_a_step_searches_once_proves_nothing_and_sends_what_moves(
    own_artifacts: Path, searches: list[LocalSearchSolver], live: None
) -> None:
    def page() -> None:
        import streamlit as st

        from dashboard.cards.follow import Places, follow
        from dashboard.known import catalogue
        from dashboard.state import view_state

        view_state.controls(catalogue.find(), lambda: None)
        follow(Places(*(st.container() for _ in range(4))))

    def drag_to(avg_bits: float) -> int:
        """Bytes that the slider brings."""
        app.session_state[view_state.AVG_BITS] = avg_bits
        app.session_state[view_state.DRAGGING] = True
        app.run()
        assert not app.exception
        (slider,) = app.get("bidi_component")
        return len(slider.proto.bytes)

    opened(own_artifacts, 20)
    app = AppTest.from_function(page, default_timeout=60)
    drag_to(4.0)
    searches.clear()
    sent = [drag_to(4.0 + k / 50) for k in range(1, 6)]
    assert len(searches) <= 5 and all(search.n_walks == 0 for search in searches)
    assert 1_000 < max(sent) <= STEP_BYTES
    assert services.solve_service().left() == []
    assert app.session_state[view_state.MODE] == view_state.EXACT
    assert proofs.OWNER not in app.session_state
