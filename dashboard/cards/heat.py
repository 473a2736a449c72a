"""The heatmap card: how the cells are shown, the chart, and a click on a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from dashboard.cards.chart import Chart, draw_chart
from dashboard.cards.pairs import SELECTED
from dashboard.figures.cells import (
    InteractionInfo,
    Known,
    View,
    interaction_alt,
    interaction_info,
    interaction_rows,
)
from dashboard.figures.interaction import interaction_figure
from dashboard.figures.terms import Fold, Order
from dashboard.known import caches, uncertainty
from dashboard.known.catalogue import Artifact
from dashboard.known.pairs import Pair
from dashboard.state.view_state import ViewState

HEIGHT = 470
LAYERS, CANDIDATES = "Layers", "Candidates"
MAX_ROWS = 400
"""More candidates than this are drawn layer by layer: the browser would take seconds."""


@st.cache_resource(max_entries=8, show_spinner=False)
def known_cells(artifact: Artifact, /) -> Known:
    """What was measured, and how well."""
    matrix = caches.matrix(artifact)
    return Known(uncertainty.measured_cells(matrix), uncertainty.term_errors(matrix))


@st.cache_resource(max_entries=32, show_spinner=False)
def cells_of(artifact: Artifact, view: View, /, *, psd: bool = False) -> InteractionInfo:
    """The heatmap's record; it does not follow the budget."""
    if psd:
        return interaction_info(
            caches.clipped(artifact), view, Known(known_cells(artifact).measured)
        )
    return interaction_info(caches.matrix(artifact), view, known_cells(artifact))


def heat_card(state: ViewState, pair: Pair, /) -> None:
    """Draw the card."""
    too_many = len(state.matrix.G) > MAX_ROWS
    view, psd, log = _controls(state, too_many=too_many)
    cells = cells_of(state.artifact, view, psd=psd)
    B, widths = state.matrix.n_bits, state.matrix.bit_widths
    first, second = (
        i * B + widths.index(b) if view.candidates else i for i, b in (pair.first, pair.second)
    )
    chart = Chart(
        title="Cross-layer terms",
        key="heat_plot",
        figure=lambda: interaction_figure(cells, state.mode, log=log, selected=(first, second)),
        alt=interaction_alt(cells),
        rows=lambda: interaction_rows(cells),
        help="What two layers quantized together cost beyond the sum of each alone. Hatched: not "
        "measured. Click a cell for its numbers.",
    )
    draw_chart(chart, height=HEIGHT, on_click=_select(cells, state.matrix.n_layers))
    st.caption(
        "Positive: the two hurt each other more than the sum of each alone. Negative: they "
        "compensate."
        + (" Too many candidates for one chart: layers are shown." if too_many else "")
    )


def _controls(state: ViewState, *, too_many: bool) -> tuple[View, bool, bool]:
    """What is shown, whether it is PSD-clipped, and whether colours are logarithmic."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        rows = _choice("Rows", [LAYERS] if too_many else [LAYERS, CANDIDATES], "heat_view")
        order = _choice("Order", [o.value for o in Order], "heat_order")
        fold = _choice("Cells", [f.value for f in Fold], "heat_fold") if rows == LAYERS else None
    with st.container(horizontal=True, vertical_alignment="center"):
        hide = st.toggle("Hide diagonal", value=True, key="heat_hide")
        log = st.toggle("Log colours", value=True, key="heat_log")
        psd = st.toggle(
            "PSD-clipped",
            key="heat_psd",
            help="Negative eigenvalues set to zero, as the paper solves it; numbers beside the "
            "chart stay those of the matrix itself.",
        )
        known = known_cells(state.artifact)
        noise = known.errors is not None and st.toggle(
            "Hide noise",
            key="heat_noise",
            help="Leave out terms within two standard errors of zero.",
        )
    view = View(
        candidates=rows == CANDIDATES,
        fold=Fold(fold) if fold else Fold.STRONGEST,
        order=Order(order),
        hide_diagonal=hide,
        hide_noise=noise,
    )
    return view, psd, log


def _choice(label: str, options: list[str], key: str) -> str:
    """A segmented control without a visible label."""
    picked = st.segmented_control(
        label, options, default=options[0], required=True, key=key, label_visibility="collapsed"
    )
    return str(picked)


def _select(info: InteractionInfo, n_layers: int) -> Callable[[Mapping[str, Any]], None]:
    """Remembers the clicked cell as two network positions."""

    def clicked(point: Mapping[str, Any]) -> None:
        i, j = info.rows[int(point["y"])], info.rows[int(point["x"])]
        st.session_state[SELECTED] = (len(info.rows) > n_layers, i, j)

    return clicked
