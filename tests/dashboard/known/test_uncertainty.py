"""What was measured, its spread, and what the pages make of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

import clado_core as cc
from dashboard.figures.cells import NOISE, Known, View, interaction_info
from dashboard.figures.interaction import interaction_figure
from dashboard.figures.sensitivity import (
    ERRORS,
    sensitivity_alt,
    sensitivity_figure,
    sensitivity_info,
    sensitivity_rows,
)
from dashboard.figures.terms import Fold
from dashboard.known import caches, catalogue, other_methods, uncertainty
from dashboard.rules import NO_RULES
from dashboard.theme import Mode
from tests.conftest import make_matrix
from tests.dashboard.conftest import OpenPage, rich_matrix
from tests.dashboard.reading import texts


def known(matrix: cc.SensitivityMatrix) -> Known:
    return Known(uncertainty.measured_cells(matrix), uncertainty.term_errors(matrix))


def test_fitted_entries_are_told_from_measured_ones() -> None:
    matrix = rich_matrix(measured=0.6)
    found = uncertainty.coverage(matrix)
    assert found.pairs is not None and 0 < found.pairs < found.n_pairs == 15 * 9
    assert found.rest == "were fitted to them" and not found.complete
    whole = uncertainty.coverage(rich_matrix())
    assert whole.complete and whole.pairs == whole.n_pairs


def test_entries_left_out_count_as_zero() -> None:
    by_block = replace(make_matrix(4), provenance=cc.Provenance(estimator="block"))
    by_block = replace(by_block.within_blocks(), measured=None)
    found = uncertainty.coverage(by_block)
    assert not found.complete and found.rest == "count as zero"


def test_errors_of_single_losses_have_their_unit() -> None:
    matrix = rich_matrix()
    errors, whole = uncertainty.term_errors(matrix), matrix.standard_error()
    assert errors is not None and whole is not None
    np.testing.assert_allclose(errors.diagonal(), whole.diagonal() / 2)
    np.testing.assert_allclose(errors[0, 3:], whole[0, 3:])
    assert uncertainty.term_errors(make_matrix(3)) is None


def test_firmness_is_a_share(own_artifacts: Path) -> None:
    cc.save_matrix(rich_matrix(), own_artifacts / "rich.clado")
    artifact = catalogue.find().artifacts["rich"]
    budget = 4 * caches.matrix(artifact).layers.total_weights
    found = uncertainty.stability(artifact, NO_RULES, budget)
    assert found is not None
    assert ((found.kept >= 0) & (found.kept <= 1)).all()
    np.testing.assert_allclose(found.share.sum(axis=1), 1.0)
    assert uncertainty.stability(catalogue.find().artifacts["alpha"], NO_RULES, budget) is None


@pytest.mark.parametrize("candidates", [False, True])
def test_cells_not_measured_are_hatched_and_not_zero(candidates: bool) -> None:
    matrix = replace(make_matrix(6), provenance=cc.Provenance(estimator="block"))
    matrix = replace(matrix.within_blocks(), measured=None)
    info = interaction_info(matrix, View(candidates=candidates), known(matrix))
    size = matrix.n_bits if candidates else 1
    assert info.hatched.sum() == 12 * 2 * size**2, "three blocks of two layers each"
    assert np.isnan(info.values[info.hatched]).all()
    figure = go.Figure(interaction_figure(info, "light"))
    names = [trace.name for trace in figure.data]
    assert ("Not measured" in names) is bool(info.hatched.any())
    if info.hatched.any():
        outline = figure.data[-1]
        assert outline.fillpattern.shape == "/"
        area = 0.0
        for k in range(0, len(outline.x), 6):
            area += (outline.x[k + 1] - outline.x[k]) * (outline.y[k + 2] - outline.y[k + 1])
        assert area == info.hatched.sum()


def test_fitted_cells_keep_their_colour_under_the_hatching() -> None:
    matrix = rich_matrix(measured=0.4)
    info = interaction_info(matrix, View(candidates=True), known(matrix))
    assert info.hatched.any()
    assert np.isfinite(info.values[info.hatched]).all()


def test_a_pair_of_layers_is_marked_as_what_it_shows_is_known() -> None:
    """The strongest of its cells where that is shown, and every cell where their sum is."""
    matrix = make_matrix(2, (2, 4))
    G = np.diag([4.0, 1.0, 3.0, 1.0])
    G[0, 2] = G[2, 0] = 0.5
    G[1, 3] = G[3, 1] = -0.1
    measured = np.ones((4, 4), dtype=bool)
    measured[1, 3] = measured[3, 1] = False
    matrix = replace(matrix, G=G, measured=measured)
    assert not interaction_info(matrix).hatched.any()
    assert interaction_info(matrix, View(fold=Fold.SUM)).hatched.tolist() == [
        [False, True],
        [True, False],
    ]
    turned = replace(matrix, measured=~measured | np.eye(4, dtype=bool))
    assert interaction_info(turned).hatched[0, 1]


def test_estimates_are_not_called_measured(open_page: OpenPage, own_artifacts: Path) -> None:
    matrix = replace(rich_matrix(), measured=None, fit_error=None)
    matrix = replace(matrix, provenance=cc.Provenance(estimator="logit-gram"))
    cc.save_matrix(matrix, own_artifacts / "gram.clado")
    app = open_page("interactions", model="gram")
    assert not app.exception
    said = "None of the 18 entries of single candidates and 135 of pairs is a difference of"
    assert said in app.info[0].value and "estimates from output changes" in app.info[0].value
    assert "This pair was not measured." in texts(app) and "no draw says" in texts(app)
    assert "which are estimates" in {m.label: m.help for m in app.metric}["Alone, sum"]
    assert interaction_info(matrix, View(candidates=True)).hatched.sum() == 18 + 2 * 135
    chosen = cc.AllocationProblem(matrix).assignment((4,) * 6)
    assert "estimated loss" in sensitivity_alt(sensitivity_info(matrix, chosen))
    unknown = sensitivity_info(replace(matrix, provenance=cc.Provenance()), chosen)
    assert (unknown.title, sensitivity_info(rich_matrix(), chosen).title) == (
        "loss increase",
        "measured loss increase",
    )
    app = open_page("method", model="gram")
    entries = {row["What"]: row["Value"] for row in app.table[0].value.to_dict("records")}
    assert said in entries["Entries"]


def test_of_fits_of_unknown_quality_no_spread_is_shown(
    open_page: OpenPage, own_artifacts: Path
) -> None:
    """As files of before how well they fit was kept: alike in every part."""
    matrix = rich_matrix(measured=0.6)
    assert matrix.part_G is not None and matrix.measured is not None
    parts = np.where(matrix.measured, matrix.part_G, matrix.G)
    old = replace(matrix, part_G=parts, measured=None, fit_error=None)
    assert np.array_equal(uncertainty.coverage(old), uncertainty.coverage(matrix))
    cc.save_matrix(old, own_artifacts / "old.clado")
    app = open_page("interactions", model="old")
    assert not app.exception
    assert "did not keep how well they fit" in texts(app) and "draws; least firm" not in texts(app)
    errors = uncertainty.term_errors(old)
    assert errors is not None
    used = ~old.same_layer()
    assert np.array_equal(np.isnan(errors)[used], ~matrix.measured[used])


def test_noise_can_be_left_out() -> None:
    matrix = rich_matrix()
    shown = interaction_info(matrix, View(candidates=True), known(matrix))
    kept = interaction_info(matrix, View(candidates=True, hide_noise=True), known(matrix))
    assert shown.errors is not None
    gone = np.isfinite(shown.values) & np.isnan(kept.values)
    assert gone.any()
    assert (np.abs(shown.values[gone]) < NOISE * shown.errors[gone]).all()


def test_errors_of_folded_cells_are_those_of_the_strongest() -> None:
    matrix = rich_matrix()
    info = interaction_info(matrix, View(), known(matrix))
    errors = uncertainty.term_errors(matrix)
    assert info.errors is not None and errors is not None
    at = np.argwhere(matrix.G[:3, 3:6] == info.values[0, 1])[0]
    assert info.errors[0, 1] == errors[at[0], 3 + at[1]]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_each_layer_alone(mode: Mode) -> None:
    matrix = rich_matrix()
    chosen = cc.AllocationProblem(matrix).assignment((2, 4, 8, 2, 4, 8))
    errors, kept = uncertainty.term_errors(matrix), np.linspace(0.5, 1.0, 6)
    info = sensitivity_info(matrix, chosen, errors=errors, kept=kept)
    assert errors is not None and info.errors is not None
    assert info.errors[1, 2] == errors[5, 5]
    figure = go.Figure(sensitivity_figure(info, mode))
    names = [trace.name for trace in figure.data]
    assert names == ["Under the pointer", "2-bit", "4-bit", "8-bit", "Chosen"]
    assert len(figure.data[1].error_y.array) == 6
    assert figure.data[4].y[1] == figure.data[2].y[1]
    assert figure.layout.yaxis.title.text and ERRORS > 0
    row = sensitivity_rows(info)[3]
    assert row["Layer"] == matrix.layers.names[3] and row["Kept"] == "80 %"
    assert "keep their bit-width" in sensitivity_alt(info)


def test_the_page_tells_how_sure_it_is(open_page: OpenPage, own_artifacts: Path) -> None:
    cc.save_matrix(rich_matrix(measured=0.6), own_artifacts / "rich.clado")
    app = open_page("interactions", model="rich")
    assert not app.exception
    assert "pairs were measured" in app.info[0].value and "were fitted" in app.info[0].value
    assert "draws; least firm" in texts(app)
    assert "±" in {m.label: m.value for m in app.metric}["Cross term"]
    app.toggle(key="heat_noise").set_value(True).run()
    app.toggle(key="heat_plot_table").set_value(True).run()
    assert not app.exception
    assert any(len(frame.value.columns) == 7 for frame in app.dataframe)


def test_other_methods_are_baselines_where_they_were_measured(
    open_page: OpenPage, own_artifacts: Path
) -> None:
    cc.save_matrix(rich_matrix(), own_artifacts / "rich.clado")
    artifact = catalogue.find().artifacts["rich"]
    matrix = caches.matrix(artifact)
    assert other_methods.methods(matrix) == ("diagonal", "hawq", "mpqco", "psd")
    assert other_methods.methods(make_matrix(3)) == ("diagonal", "psd")
    least = caches.answers(artifact).front()
    for solution in other_methods.front_of("hawq", artifact):
        fits = [s for s in least if s.assignment.size_bits <= solution.assignment.size_bits]
        assert solution.objective == matrix.objective(solution.assignment.bits)
        assert solution.objective >= min(s.objective for s in fits) - 1e-12
    spec = open_page(model="rich").get("plotly_chart")[0].proto.spec
    assert "HAWQ" in spec and "MPQCO" in spec
    app = open_page("compare", model="rich", view="Choices")
    app.segmented_control(key="view").set_value("Choices").run()
    app.selectbox(key="b").set_value("HAWQ").run()
    assert not app.exception
