"""The front card: chart, or the same numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from clado_core import Solution
from dashboard import baselines, view_state
from dashboard.answers import proven
from dashboard.components import live_plot
from dashboard.figures.pareto import ParetoInfo, pareto_alt, pareto_figure, pareto_info
from dashboard.theme import number
from dashboard.view_state import ViewState

HEIGHT = 360


def front_info(state: ViewState, answer: Solution, front: Sequence[Solution], /) -> ParetoInfo:
    """The chart's record for the current state."""
    return pareto_info(
        front,
        answer,
        state.scale,
        diagonal=baselines.diagonal_front(state.artifact, state.locks),
        uniform=baselines.uniform(state.matrix),
        pins=state.pins,
        knee=baselines.knee(front),
        proven=proven(front),
    )


def front_card(state: ViewState, answer: Solution, front: Sequence[Solution], /) -> None:
    """Draw the card."""
    info = front_info(state, answer, front)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Predicted loss against size**")
            st.caption(f"{info.proven} of {len(front)} points proven; click one to go there")
            as_table = st.toggle("Table", key="front_table", help="Show the numbers")
        if as_table:
            st.dataframe(_rows(state, front), height=HEIGHT, hide_index=True)
            return
        live_plot(
            pareto_figure(info, state.mode),
            key="front_plot",
            alt=pareto_alt(info),
            height=HEIGHT,
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
