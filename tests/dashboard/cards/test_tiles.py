"""The four numbers: what is possible, what is held against what, and what a proof speaks of."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import clado_core as cc
from dashboard.cards import proofs
from dashboard.known import services
from dashboard.workers.solve_service import SolveService
from tests.conftest import make_matrix
from tests.dashboard.conftest import OpenPage, rich_matrix
from tests.dashboard.reading import texts
from tests.waiting import wait_for

RED, GREEN, GRAY = 0, 1, 2
AGAINST, LOSS = "Against diagonal only", "Predicted loss increase"


def _tile(app: AppTest, label: str) -> tuple[str, str, int]:
    (found,) = [m for m in app.metric if m.label == label]
    return found.value, found.delta, found.proto.color


def test_a_loss_below_zero_is_called_impossible_and_held_against_nothing(
    own_artifacts: Path, open_page: OpenPage
) -> None:
    matrix = make_matrix(6, seed=1)
    G = matrix.G - 5.0 * ~matrix.same_layer()
    cc.save_matrix(replace(matrix, G=G, base_loss=0.5), own_artifacts / "alpha.clado")
    app = open_page(avg_bits="4")
    assert not app.exception
    value, note, colour = _tile(app, LOSS)
    assert value.startswith("−") and note.startswith("impossible") and colour == RED
    assert _tile(app, AGAINST)[:2] == ("–", "no comparison: not both are possible")
    assert "predictions cannot be trusted. Impossible" in texts(app)
    assert "mpossible" in texts(open_page("export", avg_bits="4"))
    (losses,) = [
        row
        for table in open_page("compare", avg_bits="4").table
        for row in table.value.to_dict("records")
        if row.get("") == LOSS
    ]
    assert losses["A"].endswith("(impossible)") and losses["B − A"] == ""


def test_what_is_possible_is_doubted_nowhere(open_page: OpenPage) -> None:
    assert "mpossible" not in texts(open_page(avg_bits="4"))


@pytest.mark.parametrize("scatter", [1e-6, 10.0])
def test_a_difference_is_good_news_only_beyond_two_standard_errors(
    scatter: float, own_artifacts: Path, open_page: OpenPage
) -> None:
    matrix, rng = make_matrix(6, seed=1), np.random.default_rng(0)
    noise = scatter * rng.normal(size=(4, *matrix.G.shape))
    part_G = matrix.G + noise + noise.transpose(0, 2, 1)
    spread = replace(matrix, part_G=part_G, part_weights=np.full(4, 0.25))
    cc.save_matrix(spread, own_artifacts / "alpha.clado")
    app = open_page(avg_bits="3.3")
    value, note, colour = _tile(app, AGAINST)
    assert value.startswith("−") and "±" in value
    assert note.startswith("diagonal only at 3.") and colour == (GREEN if scatter < 1 else GRAY)


def test_both_sides_of_a_comparison_have_the_same_budget(open_page: OpenPage) -> None:
    for avg_bits in ("3", "3.3", "5.5"):
        note = _tile(open_page(avg_bits=avg_bits), AGAINST)[1]
        assert float(note.split()[3]) <= float(avg_bits)


def test_the_headline_says_what_is_used_of_the_budget(open_page: OpenPage) -> None:
    app = open_page(avg_bits="7.9")
    said = next(m.value for m in app.markdown if m.value.startswith("Uses"))
    used = float(said.split("**")[1])
    assert used < 7.9 and "of 7.90 bits" in said


def test_a_proof_says_what_it_is_about(
    own_artifacts: Path, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cc.save_matrix(rich_matrix(), own_artifacts / "alpha.clado")
    with closing(SolveService()) as service:
        monkeypatch.setattr(services, "solve_service", lambda: service)
        app = open_page(mode="Exact", avg_bits="4")
        asked = service.job(app.session_state[proofs.OWNER])
        assert asked is not None
        wait_for(lambda: not asked.active)
        wait_for(lambda: "of the layers keep their bits" in texts(app.run()))
    said = texts(app)
    assert "Proven optimal" in said and "Optimal for this measurement; predicted" in said
    assert "± " in said and "(standard error)" in said
