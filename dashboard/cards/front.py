"""The front card: predicted loss, or measured accuracy where there is some, against size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from clado_core import Solution
from clado_core.records.names import MEASURED_AS
from clado_core.records.trust import doubt, kind_of_doubt
from dashboard.cards.actions import recall
from dashboard.cards.chart import Chart, draw_chart
from dashboard.cards.proofs import search_fronts
from dashboard.components import Patch
from dashboard.figures.accuracy import (
    AccuracyInfo,
    Run,
    accuracy_alt,
    accuracy_figure,
    accuracy_info,
    here_line,
)
from dashboard.figures.pareto import (
    Background,
    ParetoInfo,
    background,
    here_trace,
    pareto_alt,
    pareto_figure,
    pareto_info,
)
from dashboard.figures.series import METHOD_NAMES, UNIFORM, Curve, curve, measured_curve
from dashboard.known import caches, other_methods
from dashboard.known.catalogue import Artifact
from dashboard.known.measured_choices import Measured, Version, measured, version
from dashboard.rules import Rules
from dashboard.scale import Metric, size_scale
from dashboard.state import view_state
from dashboard.state.view_state import ViewState
from dashboard.theme import number, signed
from dashboard.workers.searches import GREEDY

HEIGHT = 360
CHART, ACCURACY_CHART = "front_plot", "accuracy_plot"
VIEW, LOSS, ACCURACY = "front_view", "Predicted loss", "Measured accuracy"
STREAM_S = 0.7
"""How often a front that is being searched is drawn again."""
ROOM, CONTROL = 13, 5
"""Pixels that the header gains by the buttons of pins, and by the control: the card keeps its
height."""


def _other_curves(artifact: Artifact, rules: Rules, metric: Metric) -> tuple[Curve, ...]:
    """What other methods choose, as far as it is known; nothing here changes as proofs come in."""
    fronts = {
        method: front
        for method in other_methods.methods(caches.matrix(artifact))
        if (front := other_methods.front_of(method, artifact, rules))
    }
    return _curves(artifact, rules, metric, tuple(fronts), fronts)


@st.cache_resource(max_entries=128, show_spinner=False)
def _curves(
    artifact: Artifact,
    rules: Rules,
    metric: Metric,
    methods: tuple[str, ...],
    _fronts: Mapping[str, Sequence[Solution]],
) -> tuple[Curve, ...]:
    matrix = caches.matrix(artifact)
    scale = size_scale(matrix, metric)
    return (
        *(curve(METHOD_NAMES[method], _fronts[method], scale) for method in methods),
        curve(UNIFORM, other_methods.uniform(matrix), scale),
    )


@st.cache_resource(max_entries=128, show_spinner=False)
def _measured_curves(artifact: Artifact, metric: Metric, at: Version) -> tuple[Curve, ...]:
    """What the measured matrix chose and was run; the other methods' are in the other chart."""
    scale = size_scale(caches.matrix(artifact), metric)
    ours = [r for r in measured(artifact) if r.ours and math.isfinite(r.loss_increase)]
    curves = []
    for measured_as in MEASURED_AS:
        runs = [
            (run.assignment, run.loss_increase, _run_text(run))
            for run in ours
            if run.measured_as == measured_as
        ]
        curves += [measured_curve(measured_as, runs, scale)] if runs else []
    return tuple(curves)


def _run_text(run: Measured) -> str:
    return (
        f"<b>Measured as {run.measured_as}</b><br>loss "
        f"{signed(run.loss_increase)}<br>top-1 {run.top1:.2%} ({run.ci95[0]:.2%} to "
        f"{run.ci95[1]:.2%}, n = {run.n})<br>float network {run.float_top1:.2%}"
    )


def front_background(state: ViewState, metric: Metric, /) -> Background:
    """The part of the chart that no budget changes."""

    others = _other_curves(state.artifact, state.rules, metric)

    def make() -> Background:
        scale, front = size_scale(state.matrix, metric), state.answers.front()
        knee = other_methods.knee(front)
        return background(front, scale, baselines=others, knee=knee, guesses=GREEDY)

    names = tuple(other.name for other in others)
    known = state.answers.derived(("background", metric, names), make)
    runs = _measured_curves(state.artifact, metric, version(state.artifact))
    return replace(known, baselines=(*known.baselines, *runs))


def front_info(state: ViewState, answer: Solution, /) -> ParetoInfo:
    """The chart's record for the current state; what no budget changes is kept."""
    return pareto_info(front_background(state, state.metric), answer, state.scale, pins=state.pins)


def front_patch(state: ViewState, answer: Solution, /) -> Patch:
    """The marker of the current choice, for a chart that stands already."""
    runs = measured(state.artifact)
    if _shows_accuracy(runs):
        measured_info = _accuracy(state, answer, runs)
        line = here_line(measured_info, state.mode)
        return Patch(ACCURACY_CHART, (line,), accuracy_alt(measured_info))
    info = front_info(state, answer)
    return Patch(CHART, (here_trace(info, state.mode),), pareto_alt(info))


def front_card(state: ViewState, /) -> None:
    """Draw the card; of a large network what is searched meanwhile comes into it by itself."""
    missing = search_fronts(state)

    @st.fragment(run_every=STREAM_S if any(missing) else None)
    def contents() -> None:
        now, dragging = view_state.current(), view_state.dragging()
        if any(missing) and search_fronts(now) != missing and not dragging:
            # What else follows from a front is drawn with it, once, and when to look is set anew.
            st.rerun()
        _contents(now, now.answer(thorough=not dragging))

    with st.container(border=True, key="card-front"):
        contents()


def _contents(state: ViewState, answer: Solution) -> None:
    runs, info = measured(state.artifact), front_info(state, answer)
    accurate = _shows_accuracy(runs)

    def header() -> None:
        if runs:
            st.segmented_control(
                "Against size",
                [LOSS, ACCURACY],
                default=LOSS,
                required=True,
                key=VIEW,
                label_visibility="collapsed",
            )
        if accurate:
            images = f"{runs[0].n:,} {runs[0].images.split} images"
            st.caption(f"{images}; bars: 95 % intervals", help=_accuracy_help(runs))
        else:
            st.caption(told(state, info))
        recall(state)

    title = "" if runs else "Predicted loss against size"  # else the control says it
    chart = (
        _accuracy_chart(state, answer, runs) if accurate else _front_chart(state, info, title=title)
    )
    room = ROOM - CONTROL if runs else ROOM
    height = HEIGHT + (0 if state.pins else room)
    draw_chart(chart, height=height, on_click=_go, header=header)
    if doubtful := state.answers.derived("doubts", lambda: _doubted(state)):
        st.caption(f":red[{doubtful}]")


def told(state: ViewState, info: ParetoInfo, /) -> str:
    """How far the front is: searched, then proven."""
    left, all_ = len(state.answers.left()), len(state.answers.grid)
    if left:
        return f"front {all_ - left} of {all_} searched, the rest is a first guess"
    return f"{info.proven} of {len(info.front.sizes)} points proven; click one to go there"


def _doubted(state: ViewState) -> str:
    """What to say below a front of which some predictions cannot be true."""
    front = state.answers.front()
    against = [d for s in front if (d := doubt(state.matrix, s.assignment.bits))]
    if not against:
        return ""
    return f"{len(against)} of {len(front)} predictions cannot be trusted. {against[0]}"


def _shows_accuracy(runs: Sequence[Measured]) -> bool:
    return st.session_state.get(VIEW) == ACCURACY and bool(runs)


def _front_chart(state: ViewState, info: ParetoInfo, *, title: str) -> Chart:
    return Chart(
        title=title,
        key=CHART,
        figure=lambda: pareto_figure(info, state.mode),
        alt=pareto_alt(info),
        rows=lambda: _rows(state),
        help="The best choice known at each size, and what other methods choose, all scored on "
        "the matrix of sensitivities. Lower left is better.",
    )


def _accuracy(state: ViewState, answer: Solution, runs: Sequence[Measured]) -> AccuracyInfo:
    shown = [Run(r.assignment, r.method, r.top1, r.ci95, r.measured_as) for r in runs]
    first = runs[0]
    return accuracy_info(shown, first.float_top1, first.n, answer.assignment, state.scale)


def _accuracy_chart(state: ViewState, answer: Solution, runs: Sequence[Measured]) -> Chart:
    info = _accuracy(state, answer, runs)
    return Chart(
        title="",
        key=ACCURACY_CHART,
        figure=lambda: accuracy_figure(info, state.mode),
        alt=accuracy_alt(info),
        rows=lambda: {
            "Chosen by": [s.method for s in info.series for _ in s.sizes],
            "Measured as": [s.measured_as for s in info.series for _ in s.sizes],
            "Average bits": [x for s in info.series for x in s.avg_bits],
            "Top-1 (%)": [round(x, 2) for s in info.series for x in s.top1],
            "− (%)": [round(x, 2) for s in info.series for x in s.below],
            "+ (%)": [round(x, 2) for s in info.series for x in s.above],
        },
        help=_accuracy_help(runs),
    )


def _accuracy_help(runs: Sequence[Measured]) -> str:
    return (
        f"The quantized networks were run on {runs[0].images.counted(runs[0].n)}, as rounded (to "
        "nearest, and nothing else) and as repaired; bars are 95 % intervals. The vertical line is "
        "the current choice. Other methods are drawn as repaired where they were; the table has "
        "all."
    )


def _go(point: Mapping[str, Any]) -> None:
    custom = point.get("custom")
    if isinstance(custom, int | float):
        view_state.set_avg_bits(float(custom), move_thumb=True)
        st.rerun(view_state.EXPLORE)  # not the chart alone, whose fragment was clicked


def _doubts(state: ViewState, front: Sequence[Solution]) -> dict[str, list[str]]:
    """A column of its own where predictions cannot be true, else none."""
    kinds = [kind_of_doubt(doubt(state.matrix, s.assignment.bits)) for s in front]
    return {"Doubt": kinds} if any(kinds) else {}


def _rows(state: ViewState) -> dict[str, list[Any]]:
    front = state.answers.front()
    return {
        state.scale.axis_title: [number(state.scale.of_assignment(s.assignment)) for s in front],
        "Average bits": [round(s.assignment.avg_bits, 3) for s in front],
        "Predicted loss increase": [s.predicted_loss_increase for s in front],
        **_doubts(state, front),
        "Status": [s.status.value for s in front],
        "Relative gap": [s.gap for s in front],
    }
