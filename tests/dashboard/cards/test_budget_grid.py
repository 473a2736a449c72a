"""Explore's grid of two budgets: solved by the real command, kept, and shown."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import clado_core as cc
from clado_core.cli import build_parser
from dashboard.cards import budget_grid
from dashboard.known import services
from dashboard.rules import NO_RULES
from dashboard.workers.budget_grid import SolveGrid, last_grid
from dashboard.workers.trials import TrialService
from tests.conftest import make_matrix
from tests.dashboard.conftest import OpenPage
from tests.dashboard.reading import texts
from tests.dashboard.told import ended
from tests.waiting import wait_for

DIGEST = "d" * 64


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> TrialService:
    """The page's service, not yet used, of the real command."""
    made: TrialService = TrialService(on_result=lambda wish, result: wish.keep(result))
    monkeypatch.setattr(services, "trial_service", lambda: made)
    return made


def test_it_is_solved_shown_and_as_a_table(open_page: OpenPage, service: TrialService) -> None:
    app = open_page()
    assert not [b for b in app.button if b.key == "grid-solve"], "drawn only while open"
    app.session_state[budget_grid.OPEN] = True
    app.run().button(key="grid-solve").click().run()
    wait_for(lambda: ended(service))
    assert service.state is not None and service.state.problem == ""
    app.session_state[budget_grid.OPEN] = True
    app.run()
    assert not app.exception
    charts = [chart.proto for chart in app.get("plotly_chart")]
    (chart,) = [each for each in charts if "81 of 81 pairs are within reach" in each.alt]
    heatmap = json.loads(chart.spec)["data"][0]
    assert len(heatmap["text"]) == len(heatmap["text"][0]) == 9
    app.session_state[budget_grid.OPEN] = True
    app.toggle(key="grid_plot_table").set_value(True).run()
    assert any("Operations (10⁹) ≤" in frame.value.columns for frame in app.dataframe)


def test_without_operations_there_is_no_card(open_page: OpenPage, own_artifacts: Path) -> None:
    matrix = make_matrix(6, seed=1)
    layers = tuple(dataclasses.replace(layer, macs=0) for layer in matrix.layers.layers)
    silent = dataclasses.replace(matrix, layers=cc.LayerTable(layers))
    cc.save_matrix(silent, own_artifacts / "alpha.clado")
    app = open_page()
    assert not app.exception
    assert "Two budgets" not in "".join(e.label for e in app.expander) + texts(app)


def test_the_command_takes_rules_and_its_result_is_kept_with_them(
    own_artifacts: Path, tmp_path: Path
) -> None:
    rules = NO_RULES.with_lock("a", 8).with_least("b", 4)
    path = str(own_artifacts / "alpha.clado")
    wish = SolveGrid(name="alpha", artifact=path, digest=DIGEST, rules=rules, folder=str(tmp_path))
    parsed = build_parser().parse_args(wish.arguments())
    assert (parsed.grid, parsed.pin, parsed.min_bits) == ("bops", ["a=8"], ["b=4"]) and parsed.json
    assert "2 rules" in wish.about
    result = {"budget_bits": [1], "budget_bops": [2], "points": [], "reach": {}}
    wish.keep(result)
    assert last_grid(tmp_path, DIGEST, rules) == result
    assert last_grid(tmp_path, DIGEST, NO_RULES) is None
    wish.keep({})
    assert last_grid(tmp_path, DIGEST, rules) is None
