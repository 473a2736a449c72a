"""The heatmap: units, ordering and what is drawn."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

import clado_core as cc
from dashboard.figures.cells import View, interaction_alt, interaction_info
from dashboard.figures.interaction import interaction_figure
from dashboard.figures.spec import to_json
from dashboard.figures.terms import Fold, Order, layer_order, loss_terms, strongest, summed
from dashboard.known import pairs
from dashboard.theme import Mode
from tests.conftest import make_matrix


def test_terms_of_an_assignment_add_up_to_its_prediction(
    worked_example: cc.SensitivityMatrix,
) -> None:
    terms = loss_terms(worked_example)
    rows = [0, 2, 5]  # bits (2, 2, 4)
    chosen = terms[np.ix_(rows, rows)]
    assert np.triu(chosen).sum() == pytest.approx(worked_example.objective((2, 2, 4)) / 2)


def test_strongest_keeps_the_sign(worked_example: cc.SensitivityMatrix) -> None:
    values = strongest(worked_example)
    assert values.shape == (3, 3)
    assert values[0, 1] == pytest.approx(1.10 - 1.00 - 0.80)
    assert values[0, 2] == pytest.approx(2.60 - 1.00 - 0.90)
    assert values[0, 0] == pytest.approx(1.0)
    np.testing.assert_allclose(values, values.T)


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("candidates", [False, True])
def test_info(order: Order, candidates: bool) -> None:
    matrix = make_matrix(5)
    info = interaction_info(matrix, View(candidates=candidates, order=order))
    size = 15 if candidates else 5
    assert info.values.shape == (size, size)
    assert sorted(info.rows) == list(range(size))
    assert np.isnan(info.values.diagonal()).all()
    assert info.limit == pytest.approx(np.nanmax(np.abs(info.values)))
    assert bool(info.groups) is (order is Order.NETWORK)
    assert "strongest" in interaction_alt(info)


def test_total_order_puts_the_loudest_layer_first() -> None:
    matrix = make_matrix(5)
    weight = np.abs(strongest(matrix))
    np.fill_diagonal(weight, 0)
    assert layer_order(matrix, Order.TOTAL)[0] == int(weight.sum(axis=1).argmax())


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("log", [True, False])
def test_zero_is_the_neutral_colour(mode: Mode, log: bool) -> None:
    figure = go.Figure(interaction_figure(interaction_info(make_matrix(5)), mode, log=log))
    heatmap = figure.data[0]
    assert heatmap.zmid == 0
    assert heatmap.zmin == -heatmap.zmax
    assert np.asarray(heatmap.z).dtype == np.float32
    shown = np.asarray(heatmap.z)
    assert np.nanmax(np.abs(shown)) <= heatmap.zmax * (1 + 1e-6)


def test_payload_of_four_hundred_candidates() -> None:
    figure = interaction_figure(interaction_info(make_matrix(133), View(candidates=True)), "light")
    assert len(to_json(figure)) < 3_000_000


def test_a_network_without_interactions_is_drawn() -> None:
    matrix = make_matrix(4, monotone=True)
    info = interaction_info(matrix)
    assert info.limit == 1.0
    interaction_figure(info, "light")
    assert pairs.top_pairs(matrix) == []


def test_pair(worked_example: cc.SensitivityMatrix) -> None:
    chosen = cc.AllocationProblem(worked_example).assignment((2, 2, 2))
    found = pairs.pair(worked_example, (0, 2), (2, 2), chosen)
    assert found.alone == pytest.approx((1.0, 0.9))
    assert found.together == pytest.approx(2.6)
    assert found.cross == pytest.approx(0.7)
    assert found.stronger == 0.0
    assert found.paid
    assert pairs.top_pairs(worked_example, chosen, count=1) == [found]
    assert pairs.strongest_between(worked_example, 0, 2, chosen) == found


def test_summed_adds_every_bit_width(worked_example: cc.SensitivityMatrix) -> None:
    values = summed(worked_example)
    pair = worked_example.blocks()[0, :, 2, :].sum()
    assert values[0, 2] == pytest.approx(pair)
    assert values[0, 0] == pytest.approx(1.0 + 0.1)
    info = interaction_info(worked_example, View(fold=Fold.SUM, hide_diagonal=False))
    np.testing.assert_allclose(info.values, values)


def test_clustering_puts_strong_pairs_side_by_side() -> None:
    base = make_matrix(6, monotone=True)
    G = base.G.copy()
    for i, j in ((0, 3), (3, 5), (1, 4)):
        G[3 * i, 3 * j] = G[3 * j, 3 * i] = 1.0
    order = layer_order(make_matrix(6, G=G), Order.CLUSTER)
    places = [order.index(i) for i in (0, 3, 5)]
    assert max(places) - min(places) == 2
    assert abs(order.index(1) - order.index(4)) == 1


def test_the_selected_cell_is_framed_with_its_mirror_image() -> None:
    info = interaction_info(make_matrix(5), View(order=Order.TOTAL))
    shapes = interaction_figure(info, "light", selected=(1, 3))["layout"]["shapes"]
    centres = {((s["x0"] + s["x1"]) / 2, (s["y0"] + s["y1"]) / 2) for s in shapes}
    i, j = info.rows.index(1), info.rows.index(3)
    assert centres == {(i, j), (j, i)}


@pytest.mark.parametrize("sign", [1, -1])
def test_pairs_of_one_direction(sign: int) -> None:
    found = pairs.top_pairs(make_matrix(5), count=50, sign=sign)
    assert found
    assert all(np.sign(p.cross) == sign for p in found)
