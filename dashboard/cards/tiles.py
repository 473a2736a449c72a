"""The four numbers of a choice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

import streamlit as st

from clado_core import Solution
from clado_core.records.coverage import coverage
from dashboard.known import other_methods
from dashboard.state.view_state import ViewState
from dashboard.theme import megabytes, number, percent, signed

Direction: TypeAlias = Literal[-1, 0, 1]
NEWS: dict[Direction, Literal["green", "gray", "red"]] = {-1: "green", 0: "gray", 1: "red"}


def direction(change: float, /) -> Direction:
    """Less is good news."""
    return -1 if change < 0 else 1 if change > 0 else 0


@dataclass(frozen=True, slots=True)
class Tile:
    """One metric card.

    Args:
        label: What it is.
        value: With its unit.
        note: A second line; "" for none.
        help: One sentence.
        direction: −1 where the note is good news, 1 where it is bad, 0 where it is neither.
    """

    label: str
    value: str
    note: str
    help: str
    direction: Direction = 0


def tiles(state: ViewState, answer: Solution, /) -> list[Tile]:
    """Compute them; the last pin is the reference of every difference."""
    pin = state.pins[-1] if state.pins else None
    loss = answer.predicted_loss_increase
    against = "vs pin" if pin else ""
    change = loss - pin.predicted_loss_increase if pin else 0.0
    more = answer.assignment.size_bytes - pin.assignment.size_bytes if pin else 0
    return [
        Tile(
            "Predicted loss increase",
            signed(loss),
            f"{signed(change)} {against}" if pin else _base(state),
            f"Half of x'Gx, a quadratic prediction. {coverage(state.matrix).sentence} The "
            "quantized network itself was not run.",
            direction(change),
        ),
        Tile(
            "File size",
            megabytes(answer.assignment.size_bytes),
            f"{signed(more / 1e6)} MB {against}"
            if pin
            else "weights, scales, rest; MB = 10⁶ bytes",
            "The whole file: packed weights, scales, and everything left in float32.",
        ),
        _uniform_tile(state, answer),
        _changed_tile(state, answer),
    ]


def draw_tiles(state: ViewState, answer: Solution, /) -> None:
    """Four bordered metrics in a row."""
    with st.grid(4, min_column_width=165):
        for tile in tiles(state, answer):
            st.metric(
                tile.label,
                tile.value,
                delta=tile.note or None,
                delta_color=NEWS[tile.direction],
                delta_arrow="off",
                help=tile.help,
                border=True,
            )


def _base(state: ViewState) -> str:
    base = state.matrix.base_loss
    return "float loss not recorded" if base is None else f"float network's loss {number(base)}"


def _uniform_tile(state: ViewState, answer: Solution) -> Tile:
    """Against the largest uniform allocation that fits the same budget."""
    label, help_ = "Against uniform", "The largest uniform allocation that fits this budget."
    best = other_methods.uniform_within(
        state.artifact, state.budget_bits, state.rules, state.answers
    )
    if best is None:
        return Tile(label, "–", "no uniform allocation fits", help_)
    uniform = best.predicted_loss_increase
    saved = answer.predicted_loss_increase - uniform
    value = percent(saved / abs(uniform)) if uniform else signed(saved)
    value = f"+{value}" if saved > 0 else value.replace("-", "−")
    bits = Counter(best.assignment.bits).most_common(1)[0][0]
    note = f"predicted loss; uniform {bits}-bit: {signed(uniform)}"
    return Tile(label, value, note, help_, direction(saved))


def _changed_tile(state: ViewState, answer: Solution) -> Tile:
    if state.reference is None:
        counts = [answer.assignment.bits.count(b) for b in state.matrix.bit_widths]
        menu = "/".join(str(b) for b in state.matrix.bit_widths)
        value = " / ".join(str(count) for count in counts)
        return Tile(
            f"Layers at {menu} bits", value, "pin a choice to compare", "How many layers each."
        )
    changed = len(answer.assignment.changes_from(state.reference))
    return Tile(
        "Layers changed",
        f"{changed} of {state.matrix.n_layers}",
        f"vs pin {len(state.pins)}",
        "Layers whose bit-width differs from the last pinned choice.",
    )
