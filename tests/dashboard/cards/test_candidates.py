"""Parallel coordinates: rows, brushes, and the four verbs."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

import clado_core as cc
from dashboard.cards import candidates as card
from dashboard.figures.parallel import (
    ParallelInfo,
    parallel_alt,
    parallel_figure,
    parallel_info,
    shown,
    within,
)
from dashboard.known.answers import Answers
from dashboard.rules import NO_RULES
from dashboard.state import by_network
from dashboard.theme import Mode
from tests.conftest import make_matrix
from tests.dashboard.conftest import OpenPage
from tests.dashboard.reading import texts


@pytest.fixture
def info() -> ParallelInfo:
    answers = Answers(make_matrix(6), NO_RULES)
    answers.sweep()
    rows = [("found", s) for s in answers.known()]
    return parallel_info([*rows, *rows])


def test_every_assignment_is_one_row(info: ParallelInfo) -> None:
    assert len(set(info.bits)) == len(info.bits) == len(info.values)
    assert info.axes[:3] == ("Average bits", "MB", "Predicted loss")
    assert info.axes[3:] == ("block0", "block1", "block2")
    assert info.optimal[0]
    averages = info.values[:, 3:]
    assert averages.min() >= 2 and averages.max() <= 8


def test_brushes_select_rows(info: ParallelInfo) -> None:
    low, high = 3.0, 5.0
    inside = within(info, [[low, high], None, None])
    np.testing.assert_array_equal(inside, (info.values[:, 0] >= low) & (info.values[:, 0] <= high))
    either = within(info, [[[2.0, 2.5], [7.0, 8.0]]])
    assert either.sum() == ((info.values[:, 0] <= 2.5) | (info.values[:, 0] >= 7)).sum()
    drawn = shown(info)[:, 2]
    assert within(info, [None, None, [float(drawn.min()), float(drawn.max())]]).all()
    assert within(info, []).all()


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_figure(info: ParallelInfo, mode: Mode) -> None:
    figure = go.Figure(parallel_figure(info, mode))
    assert len(figure.data[0].dimensions) == len(info.axes)
    assert "matched by no other" in parallel_alt(info)


def test_one_candidate_is_drawn() -> None:
    matrix = make_matrix(3, (4,))
    solution = cc.EnumerationSolver().solve(cc.AllocationProblem(matrix))
    go.Figure(parallel_figure(parallel_info([("only", solution)]), "light"))


def test_keep_exclude_restore_on_the_page(open_page: OpenPage) -> None:
    app = open_page(avg_bits="4")

    def opened() -> None:
        app.session_state[card.OPEN] = True
        app.run()
        assert not app.exception

    opened()
    assert app.button(key="candidates-keep").disabled
    app.session_state[card.BRUSH] = [[2.0, 4.0]]
    opened()
    assert "inside the brushes" in texts(app)
    app.button(key="candidates-keep").click().run()
    left_out = next(iter(app.session_state[by_network.LEFT_OUT].values()))
    assert left_out
    opened()
    app.button(key="candidates-restore").click().run()
    assert not next(iter(app.session_state[by_network.LEFT_OUT].values()))
