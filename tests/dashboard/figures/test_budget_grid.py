"""The heatmap of two budgets."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

import clado_core as cc
from dashboard.figures.budget_grid import (
    MOST_NUMBERED,
    GridInfo,
    grid_alt,
    grid_figure,
    grid_info,
    grid_rows,
)
from dashboard.figures.spec import to_json
from dashboard.theme import Mode
from tests.conftest import make_matrix

MATRIX = make_matrix(6, seed=1)


def _result(points: int = 4) -> dict[str, Any]:
    return cc.sweep_grid(MATRIX, points=points, solver=cc.TieredSolver(race=False)).to_json()


def _info(result: dict[str, Any]) -> GridInfo:
    return grid_info(result, MATRIX.layers.total_weights)


def test_cells_are_where_their_budgets_are() -> None:
    result = _result()
    info = _info(result)
    for point in result["points"]:
        i = result["budget_bits"].index(point["budget_bits"])
        j = result["budget_bops"].index(point["budget_bops"])
        assert info.losses[j, i] == point["predicted_loss_increase"]
        assert f"takes {point['avg_bits']:.2f} bits" in info.texts[j][i]
    assert info.avg_bits[0] == 2 and info.avg_bits[-1] == 8 and not info.open_.any()
    assert info.most_bits[-1] == 8 and info.most_operations[0] == pytest.approx(info.limits[0])
    assert "16 of 16 pairs are within reach, 16 proven optimal" in grid_alt(info)
    rows = grid_rows(info)
    assert rows["≤ 8.00 bits"] == info.losses[::-1, -1].tolist()


def test_what_no_choice_keeps_and_what_is_open_is_told_apart() -> None:
    result = _result()
    gone, open_ = result["points"].pop(5), result["points"][9]
    open_ |= {"status": "time_limit", "doubt": "Impossible: below zero"}
    info = _info(result)
    i = result["budget_bits"].index(gone["budget_bits"])
    j = result["budget_bops"].index(gone["budget_bops"])
    assert np.isnan(info.losses[j, i]) and "no choice keeps both" in info.texts[j][i]
    assert info.open_.sum() == 1 and "15 of 16 pairs are within reach, 14" in grid_alt(info)
    shown = [text for row in info.texts for text in row if "not proven" in text]
    assert len(shown) == 1 and "(impossible)" in shown[0]
    numbers = grid_figure(info, "light")["data"][0]["text"]
    assert sum(cell.endswith("*") for row in numbers for cell in row) == 1
    assert numbers[j][i] == ""


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("points", [1, 4, MOST_NUMBERED + 1])
def test_it_can_be_drawn(mode: Mode, points: int) -> None:
    spec = grid_figure(_info(_result(points)), mode)
    figure = go.Figure(spec)
    assert [trace.type for trace in figure.data] == ["heatmap", "scatter", "scatter"]
    assert "NaN" not in to_json(spec)
    shown = {cell for row in spec["data"][0]["text"] for cell in row}
    assert (shown == {""}) is (points > MOST_NUMBERED)
