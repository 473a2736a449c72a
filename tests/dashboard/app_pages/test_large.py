"""Pages of a large network: an answer in the first run, the front and prices as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import clado_core as cc
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard.cards import sides
from dashboard.known import caches, catalogue, other_methods, services
from dashboard.theme import palette
from dashboard.workers.searches import FULL_AT_ONCE, Effort
from dashboard.workers.solve_job import SearchRequest
from dashboard.workers.solve_service import SEARCHING, SolveService
from tests.dashboard.conftest import OpenPage
from tests.dashboard.reading import texts
from tests.large_network import large_matrix
from tests.waiting import wait_for

LAYERS = FULL_AT_ONCE // 3 + 4
FIRST = "stage0.block0.conv"
GUESSES = "searched, the rest is a first guess"


@pytest.fixture(autouse=True)
def service(
    own_artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SolveService[SearchRequest]]:
    """The searching process, ended after the test."""
    cc.save_matrix(large_matrix(LAYERS, 3), own_artifacts / "large.clado")
    made: SolveService[SearchRequest] = SolveService(SEARCHING)
    monkeypatch.setattr(services, "search_service", lambda: made)
    yield made
    made.close()


def hollow(app: AppTest) -> int:
    """Points of the chart's front that are drawn as guesses."""
    specs = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    (front,) = [t for spec in specs for t in spec["data"] if t.get("name") == "Front"]
    colours = front["marker"]["color"]
    return 0 if isinstance(colours, str) else colours.count(palette("light").background)


def until(app: AppTest, gone: str) -> None:
    """Draw the page again, as its fragments do, until a text is gone."""
    wait_for(lambda: gone not in texts(app.run()))
    assert not app.exception


def test_the_first_run_has_an_answer_and_the_front_follows(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = list[LocalSearchSolver]()
    solve = LocalSearchSolver.solve

    def noted(self: LocalSearchSolver, *given: object, **options: object) -> cc.Solution:
        ran.append(self)
        return solve(self, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalSearchSolver, "solve", noted)
    app = open_page(model="large", avg_bits="4")
    assert not app.exception
    assert ran == [Effort.FIRST.solver]  # the only search where the page is drawn
    shown = texts(app)
    assert GUESSES in shown and "the search goes on" in shown
    assert "Prices follow" in shown
    assert "still searched for" in [metric.delta for metric in app.metric]
    assert hollow(app) > 10
    loss = app.metric[0].value
    until(app, GUESSES)
    until(app, "the search goes on")
    until(app, "Prices follow")
    wait_for(lambda: app.run().metric[3].delta != "still searched for")
    assert hollow(app) == 0
    assert "points proven" in texts(app)
    assert "Predicted loss if locked: 2 bits +" in texts(app)
    assert float(app.metric[0].value) <= float(loss)


def test_a_lock_while_the_front_comes_holds_at_once(open_page: OpenPage) -> None:
    app = open_page(model="large", avg_bits="4")
    assert GUESSES in texts(app)
    digest = catalogue.find().artifacts["large"].digest
    app.segmented_control(key=f"clado_lock_{digest[:8]}_{FIRST}").set_value("8").run()
    assert not app.exception
    assert f"{FIRST}: locked at 8 bits" in texts(app) and GUESSES in texts(app)
    until(app, GUESSES)
    app.toggle(key="bits_table").set_value(True).run()
    table = app.dataframe[0].value.set_index("Layer")
    assert table.loc[FIRST, "Bits"] == 8


def test_a_budget_between_is_answered_while_the_front_comes(open_page: OpenPage) -> None:
    app = open_page(model="large", avg_bits="4")
    loss = float(app.metric[0].value)
    app.slider[0].set_value(6.0).run()
    assert not app.exception
    assert "of 6.00 bits" in texts(app) and float(app.metric[0].value) < loss


@pytest.mark.parametrize("page", ["interactions", "export", "compare"])
def test_other_pages_open_while_searches_run(open_page: OpenPage, page: str) -> None:
    app = open_page(page, model="large", avg_bits="4")
    assert not app.exception


def test_compare_says_how_far_the_fronts_are_and_waits_for_a_method(open_page: OpenPage) -> None:
    app = open_page("compare", model="large", avg_bits="4")
    assert "large: front" in texts(app)
    artifact = catalogue.find().artifacts["large"]
    app = open_page("compare", model="large", avg_bits="4", view=sides.CHOICES, b="Diagonal only")
    assert not app.exception
    if other_methods.front_of("diagonal", artifact) is None:
        assert "the choices of Diagonal only are still searched for" in texts(app)
    wait_for(lambda: other_methods.are_known(artifact))
    wait_for(lambda: not caches.answers(artifact).left())
    app.run()
    assert not app.exception and "searched" not in texts(app)
