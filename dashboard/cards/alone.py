"""The per-layer card: what each layer costs alone, and how firmly its bit-width stands."""

from __future__ import annotations

import streamlit as st

from clado_core import Solution
from dashboard.cards.chart import Chart, draw_chart
from dashboard.cards.heat import known_cells
from dashboard.figures.sensitivity import (
    sensitivity_alt,
    sensitivity_figure,
    sensitivity_info,
    sensitivity_rows,
)
from dashboard.known import uncertainty
from dashboard.state.view_state import ViewState

HEIGHT = 270


def alone_card(state: ViewState, answer: Solution, /) -> None:
    """Draw the card."""
    known = known_cells(state.artifact)
    found = uncertainty.stability(state.artifact, state.rules, state.budget_bits)
    info = sensitivity_info(
        state.matrix,
        answer.assignment,
        errors=known.errors,
        kept=None if found is None else found.kept,
    )
    chart = Chart(
        title="Each layer alone",
        key="alone_plot",
        figure=lambda: sensitivity_figure(info, state.mode),
        alt=sensitivity_alt(info),
        rows=lambda: sensitivity_rows(info),
        help=f"{info.title.capitalize()} with this layer alone quantized; a ring marks the "
        "bit-width of the current choice. Bars reach two standard errors either way.",
    )
    draw_chart(chart, height=HEIGHT)
    if found is None:
        st.caption(uncertainty.lacks_spread(state.matrix))
        return
    firm = int((found.kept >= 0.9).sum())
    loose = sorted(range(len(info.names)), key=lambda i: (found.kept[i], i))[:3]
    named = ", ".join(f"{info.names[i]} ({found.kept[i]:.0%})" for i in loose)
    st.caption(
        f"With the samples drawn again {found.n_resamples} times, {firm} of {len(info.names)} "
        f"layers keep their bit-width in at least 9 of 10 draws; least firm: {named}. "
        f"{found.caveat}"
    )
