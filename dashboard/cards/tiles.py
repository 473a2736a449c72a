"""The numbers of a choice: predicted, its size, measured, and against other choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import streamlit as st

from clado_core import Assignment, Solution
from clado_core.records.coverage import coverage
from clado_core.records.names import CLADO, REFINED, REPAIRED, ROUNDED
from clado_core.records.trust import CERTAIN, doubt, kind_of_doubt, prediction_error
from dashboard.figures.series import METHOD_NAMES
from dashboard.known import other_methods
from dashboard.known.measured_choices import measured, measured_of
from dashboard.state.view_state import ViewState
from dashboard.theme import accuracy, interval, megabytes, number, plus_minus, signed

DIAGONAL_HELP = (
    "Predicted loss increase less that of the choice that leaves interactions out, at the same "
    "budget, with the standard error of the difference. Where choices of about this size were run, "
    "their measured accuracy is given. Coloured only beyond two standard errors."
)
MEASURED_HELP = (
    "Top-1 of the quantized network on held-out images. Measure runs this choice, rounded to "
    "nearest and repaired."
)
NEAR_BITS = 0.06
OWN_METHODS = {"", CLADO, REFINED, "clado-repaired", "refined-repaired", "diagonal-repaired"}
"""Those that know what this method measured, here or on the repaired network."""

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


def tiles(state: ViewState, answer: Solution, /, *, dragging: bool = False) -> list[Tile]:
    """Compute them; the last pin is what differences are counted from, and adds a tile."""
    pin = state.pins[-1] if state.pins else None
    more = answer.assignment.size_bytes - pin.assignment.size_bytes if pin else 0
    return [
        _loss_tile(state, answer, pin),
        Tile(
            "File size",
            megabytes(answer.assignment.size_bytes),
            f"{signed(more / 1e6)} MB vs pin" if pin else "weights, scales, rest; MB = 10⁶ bytes",
            "The whole file: packed weights, scales, and everything left in float32.",
        ),
        _measured_tile(state, answer),
        _diagonal_tile(state, answer, dragging=dragging),
        *([] if pin is None else [_changed_tile(state, answer, pin.assignment)]),
    ]


def draw_tiles(state: ViewState, answer: Solution, /, *, dragging: bool = False) -> None:
    """Bordered metrics in a row."""
    shown = tiles(state, answer, dragging=dragging)
    with st.grid(len(shown), min_column_width=165):
        for tile in shown:
            st.metric(
                tile.label,
                tile.value,
                delta=tile.note or None,
                delta_color=NEWS[tile.direction],
                delta_arrow="off",
                help=tile.help,
                border=True,
            )


def _loss_tile(state: ViewState, answer: Solution, pin: Solution | None) -> Tile:
    label, loss = "Predicted loss increase", answer.predicted_loss_increase
    meaning = (
        f"Half of x'Gx, a quadratic prediction. {coverage(state.matrix).sentence} The "
        "quantized network itself was not run."
    )
    if against := doubt(state.matrix, answer.assignment.bits):
        note = f"{kind_of_doubt(against)}: {_base(state)}"
        return Tile(label, signed(loss), note, against, 1)
    if pin is None:
        return Tile(label, signed(loss), _base(state), meaning)
    change = loss - pin.predicted_loss_increase
    return Tile(label, signed(loss), f"{signed(change)} vs pin", meaning, direction(change))


def _measured_tile(state: ViewState, answer: Solution) -> Tile:
    """What running this choice gave, repaired if it was; never in place of what is predicted."""
    runs = measured_of(state.artifact, answer.assignment.bits)
    shown = runs.get(REPAIRED) or runs.get(ROUNDED)
    if shown is None:
        return Tile("Measured accuracy", "–", "this choice was not run", MEASURED_HELP)
    other = runs.get(ROUNDED)
    note = interval(shown.ci95) if other in (None, shown) else f"as rounded {accuracy(other.top1)}"
    ends = [f"as {run.measured_as} {interval(run.ci95)}" for run in runs.values()]
    help_ = (
        f"Top-1 on {shown.images.counted(shown.n)}; 95 % intervals: {', '.join(ends)}; the float "
        f"network: {accuracy(shown.float_top1)}."
    )
    return Tile(f"Measured as {shown.measured_as}", accuracy(shown.top1), note, help_)


def _base(state: ViewState) -> str:
    base = state.matrix.base_loss
    return "float loss not recorded" if base is None else f"float network's loss {number(base)}"


def _diagonal_tile(state: ViewState, answer: Solution, *, dragging: bool) -> Tile:
    """Against what the sensitivities alone, without interactions, would choose at this budget."""
    label = "Against diagonal only"
    other = other_methods.diagonal_within(
        state.artifact, state.budget_bits, state.rules, now=dragging
    )
    if other is None:
        front = other_methods.front_of(other_methods.DIAGONAL, state.artifact, state.rules)
        note = "still searched for" if front is None else "none is known this small"
        return Tile(label, "–", note, DIAGONAL_HELP)
    pair = (answer.assignment.bits, other.assignment.bits)
    if any(doubt(state.matrix, bits) for bits in pair):
        return Tile(label, "–", "no comparison: not both are possible", DIAGONAL_HELP)
    saved = answer.predicted_loss_increase - other.predicted_loss_increase
    size = f"{other.assignment.avg_bits:.2f} bits: {signed(other.predicted_loss_increase)}"
    note = best_measured(state, answer) or f"diagonal only at {size}"
    error = prediction_error(state.matrix, *pair)
    clear = abs(saved) > CERTAIN * (error or 0.0)
    value = "same choice" if pair[0] == pair[1] else f"{signed(saved)}{plus_minus(error)}"
    return Tile(label, value, note, DIAGONAL_HELP, direction(saved) if clear else 0)


def best_measured(state: ViewState, answer: Solution, /) -> str:
    """Measured accuracy near this size, ours and the best other method's; "" where none was.

    Both as repaired, where both were, else both as rounded.
    """
    near = [
        run
        for run in measured(state.artifact)
        if abs(run.assignment.avg_bits - answer.assignment.avg_bits) <= NEAR_BITS
    ]
    for measured_as in (REPAIRED, ROUNDED):
        alike = [run for run in near if run.measured_as == measured_as]
        ours = max((run.top1 for run in alike if run.ours), default=None)
        others = [run for run in alike if run.method not in OWN_METHODS]
        if ours is not None and others:
            best = max(others, key=lambda run: run.top1)
            name = METHOD_NAMES.get(best.method, best.method)
            return f"as {measured_as} {accuracy(ours)}, best other {accuracy(best.top1)} ({name})"
    return ""


def _changed_tile(state: ViewState, answer: Solution, reference: Assignment) -> Tile:
    changed = len(answer.assignment.changes_from(reference))
    return Tile(
        "Layers changed",
        f"{changed} of {state.matrix.n_layers}",
        f"vs pin {len(state.pins)}",
        "Layers whose bit-width differs from the last pinned choice.",
    )
