"""Interactions: which layers hurt each other, and which compensate."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from clado_core.diagnostics import diagnose
from dashboard import baselines, pairs, view_state
from dashboard.components import live_plot
from dashboard.figures.interaction import (
    InteractionInfo,
    Order,
    interaction_alt,
    interaction_figure,
    interaction_info,
)
from dashboard.theme import percent, signed

HEIGHT = 570
SELECTED = "clado_pair"
LAYERS, CANDIDATES = "Layers", "Candidates"

state = view_state.current()
matrix, names = state.matrix, state.matrix.layers.names
answer = state.answers.quick(state.budget_bits, thorough=True)
chosen = answer.assignment


@st.cache_data(max_entries=16, show_spinner=False)
def cross_share(digest: str) -> float:
    """Weight of the cross-layer terms."""
    return diagnose(matrix).cross_layer_share


def headline() -> str:
    """What the interactions change, in one sentence."""
    additive = baselines.diagonal_at(state.artifact, state.budget_bits, state.rules)
    changed = len(chosen.changes_from(additive.assignment))
    cost = additive.predicted_loss_increase - answer.predicted_loss_increase
    return (
        f"Cross-layer terms are **{percent(cross_share(state.artifact.digest))}** of the total "
        f"by magnitude; ignoring them changes the bit-width of **{changed} of {len(names)}** "
        f"layers at {state.avg_bits:.2f} average bits and costs {signed(cost)} predicted loss."
    )


def select(info: InteractionInfo) -> Any:
    """Remembers the clicked cell as two network positions."""

    def clicked(point: Mapping[str, Any]) -> None:
        i, j = info.rows[int(point["y"])], info.rows[int(point["x"])]
        st.session_state[SELECTED] = (len(info.rows) > len(names), i, j)

    return clicked


def selected_pair() -> pairs.Pair:
    """The clicked pair; before any click the strongest one."""
    fine, i, j = st.session_state.get(SELECTED, (True, 0, 0))
    B = matrix.n_bits
    first, second = (i // B, j // B) if fine else (i, j)
    if first == second or max(first, second) >= len(names):
        return pairs.top_pairs(matrix, chosen, count=1)[0]
    if fine:
        widths = matrix.bit_widths
        return pairs.pair(matrix, (first, widths[i % B]), (second, widths[j % B]), chosen)
    return pairs.strongest_between(matrix, i, j, chosen)


def pair_card() -> None:
    """The selected pair: each alone, both together, the difference."""
    found = selected_pair()
    (i, b), (j, c) = found.first, found.second
    st.markdown(f"**{names[i]}** at {b} bits × **{names[j]}** at {c} bits")
    columns = st.columns(3)
    columns[0].metric("Alone, sum", signed(sum(found.alone)), help="Measured loss increases added.")
    columns[1].metric("Together", signed(found.together), help="Both quantized at once.")
    columns[2].metric("Cross term", signed(found.cross), help="Together minus the sum.")
    effect = "hurt each other" if found.cross > 0 else "compensate each other"
    paid = "pays this term" if found.paid else "does not pay this term"
    rank = f"{percent(found.stronger)} of all cross terms are stronger"
    if found.stronger == 0:
        rank = "no cross term is stronger"
    st.caption(f"They {effect}; {rank}. The current choice {paid}.")


def top_table() -> None:
    """The strongest pairs of candidates."""
    rows = [
        {
            "Layer": names[p.first[0]],
            "Bits": p.first[1],
            "With": names[p.second[0]],
            "Bits ": p.second[1],
            "Cross term": p.cross,
            "Chosen": p.paid,
        }
        for p in pairs.top_pairs(matrix, chosen)
    ]
    st.dataframe(
        rows,
        hide_index=True,
        height=402,
        column_config={"Cross term": st.column_config.NumberColumn(format="%+.3g")},
        alt="The twenty strongest cross terms",
    )


st.markdown(headline())
if len(names) < 2:
    st.caption("A network of one layer has no pairs.")
    st.stop()
left, right = st.columns([54, 46])
with left, st.container(border=True):
    with st.container(horizontal=True, vertical_alignment="center"):
        view = st.segmented_control(
            "Rows",
            [LAYERS, CANDIDATES],
            default=LAYERS,
            required=True,
            key="heat_view",
            label_visibility="collapsed",
        )
        order = st.segmented_control(
            "Order",
            [o.value for o in Order],
            default=Order.NETWORK.value,
            required=True,
            key="heat_order",
            label_visibility="collapsed",
        )
        hide = st.toggle("Hide diagonal", value=True, key="heat_hide")
        log = st.toggle("Log colours", value=True, key="heat_log")
    cells = interaction_info(
        matrix, candidates=view == CANDIDATES, order=Order(order), hide_diagonal=hide
    )
    live_plot(
        interaction_figure(cells, state.mode, log=log),
        key="heat_plot",
        alt=interaction_alt(cells),
        height=HEIGHT,
        on_click=select(cells),
    )
    st.caption(
        "Positive: the two hurt each other more than the sum of each alone. Negative: they "
        "compensate. Layers: the strongest term over all bit-widths. Click a cell for its numbers."
    )
with right:
    with st.container(border=True):
        pair_card()
    with st.container(border=True):
        st.markdown("**Strongest pairs**")
        top_table()
