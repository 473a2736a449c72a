"""What holds for every chart: titled axes, colours of the theme, a table, a valid figure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

import clado_core as cc
from clado_core.records import names
from dashboard.figures import (
    accuracy,
    bits,
    compare,
    compare_measured,
    convergence,
    interaction,
    parallel,
    pareto,
    sensitivity,
    trust,
)
from dashboard.figures.cells import Known, View, interaction_info, interaction_rows
from dashboard.figures.spec import Spec, to_json
from dashboard.known.answers import Answers
from dashboard.rules import NO_RULES
from dashboard.scale import Metric, size_scale
from dashboard.theme import Mode, bit_colours, palette
from tests.dashboard.conftest import rich_matrix

MATRIX = rich_matrix(measured=0.5)
SCALE = size_scale(MATRIX, Metric.AVG_BITS)
ANSWERS = Answers(MATRIX, NO_RULES)
ANSWERS.sweep()
FRONT = ANSWERS.front()
HERE = FRONT[2]

SIDE = compare.side("one", MATRIX, FRONT, HERE, loss_range=(0.0, 1.0))
OTHER = compare.side("other", MATRIX, FRONT, FRONT[5], loss_range=(0.0, 1.0))
COMPARED = compare.CompareInfo(SIDE, OTHER)
PARETO = pareto.pareto_info(pareto.background(FRONT, SCALE, knee=FRONT[1]), HERE, SCALE)
BITS = bits.bits_info(HERE.assignment, MATRIX.bit_widths, reference=FRONT[0].assignment)
ALONE = sensitivity.sensitivity_info(MATRIX, HERE.assignment)
MEASURED = np.triu(np.ones_like(MATRIX.G, dtype=bool)) | MATRIX.same_layer()
CELLS = interaction_info(MATRIX, View(candidates=True), Known(MEASURED))
TRACE = convergence.convergence_info([(0.1, 2.0, -np.inf), (0.4, 1.5, 1.0)])
ROWS = parallel.parallel_info([("front", s) for s in FRONT])
RUNS = [accuracy.Run(s.assignment, m, 0.9, (0.8, 0.95)) for s in FRONT for m in ("clado", "hawq")]
ACCURACY = accuracy.accuracy_info(RUNS, 0.95, 1000, HERE.assignment, SCALE)
SIDES = [compare_measured.measured_side(n, MATRIX, RUNS[:4], 0.95) for n in ("one", "other")]
TRUST = trust.TrustInfo(("a", "b", "c"), (True, False, True), (0.1, 0.2, 0.4), (0.1, 0.3, 0.3), 0.9)

CHARTS: dict[str, Callable[[Mode], Spec]] = {
    "front": lambda mode: pareto.pareto_figure(PARETO, mode),
    "accuracy": lambda mode: accuracy.accuracy_figure(ACCURACY, mode),
    "bits": lambda mode: bits.bits_figure(BITS, mode),
    "alone": lambda mode: sensitivity.sensitivity_figure(ALONE, mode),
    "heat": lambda mode: interaction.interaction_figure(CELLS, mode),
    "mini": lambda mode: interaction.mini_figure(CELLS, mode),
    "fronts": lambda mode: compare.fronts_figure(COMPARED, mode),
    "paired": lambda mode: compare.paired_bits_figure(COMPARED, mode),
    "compared": lambda mode: compare_measured.measured_figure(SIDES[0], SIDES[1], mode),
    "bounds": lambda mode: convergence.convergence_figure(TRACE, mode),
    "candidates": lambda mode: parallel.parallel_figure(ROWS, mode),
    "trust": lambda mode: trust.trust_figure(TRUST, mode),
}
UNTITLED = {"heat", "mini", "candidates"}
"""Their axes name layers or themselves."""

TABLES = {
    "accuracy": ACCURACY.series,
    "alone": sensitivity.sensitivity_rows(ALONE),
    "heat": interaction_rows(CELLS),
    "fronts": compare.fronts_rows(COMPARED),
    "paired": compare.bits_rows(COMPARED),
    "compared": compare_measured.measured_rows(SIDES),
    "bounds": convergence.convergence_rows(TRACE),
    "candidates": parallel.parallel_rows(ROWS),
    "trust": trust.trust_rows(TRUST),
}


def colours_of(spec: Any) -> set[str]:
    return {match.upper() for match in re.findall(r"#[0-9A-Fa-f]{6}\b", to_json(spec))}


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", CHARTS)
def test_plotly_accepts_it_and_all_colours_are_the_themes(name: str, mode: Mode) -> None:
    spec = CHARTS[name](mode)
    go.Figure(json.loads(to_json(spec)))
    own = palette(mode)
    known = {c for c in vars_of(own) if isinstance(c, str)} | set(
        bit_colours((2, 3, 4, 5, 6, 7, 8), mode).values()
    )
    known |= set(own.bits.values()) | {colour for _, colour in own.diverging}
    assert colours_of(spec) <= {c.upper() for c in known}


def vars_of(record: Any) -> list[Any]:
    return [getattr(record, name) for name in record.__dataclass_fields__]


@pytest.mark.parametrize("name", sorted(set(CHARTS) - UNTITLED))
def test_axes_are_titled(name: str) -> None:
    layout = CHARTS[name]("light")["layout"]
    assert layout["yaxis"]["title"]["text"]
    # Layers and stages under the bars name themselves.
    assert name == "bits" or layout["xaxis"]["title"]["text"]


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_rows_of_one_length(name: str) -> None:
    table = TABLES[name]
    assert table
    if isinstance(table, dict):
        assert len({len(column) for column in table.values()}) == 1


def test_predicted_stands_on_every_predicted_axis() -> None:
    for name in ("front", "fronts", "bounds"):
        assert "redicted" in CHARTS[name]("light")["layout"]["yaxis"]["title"]["text"]
    assert "Measured" in CHARTS["accuracy"]("light")["layout"]["yaxis"]["title"]["text"]


def test_layers_that_differ_are_outlined() -> None:
    figure = CHARTS["paired"]("light")
    outlines = next(trace for trace in figure["data"] if trace["name"] == "Differs")
    differ = np.flatnonzero(np.array(SIDE.bits) != np.array(OTHER.bits))
    np.testing.assert_allclose(outlines["x"] * 6 - 0.5, differ)
    np.testing.assert_allclose(outlines["base"], -np.array(OTHER.bits)[differ])


def test_sides_with_the_same_layers_share_rows() -> None:
    rows = compare.bits_rows(COMPARED)
    assert rows["A"] == list(SIDE.bits) and rows["B"] == list(OTHER.bits)


def test_accuracies_are_percent_with_their_interval() -> None:
    (ours, hawq) = ACCURACY.series
    assert (ours.name, hawq.name) == ("Measured<br>as rounded", "HAWQ<br>as rounded")
    assert ours.top1[0] == pytest.approx(90)
    assert (ours.below[0], ours.above[0]) == (pytest.approx(10), pytest.approx(5))
    assert ACCURACY.here == HERE.assignment.avg_bits
    assert "95.0 %" in accuracy.accuracy_alt(ACCURACY)


def test_rounded_and_repaired_are_told_apart_and_other_methods_drawn_once() -> None:
    repaired = [replace(run, top1=0.95, measured_as=names.REPAIRED) for run in RUNS]
    info = accuracy.accuracy_info([*RUNS, *repaired], 0.95, 1000, HERE.assignment, SCALE)
    assert [(s.method, s.measured_as) for s in info.series] == [
        (method, measured_as) for method in ("CLADO", "HAWQ") for measured_as in names.MEASURED_AS
    ]
    drawn = {t["name"]: t for t in accuracy.accuracy_figure(info, "light")["data"]}
    rounded, mended = drawn["Measured<br>as rounded"], drawn["Measured<br>as repaired"]
    assert set(rounded["y"]) == {90} and set(mended["y"]) == {95}
    assert rounded["marker"]["symbol"] != mended["marker"]["symbol"]
    assert rounded["line"]["dash"] != mended["line"]["dash"]
    assert "HAWQ<br>as repaired" in drawn and "HAWQ<br>as rounded" not in drawn


def test_what_moves_replaces_a_trace_of_the_same_name() -> None:
    drawn = {trace["name"] for trace in CHARTS["front"]("light")["data"]}
    assert pareto.here_trace(PARETO, "light")["name"] in drawn
    drawn = {trace["name"] for trace in CHARTS["accuracy"]("light")["data"]}
    assert accuracy.here_line(ACCURACY, "light")["name"] in drawn
    moved = bits.bits_info(FRONT[9].assignment, MATRIX.bit_widths)
    drawn = {trace["name"] for trace in bits.bits_figure(BITS, "light")["data"]}
    assert {trace["name"] for trace in bits.moving_traces(moved, "light")} <= drawn


def test_an_unproven_bound_is_a_gap() -> None:
    assert TRACE.proven == (None, 0.5)
    assert "at least +0.500" in convergence.convergence_alt(TRACE)
    none = convergence.convergence_info([(0.1, 2.0, -np.inf)])
    assert "no bound yet" in convergence.convergence_alt(none)


def test_enumeration_agrees_with_the_front() -> None:
    """The record's points are real choices: none is below the optimum at its size."""
    for solution in FRONT[::8]:
        budget = solution.assignment.size_bits
        best = cc.EnumerationSolver().solve(cc.AllocationProblem(MATRIX, budget_bits=budget))
        assert solution.objective >= best.objective - 1e-9
