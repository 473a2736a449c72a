"""The bits card: one bar per layer, and locking a layer at a bit-width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from clado_core import Solution
from dashboard import artifacts, view_state
from dashboard.components import live_plot
from dashboard.figures.bits import BitsInfo, bits_alt, bits_figure, bits_info
from dashboard.theme import megabytes, signed
from dashboard.view_state import ViewState

HEIGHT = 308
LAYER, LOCK, FREE = "clado_layer", "clado_lock", "Free"


def layers_card(state: ViewState, answer: Solution, /) -> None:
    """Draw the card."""
    info = bits_info(
        answer.assignment,
        state.matrix.bit_widths,
        reference=state.reference,
        locked=dict(state.locks),
    )
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Bits per layer**")
            st.caption("outlined: changed from the pin" if state.pins else "click a bar to lock it")
            wide = st.toggle("By weights", key="bits_wide", help="Width: share of all weights")
            as_table = st.toggle("Table", key="bits_table", help="Show the numbers")
        if as_table:
            st.dataframe(_rows(info), height=HEIGHT, hide_index=True)
        else:
            live_plot(
                bits_figure(info, state.mode, by_weights=wide),
                key="bits_plot",
                alt=bits_alt(info),
                height=HEIGHT,
                on_click=_select,
            )
        _lock_row(state, answer)


def _select(point: Mapping[str, Any]) -> None:
    names = st.session_state.get("clado_layer_names", ())
    custom = point.get("custom")
    if isinstance(custom, int) and custom < len(names):
        st.session_state[LAYER] = names[custom]


def _lock_row(state: ViewState, answer: Solution) -> None:
    """Choose a layer, lock it, and read what the lock costs."""
    names = st.session_state["clado_layer_names"] = state.matrix.layers.names
    if st.session_state.get(LAYER) not in names:
        st.session_state[LAYER] = names[0]
    locks = dict(state.locks)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.selectbox("Layer", names, key=LAYER, label_visibility="collapsed", width=190)
        layer = st.session_state[LAYER]
        key = f"{LOCK}_{state.artifact.digest[:8]}_{layer}"
        st.session_state[key] = str(locks.get(layer, FREE))
        st.segmented_control(
            "Lock at",
            [FREE, *map(str, state.matrix.bit_widths)],
            key=key,
            label_visibility="collapsed",
            on_change=_set_lock,
            args=(state.artifact.digest, layer, key),
        )
        st.caption(_price(state, answer), width="content")


def _set_lock(digest: str, layer: str, key: str) -> None:
    chosen = st.session_state[key]
    view_state.lock(digest, layer, None if chosen in (None, FREE) else int(chosen))


def _price(state: ViewState, answer: Solution) -> str:
    """What all locks together cost at this budget."""
    if not state.locks:
        return "no layer locked"
    free = artifacts.answers(state.artifact).quick(state.budget_bits, thorough=False)
    cost = answer.predicted_loss_increase - free.predicted_loss_increase
    size = answer.assignment.size_bytes - free.assignment.size_bytes
    count = f"{len(state.locks)} locked"
    return f"{count}: predicted loss {signed(cost)}, {megabytes(size)}"


def _rows(info: BitsInfo) -> dict[str, list[Any]]:
    return {
        "Layer": list(info.names),
        "Bits": list(info.bits),
        "Before": list(info.before),
        "Weights": list(info.n_weights),
        "Locked": [i in info.locked for i in range(len(info.names))],
    }
