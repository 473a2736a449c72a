"""The bits chart: its record, stages and what is drawn."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

import clado_core as cc
from dashboard.figures.bits import BitsInfo, bits_alt, bits_figure, bits_info, stages
from dashboard.theme import Mode, bit_colours
from tests.conftest import make_matrix


@pytest.fixture
def problem() -> cc.AllocationProblem:
    return cc.AllocationProblem(make_matrix(4))


def test_info(problem: cc.AllocationProblem) -> None:
    before, after = problem.assignment((2, 4, 8, 2)), problem.assignment((2, 8, 8, 4))
    info = bits_info(after, (2, 4, 8), reference=before, locked={"block1.conv2"})
    assert info == BitsInfo(
        names=("block0.conv0", "block0.conv1", "block1.conv2", "block1.conv3"),
        bits=(2, 8, 8, 4),
        before=(2, 4, 8, 2),
        n_weights=(108, 144, 180, 216),
        locked=(2,),
        ties=(),
        groups=(("block0", 0, 1), ("block1", 2, 3)),
        bit_widths=(2, 4, 8),
    )
    assert info.changed == (1, 3)
    assert "1 at 2 bits, 1 at 4 bits, 2 at 8 bits" in bits_alt(info)


def test_stages_are_the_deepest_that_fit() -> None:
    names = ["stem", *(f"layer{i}.{j}.conv" for i in range(3) for j in range(6)), "fc"]
    layers = cc.LayerTable(tuple(cc.LayerInfo(name, "conv2d", (2, 2)) for name in names))
    assert stages(layers) == (
        ("stem", 0, 0),
        ("layer0", 1, 6),
        ("layer1", 7, 12),
        ("layer2", 13, 18),
        ("fc", 19, 19),
    )


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("by_weights", [False, True])
def test_figure(problem: cc.AllocationProblem, mode: Mode, by_weights: bool) -> None:
    info = bits_info(
        problem.assignment((2, 4, 8, 8)),
        (2, 4, 8),
        reference=problem.assignment((2, 4, 8, 4)),
        locked={"block0.conv0"},
    )
    figure = go.Figure(bits_figure(info, mode, by_weights=by_weights))
    assert [t.name for t in figure.data] == [
        "2-bit",
        "4-bit",
        "8-bit",
        "Changed",
        "Locked",
        "Under the pointer",
    ]
    colours = bit_colours((2, 4, 8), mode)
    assert [t.marker.color for t in figure.data[:3]] == list(colours.values())
    drawn = sorted(int(i) for t in figure.data[:3] for i in t.customdata)
    assert drawn == [0, 1, 2, 3]
    assert bool(figure.data[0].text) is not by_weights
    total = sum(float(np.sum(t.width)) for t in figure.data[:3])
    assert total <= len(info.bits)


def test_numbers_are_left_out_where_they_would_overlap() -> None:
    matrix = make_matrix(61)
    chosen = cc.AllocationProblem(matrix).assignment((4,) * 61)
    figure = go.Figure(bits_figure(bits_info(chosen, matrix.bit_widths), "light"))
    assert not figure.data[1].text


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("menu", [(2, 4, 8), (2, 3, 4, 6, 8), (4,), (2, 3, 4, 5, 6, 7, 8)])
def test_every_menu_has_distinct_colours(mode: Mode, menu: tuple[int, ...]) -> None:
    colours = bit_colours(menu, mode)
    assert len(set(colours.values())) == len(menu)
