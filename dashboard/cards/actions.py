"""Pin, share and export the current choice."""

from __future__ import annotations

import streamlit as st

from clado_core import Solution
from dashboard import links, view_state
from dashboard.view_state import ViewState


def actions(state: ViewState, answer: Solution, /) -> None:
    """A row of buttons with their keys."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.button(
            "Pin",
            key="pin",
            icon=":material/keep:",
            shortcut="P",
            help="Keep this choice on the chart; differences are counted from it.",
            on_click=view_state.pin,
            args=(answer, state.artifact.digest),
        )
        with st.popover("Link", icon=":material/link:", help="An address that shows this choice"):
            st.code(links.link(state), language=None, wrap_lines=True)
