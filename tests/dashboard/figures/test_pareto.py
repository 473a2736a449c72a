"""The front chart: its record and what is drawn."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

import clado_core as cc
from clado_core.allocation.methods import allocate
from dashboard.figures.pareto import Background, background, pareto_figure, pareto_info
from dashboard.figures.series import MEASURED, PSD, curve, measured_curve
from dashboard.figures.spec import to_json
from dashboard.known.answers import Answers
from dashboard.rules import NO_RULES
from dashboard.scale import Metric, budget_bits, round_up, size_scale
from dashboard.theme import Mode, palette
from tests.conftest import make_matrix


@pytest.fixture
def known() -> Answers:
    answers = Answers(make_matrix(6), NO_RULES)
    answers.sweep()
    return answers


def _uniform(matrix: cc.SensitivityMatrix, bits: int) -> cc.Solution:
    total = matrix.layers.total_weights
    return allocate(cc.AllocationProblem(matrix, budget_bits=bits * total), method="uniform")


def test_curve_holds_sizes_losses_and_what_a_click_asks_for(
    worked_example: cc.SensitivityMatrix,
) -> None:
    scale = size_scale(worked_example, Metric.AVG_BITS)
    shown = curve("Uniform", [_uniform(worked_example, 2), _uniform(worked_example, 4)], scale)
    assert shown.sizes == (2.0, 4.0)
    assert shown.losses == pytest.approx((2.9, 0.24))
    assert shown.avg_bits == (2.0, 4.0)
    assert all("predicted" in line for line in shown.hover)


def test_background_marks_knee_and_counts_proofs(known: Answers) -> None:
    front = known.front()
    scale = size_scale(known.matrix, Metric.MEGABYTES)
    shown = background(front, scale, knee=front[1])
    assert shown.knee == 1
    assert shown.proven == 0
    assert shown.baselines == ()
    assert shown.front == curve("Front", front, scale)


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("metric", list(Metric))
def test_figure_has_every_series_and_finite_values(
    known: Answers, mode: Mode, metric: Metric
) -> None:
    scale = size_scale(known.matrix, metric)
    front = known.front()
    shown = background(
        front,
        scale,
        baselines=[
            curve("Diagonal only", front, scale),
            curve(PSD, front, scale),
            measured_curve("rounded", [(front[0].assignment, 0.5, "ran")], scale),
            measured_curve("repaired", [(front[0].assignment, 0.1, "ran")], scale),
            curve("Uniform", [_uniform(known.matrix, 4)], scale),
        ],
        knee=front[1],
    )
    figure = go.Figure(pareto_figure(pareto_info(shown, front[2], scale, pins=front[:2]), mode))
    names = [trace.name for trace in figure.data]
    assert names[:4] == ["Diagonal only", PSD, *MEASURED.values()]
    assert names[4:] == ["Uniform", "Front", "Pinned", "You are here"]
    assert figure.data[2].marker.symbol != figure.data[3].marker.symbol
    assert figure.data[1].visible == "legendonly"
    assert len(figure.layout.meta["bits"]) == len(front)
    for trace in figure.data:
        assert np.isfinite(np.asarray(trace.y, dtype=float)).all()
    assert figure.layout.xaxis.title.text == scale.axis_title
    assert "predicted; × ○ measured" in figure.layout.yaxis.title.text
    assert figure.data[-1].marker.color == palette(mode).accent
    assert figure.layout.annotations[0].text == "knee"


def test_payload_per_step_is_small(known: Answers) -> None:
    scale = size_scale(known.matrix, Metric.AVG_BITS)
    front = known.front()
    figure = pareto_figure(pareto_info(background(front, scale), front[0], scale), "light")
    assert len(to_json(figure)) < 60_000


def test_a_front_of_one_point_is_drawn() -> None:
    matrix = make_matrix(1, (4,))
    answers = Answers(matrix, NO_RULES)
    answers.sweep()
    scale = size_scale(matrix, Metric.AVG_BITS)
    empty = Background(curve("Front", (), scale), (), None, 0)
    figure = go.Figure(pareto_figure(pareto_info(empty, answers.front()[0], scale), "light"))
    assert len(figure.data) == 3


def test_a_click_returns_to_the_point_that_was_clicked(known: Answers) -> None:
    for solution in known.front():
        asked = budget_bits(known.matrix, round_up(solution.assignment.avg_bits))
        assert asked >= solution.assignment.size_bits
