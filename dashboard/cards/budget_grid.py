"""Two budgets: an expander with the least predicted loss within sizes and bit operations."""

from __future__ import annotations

import streamlit as st

from dashboard.cards import trials
from dashboard.cards.chart import Chart, draw_chart
from dashboard.figures.budget_grid import grid_alt, grid_figure, grid_info, grid_rows
from dashboard.known import catalogue
from dashboard.scale import Metric, metrics_of
from dashboard.state.view_state import ViewState
from dashboard.workers.budget_grid import SolveGrid, last_grid
from dashboard.workers.trials import TrialState

HEIGHT = 400
OPEN, OWNER = "clado_grid_open", "grid"


def budget_grid_card(state: ViewState, /) -> None:
    """An expander, drawn only while open; none where bit operations are not known."""
    if Metric.BOPS not in metrics_of(state.matrix):
        return
    expander = st.expander(
        "Two budgets: size and bit operations",
        key=OPEN,
        on_change="rerun",
        icon=":material/grid_on:",
    )
    if not expander.open:
        return
    with expander:

        def draw(latest: TrialState | None) -> None:
            if latest is not None and latest.running:
                trials.progress(latest, OWNER)
                return
            trials.ended(latest, state.artifact, (SolveGrid,))
            _contents(state)

        trials.follow(state.artifact, draw)


def _contents(state: ViewState) -> None:
    artifact, folder = state.artifact, catalogue.trials_folder()
    wish = SolveGrid(
        name=artifact.name,
        artifact=artifact.path,
        digest=artifact.digest,
        rules=state.rules,
        folder=str(folder),
    )
    result = last_grid(folder, artifact.digest, state.rules)
    if result is None:
        st.caption("The least predicted loss within every pair of a size and a limit on operations")
        st.button("Solve", key="grid-solve", on_click=trials.start, args=(wish,))
        return
    info = grid_info(result, state.matrix.layers.total_weights)
    chart = Chart(
        title="Predicted loss within both",
        key="grid_plot",
        figure=lambda: grid_figure(info, state.mode),
        alt=grid_alt(info),
        rows=lambda: grid_rows(info),
        help="The least predicted loss of any choice within a size (across) and a limit on bit "
        "operations (up). Choices lie between the lines: outside, one of the two limits nothing. A "
        "star: not proven. `solve --avg-bits X --bops Y` gives a cell's choice.",
    )
    draw_chart(chart, height=HEIGHT)
