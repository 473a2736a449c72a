"""The bits card: one bar per layer, and the rules about layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from clado_core import Solution
from dashboard.cards.heat import cells_of
from dashboard.cards.pairs import SELECTED
from dashboard.cards.rules import LAYER, lock_row, rules_popover
from dashboard.components import Patch, live_plot
from dashboard.figures.bits import BitsInfo, bits_alt, bits_figure, bits_info, moving_traces
from dashboard.figures.cells import View, interaction_alt
from dashboard.figures.interaction import mini_figure
from dashboard.state.view_state import ViewState

HEIGHT, MINI = 224, 98
CHART, WIDE = "bits_plot", "bits_wide"


def _info(state: ViewState, answer: Solution) -> BitsInfo:
    return bits_info(
        answer.assignment,
        state.matrix.bit_widths,
        reference=state.reference,
        locked=dict(state.rules.locks),
        ties=state.rules.ties,
    )


def layers_patch(state: ViewState, answer: Solution, /) -> Patch:
    """The bars, for a chart that stands already."""
    info, wide = _info(state, answer), bool(st.session_state.get(WIDE))
    traces = moving_traces(info, state.mode, by_weights=wide)
    return Patch(CHART, tuple(traces), bits_alt(info))


def layers_card(state: ViewState, answer: Solution, /) -> DeltaGenerator:
    """Draw the card; returns the place of the line of prices."""
    info = _info(state, answer)
    names = state.matrix.layers.names

    def select(point: Mapping[str, Any]) -> None:
        custom = point.get("custom")
        if isinstance(custom, int) and custom < len(names):
            st.session_state[LAYER] = names[custom]

    with st.container(border=True, key="card-bits"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Bits per layer**")
            if count := state.rules.count:
                st.caption("1 rule" if count == 1 else f"{count} rules", width="content")
            st.space("stretch")
            rules_popover(state, answer)
            wide = st.toggle("By weights", key=WIDE, help="Width: share of all weights")
            as_table = st.toggle("Table", key="bits_table", help="Show the numbers")
        if as_table:
            st.dataframe(_rows(info), height=HEIGHT, hide_index=True)
        else:
            live_plot(
                bits_figure(info, state.mode, by_weights=wide),
                key=CHART,
                alt=bits_alt(info),
                height=HEIGHT,
                on_click=select,
            )
        lock_row(state)
        if state.matrix.n_layers < 2:
            return st.container()
        left, right = st.columns([72, 28], vertical_alignment="center")
        with right:
            _mini(state)
        return left.container()


def _mini(state: ViewState) -> None:
    """The cross-layer terms as a stamp: a bar under the pointer frames its row and column."""
    cells = cells_of(state.artifact, View())

    def select(point: Mapping[str, Any]) -> None:
        st.session_state[SELECTED] = (False, int(point["y"]), int(point["x"]))

    live_plot(
        mini_figure(cells, state.mode),
        key="mini_plot",
        alt=interaction_alt(cells),
        height=MINI,
        on_click=select,
        bare=True,
    )


def _rows(info: BitsInfo) -> dict[str, list[Any]]:
    return {
        "Layer": list(info.names),
        "Bits": list(info.bits),
        "Before": list(info.before),
        "Weights": list(info.n_weights),
        "Locked": [i in info.locked for i in range(len(info.names))],
        "Tied": [
            next((k + 1 for k, g in enumerate(info.ties) if i in g), None)
            for i in range(len(info.names))
        ],
    }
