"""Walk along the front, pin, recall and share."""

from __future__ import annotations

import streamlit as st

from clado_core import Solution
from clado_core.records import names
from dashboard.cards.refine import refine_popover
from dashboard.components.copy_link import copy_link
from dashboard.scale import round_up
from dashboard.state import links, view_state
from dashboard.state.view_state import ViewState

KEYS = """
| key | does |
|---|---|
| ← → | budget by one step, on the slider |
| Page Up, Page Down | budget by ten steps |
| Home, End | smallest, largest budget |
| Shift + ← → | the next point of the front |
| P | pin this choice |
| 1 … 5 | go back to a pin |
| L | copy the link |
| E | download, on Export |
| Esc | close what is open |
"""


def actions(state: ViewState, answer: Solution, /) -> None:
    """Two rows of buttons with their keys."""
    smaller, larger = neighbours(state, answer)
    row = st.container(horizontal=True, gap="small")
    _step(row, "Smaller", "Left", smaller)
    _step(row, "Larger", "Right", larger)
    row = st.container(horizontal=True, gap="small")
    row.button(
        "Pin",
        key="pin",
        icon=":material/keep:",
        shortcut="P",
        width="stretch",
        help="Keep this choice on the chart; differences are counted from it.",
        on_click=view_state.pin,
        args=(answer, state.artifact.digest),
    )
    with row:
        refine_popover(state)
        copy_link(links.link(state), key="copy-link")


def neighbours(state: ViewState, answer: Solution, /) -> tuple[float | None, float | None]:
    """Budgets of the front's points beside the current choice, in average bits."""
    sizes = [round_up(s.assignment.avg_bits) for s in state.answers.front()]
    here = answer.assignment.avg_bits
    smaller = [size for size in sizes if size < here - 1e-9]
    larger = [size for size in sizes if size > max(here, state.avg_bits) + 2e-4]
    return (max(smaller, default=None), min(larger, default=None))


def _step(place: st.delta_generator.DeltaGenerator, label: str, key: str, to: float | None) -> None:
    place.button(
        label,
        key=f"front-{key.lower()}",
        shortcut=f"Shift+{key}",
        width="stretch",
        disabled=to is None,
        help=f"The next {label.lower()} point of the front (Shift + {key.lower()} arrow)",
        on_click=_go,
        args=(to,),
    )


def recall(state: ViewState, /) -> None:
    """One button per pin."""
    for i, pin in enumerate(state.pins):
        avg_bits = pin.assignment.avg_bits
        refined = pin.method == names.REFINED
        st.button(
            f"{avg_bits:.2f}",
            key=f"recall-{i}",
            type="tertiary",
            icon=f":material/{'labs' if refined else 'keep'}:",
            shortcut=str(i + 1),
            help=f"Go back to pin {i + 1}{', chosen by measured loss' if refined else ''}",
            on_click=_recall,
            args=(state, pin),
        )


def _recall(state: ViewState, pin: Solution) -> None:
    view_state.go_back(state, pin)
    st.rerun(view_state.EXPLORE)  # the buttons stand in the chart's own fragment


def keys_help() -> None:
    """What the keyboard does."""
    with st.popover("Keys", icon=":material/keyboard:", type="tertiary", help="Keyboard"):
        st.markdown(KEYS)


def _go(avg_bits: float | None) -> None:
    if avg_bits is not None:
        view_state.set_avg_bits(avg_bits, move_thumb=True)
