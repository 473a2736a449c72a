"""Explore: a budget in, the best bit-widths out, while the slider moves."""

import streamlit as st

from dashboard.cards.actions import actions
from dashboard.cards.budget_grid import budget_grid_card
from dashboard.cards.candidates import candidates_card
from dashboard.cards.changes import changes_card
from dashboard.cards.follow import Places, answer_now, follow
from dashboard.cards.front import front_card
from dashboard.cards.layers import layers_card
from dashboard.cards.refine import take_result
from dashboard.cards.run_buttons import run_buttons, take_trial
from dashboard.state import view_state


@st.fragment(key=view_state.EXPLORE)
def explore() -> None:
    """The page, once for every choice that is made; a drag runs ``follow`` alone."""
    view_state.end_drag()
    take_result()
    take_trial(view_state.current())
    state = view_state.current()
    answer = answer_now(state)
    with st.container(
        border=True,
        horizontal=True,
        vertical_alignment="center",
        gap="medium",
        key="card-budget",
    ):
        with st.container(width="stretch"):
            slider = st.container()
            run_buttons(state, answer)
        readout = st.container(width=440)
        with st.container(width=350):
            actions(state, answer)
    tiles = st.container(key="card-tiles")
    front_column, layers_column = st.columns([58, 42])
    with front_column:
        front_card(state)
    with layers_column:
        prices = layers_card(state, answer)
    follow(Places(slider, readout, tiles, prices))
    changes_card(state, answer)
    candidates_card(state, answer)
    budget_grid_card(state)


explore()
