"""Candidates: brush, then keep, exclude, restore, or take the table away."""

from __future__ import annotations

import csv
import io

import numpy as np
import numpy.typing as npt
import streamlit as st

from clado_core import Solution
from clado_core.records.scheme import BitWidths
from dashboard.components import Ranges, live, live_plot
from dashboard.figures.parallel import (
    ParallelInfo,
    parallel_alt,
    parallel_figure,
    parallel_info,
    parallel_rows,
    within,
)
from dashboard.known import other_methods
from dashboard.state import by_network
from dashboard.state.view_state import ViewState

HEIGHT = 300
OPEN = "clado_candidates_open"
BRUSH, BRUSH_REVISION = "clado_brush", "clado_brush_revision"


def candidates_card(state: ViewState, answer: Solution, /) -> None:
    """An expander, drawn only while open."""
    expander = st.expander("Candidates", key=OPEN, on_change="rerun", icon=":material/ssid_chart:")
    if not expander.open:
        return
    with expander:
        left_out = by_network.left_out().setdefault(state.artifact.digest, set())
        rows = [(o, s) for o, s in collect(state, answer) if s.assignment.bits not in left_out]
        with st.container(horizontal=True, vertical_alignment="center"):
            every = st.toggle("With dominated ones", key="candidates_all")
            st.space("stretch")
            as_table = st.toggle("Table", key="candidates_table", help="Show the numbers")
        info = parallel_info(rows or [("current", answer)])
        if not every and not all(info.optimal):
            best = {bits for bits, ok in zip(info.bits, info.optimal, strict=True) if ok}
            info = parallel_info([(o, s) for o, s in rows if s.assignment.bits in best])
        if as_table:
            st.dataframe(parallel_rows(info), height=HEIGHT, hide_index=True)
        else:
            live_plot(
                parallel_figure(info, state.mode),
                key="candidates_plot",
                alt=parallel_alt(info),
                height=HEIGHT,
                on_brush=_brushed,
                revision=st.session_state.get(BRUSH_REVISION, 0),
            )
        _verbs(state, info, left_out)


def collect(state: ViewState, answer: Solution, /) -> list[tuple[str, Solution]]:
    """Everything that was found for this network under these rules, and what it is held against."""
    return [
        ("current", answer),
        *((f"pin {i + 1}", pin) for i, pin in enumerate(state.pins)),
        *(("front", s) for s in state.answers.front()),
        *(("found", s) for s in state.answers.known()),
        *(
            (method, s)
            for method in other_methods.methods(state.matrix)
            for s in other_methods.front_of(method, state.artifact, state.rules) or ()
        ),
        *(("uniform", s) for s in other_methods.uniform(state.matrix)),
    ]


def _brushed(ranges: Ranges) -> None:
    st.session_state[BRUSH] = ranges


def _verbs(state: ViewState, info: ParallelInfo, left_out: set[BitWidths]) -> None:
    inside = within(info, st.session_state.get(BRUSH) or [])
    brushed = not inside.all()
    chosen = (
        f"{inside.sum()} of {len(inside)} inside the brushes"
        if brushed
        else ("Drag along an axis to brush" if live() else "Brushing needs the live charts")
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, drop, help_ in (
            ("Keep", ~inside, "Leave out everything outside the brushes."),
            ("Exclude", inside, "Leave out everything inside the brushes."),
        ):
            st.button(
                label,
                key=f"candidates-{label.lower()}",
                disabled=not brushed or bool(drop.all()),
                help=help_,
                on_click=_leave_out,
                args=(left_out, info, drop),
            )
        st.button(
            "Restore",
            key="candidates-restore",
            disabled=not left_out and not brushed,
            help="Show all candidates again.",
            on_click=_restore,
            args=(left_out,),
        )
        st.download_button(
            "CSV",
            data=lambda: as_csv(state, info, inside),
            file_name=f"{state.artifact.name}_candidates.csv",
            mime="text/csv",
            on_click="ignore",
            icon=":material/download:",
            key="candidates-csv",
        )
        st.caption(chosen, width="content")


def as_csv(state: ViewState, info: ParallelInfo, inside: npt.NDArray[np.bool_], /) -> bytes:
    """One row per candidate inside the brushes: numbers, origin, bits per layer."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        ["origin", "avg_bits", "size_mb", "predicted_loss_increase", *state.matrix.layers.names]
    )
    for i in np.flatnonzero(inside):
        writer.writerow([info.origins[i], *map(float, info.values[i, :3]), *info.bits[i]])
    return text.getvalue().encode()


def _leave_out(left_out: set[BitWidths], info: ParallelInfo, drop: npt.NDArray[np.bool_]) -> None:
    left_out.update(info.bits[i] for i in np.flatnonzero(drop))
    _forget_brush()


def _restore(left_out: set[BitWidths]) -> None:
    left_out.clear()
    _forget_brush()


def _forget_brush() -> None:
    st.session_state[BRUSH] = None
    st.session_state[BRUSH_REVISION] = st.session_state.get(BRUSH_REVISION, 0) + 1
