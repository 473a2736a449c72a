"""What follows the thumb: a fragment of its own, so that a drag runs nothing else."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from clado_core import Solution
from dashboard.cards.budget import budget_card, readout
from dashboard.cards.front import front_patch
from dashboard.cards.layers import layers_patch
from dashboard.cards.rules import price_caption
from dashboard.cards.tiles import draw_tiles
from dashboard.state import view_state
from dashboard.state.view_state import ViewState

ONE_AT_A_TIME = threading.Lock()
"""Held by a step of a drag: visitors who drag at once would share the one interpreter evenly, and
each wait as long as the last. One after the other, twenty were measured to wait 60 % as long."""


@dataclass(frozen=True, slots=True)
class Places:
    """Containers of the page that a drag draws into."""

    slider: DeltaGenerator
    readout: DeltaGenerator
    tiles: DeltaGenerator
    prices: DeltaGenerator


@st.fragment
def follow(places: Places) -> None:
    """Draw all that the budget alone changes; the charts are there and get what moves in them."""
    state = view_state.current()
    dragging = view_state.dragging()
    with ONE_AT_A_TIME if dragging else nullcontext():
        _draw(places, state, dragging=dragging)


def _draw(places: Places, state: ViewState, /, *, dragging: bool) -> None:
    answer = answer_now(state, dragging=dragging)
    with places.slider:
        patches = (front_patch(state, answer), layers_patch(state, answer)) if dragging else ()
        budget_card(state, patches)
    with places.readout:
        readout(state, answer, dragging=dragging)
    with places.tiles:
        draw_tiles(state, answer, dragging=dragging)
    with places.prices:
        price_caption(state, answer, dragging=dragging)


def answer_now(state: ViewState, /, *, dragging: bool = False) -> Solution:
    """The best answer that the moment allows."""
    return state.answer(thorough=not dragging)
