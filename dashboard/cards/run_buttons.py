"""Explore's buttons that run the network, Repair and Measure, and the end of what they started."""

from __future__ import annotations

import streamlit as st

from clado_core import Solution
from dashboard.cards import trials
from dashboard.cards.measured import go_to, measure_contents
from dashboard.cards.repair import outcome, repair_contents, repaired_of
from dashboard.state.view_state import ViewState
from dashboard.workers.repair import Repair
from dashboard.workers.smallest import FindSmallest, smallest_from
from dashboard.workers.trials import TrialState

WIDTH = 460
REPAIR, MEASURE = "clado_repair_open", "clado_measure_open"
"""Whether the popovers are open."""


def run_buttons(state: ViewState, answer: Solution, /) -> None:
    """Two popovers, drawn only while open, and a line that says how far the run is."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        # The labels stay the same, because a popover whose label changes closes.
        repair = st.popover(
            "Repair",
            key=REPAIR,
            on_change="rerun",
            icon=":material/build:",
            help="A better network of the same bit-widths and bytes",
        )
        measure = st.popover(
            "Measure",
            key=MEASURE,
            on_change="rerun",
            icon=":material/speed:",
            help="Accuracy on held-out images, and the smallest size that keeps it",
        )
        line = st.container(width="stretch")
    places = repair.container(width=WIDTH), measure.container(width=WIDTH), line

    def draw(latest: TrialState | None) -> None:
        with places[0]:
            if repair.open:
                st.markdown("**Repair**")
                repair_contents(state, answer.assignment, latest, "repair")
        with places[1]:
            if measure.open:
                st.markdown("**Measure**")
                measure_contents(state, answer, latest)
        with places[2]:
            if latest is not None and latest.running:
                st.caption(f"{latest.wish.about}: {latest.counted}")

    trials.follow(state.artifact, draw)


def take_trial(state: ViewState, /) -> None:
    """Tell this session of the end of its run, and go to the size that a search has found."""
    ended = trials.taken()
    if ended is None:
        return
    wish, same = ended.wish, ended.wish.digest == state.artifact.digest
    if ended.result is None:
        said = "stopped" if ended.cancelled else ended.problem
    elif isinstance(wish, Repair):
        file = repaired_of(state, wish.assignment) if same else None
        said = "done." if file is None else outcome(file)
    elif isinstance(wish, FindSmallest) and same and wish.rules == state.rules:
        found = smallest_from(state.matrix, ended.result)
        go_to(state, found.chosen)
        said = f"the budget is now **{found.chosen.assignment.avg_bits:.2f} bits**."
    else:
        said = "done."
    if not (st.session_state.get(REPAIR) or st.session_state.get(MEASURE)):
        st.toast(f"{wish.about}: {said}", icon=":material/speed:")
