"""The front card: chart, or the same numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from clado_core import Solution
from dashboard import artifacts, baselines, view_state
from dashboard.artifacts import Artifact
from dashboard.cards.actions import recall
from dashboard.components import Patch, live_plot
from dashboard.figures.pareto import (
    Background,
    ParetoInfo,
    background,
    here_trace,
    pareto_alt,
    pareto_figure,
    pareto_info,
)
from dashboard.figures.series import (
    DIAGONAL,
    PSD,
    UNIFORM,
    Curve,
    curve,
    measured_curve,
)
from dashboard.measured import measured
from dashboard.rules import Rules
from dashboard.scale import Metric, SizeScale, size_scale
from dashboard.theme import number, signed
from dashboard.view_state import ViewState

HEIGHT = 360
CHART = "front_plot"
ROOM = 13
"""Pixels that the header gains by the buttons of pins: the card keeps its height."""


@st.cache_resource(max_entries=128, show_spinner=False)
def _baselines(path: str, digest: str, rules: Rules, metric: Metric) -> tuple[Curve, ...]:
    """Nothing here changes while proofs come in."""
    artifact = Artifact("", path, digest)
    matrix = artifacts.matrix(artifact)
    scale = size_scale(matrix, metric)
    return (
        curve(DIAGONAL, baselines.diagonal_front(artifact, rules), scale),
        curve(PSD, baselines.psd_front(artifact, rules), scale),
        curve(UNIFORM, baselines.uniform(matrix), scale),
    )


def _measured(artifact: Artifact, scale: SizeScale) -> Curve:
    runs = [
        (
            run.assignment,
            run.loss_increase,
            f"<b>Measured</b>{f' ({run.method})' if run.method else ''}<br>loss "
            f"{signed(run.loss_increase)}<br>top-1 {run.top1:.2%} ({run.ci95[0]:.2%} to "
            f"{run.ci95[1]:.2%}, n = {run.n})<br>float network {run.float_top1:.2%}",
        )
        for run in measured(artifact)
        if math.isfinite(run.loss_increase)
    ]
    return measured_curve(runs, scale)


@st.cache_resource(max_entries=128, show_spinner=False)
def _background(path: str, digest: str, rules: Rules, metric: Metric, version: int) -> Background:
    artifact = Artifact("", path, digest)
    matrix = artifacts.matrix(artifact)
    front = artifacts.answers(artifact, rules).front()
    return background(
        front,
        size_scale(matrix, metric),
        baselines=(
            *_baselines(path, digest, rules, metric),
            _measured(artifact, size_scale(matrix, metric)),
        ),
        knee=baselines.knee(front),
    )


def front_background(state: ViewState, metric: Metric, /) -> Background:
    """The part of the chart that no budget changes."""
    state.answers.front()
    version = state.answers.front_version
    return _background(state.artifact.path, state.artifact.digest, state.rules, metric, version)


def front_info(state: ViewState, answer: Solution, /) -> ParetoInfo:
    """The chart's record for the current state; what no budget changes is kept."""
    return pareto_info(front_background(state, state.metric), answer, state.scale, pins=state.pins)


def front_patch(state: ViewState, answer: Solution, /) -> Patch:
    """The marker of the current choice, for a chart that stands already."""
    info = front_info(state, answer)
    return Patch(CHART, (here_trace(info, state.mode),), pareto_alt(info))


def front_card(state: ViewState, answer: Solution, /) -> None:
    """Draw the card."""
    info = front_info(state, answer)
    front = state.answers.front()
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Predicted loss against size**")
            st.caption(f"{info.proven} of {len(front)} points proven; click one to go there")
            recall(state)
            as_table = st.toggle("Table", key="front_table", help="Show the numbers")
        if as_table:
            st.dataframe(_rows(state, front), height=HEIGHT, hide_index=True)
            return
        live_plot(
            pareto_figure(info, state.mode),
            key=CHART,
            alt=pareto_alt(info),
            height=HEIGHT + (0 if state.pins else ROOM),
            on_click=_go,
        )


def _go(point: Mapping[str, Any]) -> None:
    custom = point.get("custom")
    if isinstance(custom, int | float):
        view_state.set_avg_bits(float(custom), move_thumb=True)


def _rows(state: ViewState, front: Sequence[Solution]) -> dict[str, list[Any]]:
    return {
        state.scale.axis_title: [number(state.scale.of_assignment(s.assignment)) for s in front],
        "Average bits": [round(s.assignment.avg_bits, 3) for s in front],
        "Predicted loss increase": [s.predicted_loss_increase for s in front],
        "Status": [s.status.value for s in front],
        "Relative gap": [s.gap for s in front],
    }
