"""Interactions: which layers hurt each other, and which compensate."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

import clado_core as cc
from clado_core.diagnostics import diagnose
from dashboard import artifacts, baselines, view_state
from dashboard.artifacts import Artifact
from dashboard.cards.pairs import SELECTED, pair_card, selected_pair, top_table
from dashboard.components import live_plot
from dashboard.figures.interaction import (
    Fold,
    InteractionInfo,
    Order,
    interaction_alt,
    interaction_figure,
    interaction_info,
)
from dashboard.theme import percent, signed

HEIGHT = 548
LAYERS, CANDIDATES = "Layers", "Candidates"
MAX_ROWS = 400
"""More candidates than this are drawn layer by layer: the browser would take seconds."""

state = view_state.current()
names = state.matrix.layers.names
answer = state.answers.quick(state.budget_bits, thorough=True)
chosen = answer.assignment


@st.cache_data(max_entries=16, show_spinner=False)
def cross_share(path: str, digest: str) -> float:
    """Weight of the cross-layer terms."""
    return diagnose(artifacts.matrix(Artifact("", path, digest))).cross_layer_share


@st.cache_resource(max_entries=8, show_spinner=False)
def clipped(path: str, digest: str) -> cc.SensitivityMatrix:
    """What the paper minimizes: negative eigenvalues set to zero."""
    return artifacts.matrix(Artifact("", path, digest)).project_psd()


@st.cache_resource(max_entries=32, show_spinner=False)
def cells_of(
    path: str, digest: str, psd: bool, candidates: bool, fold: Fold, order: Order, hide: bool
) -> InteractionInfo:
    """The heatmap's record; it does not follow the budget."""
    matrix = clipped(path, digest) if psd else artifacts.matrix(Artifact("", path, digest))
    return interaction_info(
        matrix, candidates=candidates, fold=fold, order=order, hide_diagonal=hide
    )


def headline() -> str:
    """What the interactions change, in one sentence."""
    additive = baselines.choice_of(
        baselines.DIAGONAL, state.artifact, state.budget_bits, state.rules
    )
    changed = len(chosen.changes_from(additive.assignment))
    cost = additive.predicted_loss_increase - answer.predicted_loss_increase
    share = cross_share(state.artifact.path, state.artifact.digest)
    return (
        f"Cross-layer terms are **{percent(share)}** of the total by magnitude; ignoring them "
        f"changes the bit-width of **{changed} of {len(names)}** layers at "
        f"{state.avg_bits:.2f} average bits and costs {signed(cost)} predicted loss."
    )


def choice(label: str, options: list[str], key: str) -> str:
    """A segmented control without a visible label."""
    picked = st.segmented_control(
        label, options, default=options[0], required=True, key=key, label_visibility="collapsed"
    )
    return str(picked)


def select(info: InteractionInfo) -> Callable[[Mapping[str, Any]], None]:
    """Remembers the clicked cell as two network positions."""

    def clicked(point: Mapping[str, Any]) -> None:
        i, j = info.rows[int(point["y"])], info.rows[int(point["x"])]
        st.session_state[SELECTED] = (len(info.rows) > len(names), i, j)

    return clicked


st.markdown(headline())
if len(names) < 2:
    st.caption("A network of one layer has no pairs.")
    st.stop()
too_many = len(state.matrix.G) > MAX_ROWS
pair = selected_pair(state.matrix, chosen)
left, right = st.columns([54, 46])
with left, st.container(border=True):
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        view = choice("Rows", [LAYERS] if too_many else [LAYERS, CANDIDATES], "heat_view")
        order = choice("Order", [o.value for o in Order], "heat_order")
        fold = choice("Cells", [f.value for f in Fold], "heat_fold") if view == LAYERS else None
    with st.container(horizontal=True, vertical_alignment="center"):
        hide = st.toggle("Hide diagonal", value=True, key="heat_hide")
        log = st.toggle("Log colours", value=True, key="heat_log")
        psd = st.toggle(
            "PSD-clipped",
            key="heat_psd",
            help="Negative eigenvalues set to zero, as the paper solves it; numbers beside the "
            "chart stay the measured ones.",
        )
    cells = cells_of(
        state.artifact.path,
        state.artifact.digest,
        psd,
        view == CANDIDATES,
        Fold(fold) if fold else Fold.STRONGEST,
        Order(order),
        hide,
    )
    B, widths = state.matrix.n_bits, state.matrix.bit_widths
    framed = [
        i if view == LAYERS else i * B + widths.index(b) for i, b in (pair.first, pair.second)
    ]
    live_plot(
        interaction_figure(cells, state.mode, log=log, selected=(framed[0], framed[1])),
        key="heat_plot",
        alt=interaction_alt(cells),
        height=HEIGHT,
        on_click=select(cells),
    )
    st.caption(
        "Positive: the two hurt each other more than the sum of each alone. Negative: they "
        "compensate. Click a cell for its numbers."
        + (" Too many candidates for one chart: layers are shown." if too_many else "")
    )
with right:
    with st.container(border=True):
        pair_card(state.matrix, pair)
    with st.container(border=True):
        top_table(state.matrix, chosen)
