"""Explore: a budget in, the best bit-widths out, while the slider moves."""

import streamlit as st

from dashboard import view_state
from dashboard.cards.actions import actions
from dashboard.cards.budget import budget_card, readout
from dashboard.cards.candidates import candidates_card
from dashboard.cards.changes import changes_card
from dashboard.cards.front import front_card
from dashboard.cards.layers import layers_card
from dashboard.cards.tiles import draw_tiles


@st.fragment
def explore() -> None:
    """Everything that follows the budget: a fragment, so that only the latest value runs."""
    state = view_state.current()
    with st.container(border=True):
        left, right, buttons = st.columns([43, 34, 23], vertical_alignment="center", gap="medium")
        with left:
            budget_card(state)
        dragging = bool(st.session_state.get(view_state.DRAGGING))
        answer = state.answers.quick(state.budget_bits, thorough=not dragging)
        with right:
            readout(state, answer, dragging=dragging)
        with buttons:
            actions(state, answer)
    draw_tiles(state, answer)
    front_column, layers_column = st.columns([58, 42])
    with front_column:
        front_card(state, answer)
    with layers_column:
        layers_card(state, answer, dragging=dragging)
    changes_card(state, answer)
    candidates_card(state, answer)


explore()
