"""The budget card: the slider, what it means in bytes, and the state of the proof."""

from __future__ import annotations

import streamlit as st

from clado_core import Solution
from dashboard.cards.status import status_chip
from dashboard.components import Budget, Patch, Tick, live_slider
from dashboard.known import other_methods
from dashboard.known.answers import Answers
from dashboard.scale import Metric, round_up, size_scale
from dashboard.state import view_state
from dashboard.state.view_state import ViewState
from dashboard.theme import megabytes, number

SLIDER = "budget_slider"


def ticks(state: ViewState, knee: float | None, /) -> list[Tick]:
    """Marks at uniform allocations and at the knee of the front."""
    low, high = view_state.avg_range(state)
    marks = [
        Tick(float(b), f"{b}-bit", f"Every layer at {b} bits")
        for b in state.matrix.bit_widths
        if low <= b <= high
    ]
    near = (high - low) * 0.05
    if knee is not None and all(abs(knee - mark.value) > near for mark in marks):
        marks.append(Tick(knee, "knee", "Where more bits begin to buy little", "knee"))
    return marks


def _knee(known: Answers) -> float | None:
    knee = other_methods.knee(known.front())
    return None if knee is None else round_up(knee.assignment.avg_bits)


def budget_card(state: ViewState, patches: tuple[Patch, ...] = (), /) -> None:
    """The slider; its callbacks run before the page does, so the state is already new."""
    knee = state.answers.derived("knee", lambda: _knee(state.answers))
    low, high = view_state.avg_range(state)
    live_slider(
        "Budget in average bits per weight",
        Budget(
            value=round(state.avg_bits, 4),
            minimum=low,
            maximum=high,
            ticks=ticks(state, knee),
            revision=st.session_state.get(view_state.REVISION, 0),
            patches=patches,
        ),
        key=SLIDER,
        on_move=lambda value: view_state.set_avg_bits(value, move_thumb=False, write_url=False),
        on_commit=_commit,
    )


def _commit(value: float) -> None:
    view_state.set_avg_bits(value, move_thumb=False)
    # The slider's own fragment is what a drag runs; a choice that is made redraws the page.
    st.rerun(view_state.EXPLORE)


def readout(state: ViewState, answer: Solution, /, *, dragging: bool) -> None:
    """The budget in all three units, then the state of the proof."""
    used, size = answer.assignment.avg_bits, answer.assignment.size_bytes
    smaller = size_scale(state.matrix, Metric.COMPRESSION).of_bytes(size)
    st.markdown(
        f"Uses **{used:.2f}** of {state.avg_bits:.2f} bits · **{megabytes(size)}** · "
        f"**{number(smaller)}×** smaller"
    )
    status_chip(state, answer, dragging=dragging)
