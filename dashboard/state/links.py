"""The address that shows a choice again, and what an address asks for."""

from __future__ import annotations

import contextlib
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

from clado_core import Solution
from clado_core.errors import CladoError
from clado_core.records import names
from dashboard import rules
from dashboard.scale import budget_bits, round_up
from dashboard.state import by_network, view_state
from dashboard.state.view_state import AVG_BITS, MODEL, ViewState
from dashboard.workers.refine import (
    bits_from_text,
    bits_to_text,
    refined_choice,
)

PINS_IN_LINK = "pins"
HELD_IN_LINK = "shown"
"""Which of the pins is shown, counted from 1."""


def link(state: ViewState, /) -> str:
    """The address that shows this choice again, pins and rules included."""
    parts = {key: st.query_params[key] for key in st.query_params}
    parts[MODEL] = state.artifact.name
    parts[AVG_BITS] = f"{state.avg_bits:g}"
    parts |= state.rules.to_query()
    if state.pins:
        parts[PINS_IN_LINK] = ",".join(map(_pin_to_text, state.pins))
    if state.held in state.pins:
        parts[HELD_IN_LINK] = str(state.pins.index(state.held) + 1)
    split = urlsplit(st.context.url or "http://localhost:8501/")
    query = urlencode(parts, safe=",:+")
    return urlunsplit((split.scheme, split.netloc, split.path, query, ""))


def join_url() -> None:
    """Adopt what the URL brings (a link, Back), else write ours into it."""
    state = _rules_from_url(view_state.current())
    asked = st.query_params.get(AVG_BITS)
    if asked is not None and asked != st.session_state.get(view_state.WRITTEN):
        _adopt_budget(state, asked)
    elif AVG_BITS in st.session_state:
        view_state.write_url(st.session_state[AVG_BITS])
    _pins_from_url(state)
    _held_from_url()


def _adopt_budget(state: ViewState, asked: str) -> None:
    low, high = view_state.avg_range(state)
    try:
        wanted = float(asked)
    except ValueError:
        wanted = float("nan")
    if not low - 1e-9 <= wanted <= high + 1e-9:
        shown = state.avg_bits if wanted != wanted else min(max(wanted, low), high)
        view_state.note(
            AVG_BITS,
            f"The link asks for {asked} average bits; possible are {low:g} to {high:g}, "
            f"so {shown:g} is shown.",
        )
        wanted = shown
    view_state.adopt(wanted, move_thumb=True)


def _rules_from_url(state: ViewState) -> ViewState:
    asked = {key: st.query_params[key] for key in rules.KEYS if key in st.query_params}
    if not asked:
        return state
    for key in asked:
        del st.query_params[key]
    # A "+" in a query string is a space to those who decode it.
    asked = {key: text.replace(" ", "+") for key, text in asked.items()}
    wanted, problems = rules.from_query(state.matrix, asked)
    by_network.rules()[state.artifact.digest] = wanted
    if problems:
        view_state.note("rules", " ".join(problems))
    return view_state.current()


def _pins_from_url(state: ViewState) -> None:
    asked = st.query_params.get(PINS_IN_LINK)
    if not asked:
        return
    del st.query_params[PINS_IN_LINK]
    low, high = view_state.avg_range(state)
    for part in asked.split(",")[: view_state.MAX_PINS]:
        with contextlib.suppress(ValueError, CladoError):
            if "-" in part:
                pinned = refined_choice(state.matrix, bits_from_text(part))
            else:
                bits = budget_bits(state.matrix, min(max(float(part), low), high))
                pinned = state.answers.quick(bits, thorough=True)
            view_state.pin(pinned, state.artifact.digest)


def _held_from_url() -> None:
    if HELD_IN_LINK not in st.query_params:
        return
    asked = st.query_params[HELD_IN_LINK]
    del st.query_params[HELD_IN_LINK]
    state = view_state.current()
    if asked.isdigit() and 1 <= int(asked) <= len(state.pins):
        view_state.hold(state, state.pins[int(asked) - 1], state.avg_bits)


def _pin_to_text(pinned: Solution) -> str:
    """Its size, where it is the best choice of that size; a refined one layer by layer."""
    if pinned.method == names.REFINED:
        return bits_to_text(pinned.assignment.bits)
    return f"{round_up(pinned.assignment.avg_bits):g}"
