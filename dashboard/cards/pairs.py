"""One pair of layers in numbers, and the strongest pairs of all."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from clado_core import Assignment, SensitivityMatrix
from dashboard.known import pairs
from dashboard.theme import number, percent, plus_minus, signed

SELECTED, TABLE = "clado_pair", "clado_pairs_table"
DIRECTIONS = {"All": 0, "Hurt each other": 1, "Compensate": -1}


def selected_pair(matrix: SensitivityMatrix, chosen: Assignment, /) -> pairs.Pair:
    """The clicked pair; before any click the strongest one."""
    fine, i, j = st.session_state.get(SELECTED, (True, 0, 0))
    B = matrix.n_bits
    first, second = (i // B, j // B) if fine else (i, j)
    if first == second or max(first, second) >= matrix.n_layers:
        found = pairs.top_pairs(matrix, chosen, count=1)
        return found[0] if found else pairs.strongest_between(matrix, 0, 1, chosen)
    if fine:
        widths = matrix.bit_widths
        return pairs.pair(matrix, (first, widths[i % B]), (second, widths[j % B]), chosen)
    return pairs.strongest_between(matrix, i, j, chosen)


def pair_card(
    matrix: SensitivityMatrix, found: pairs.Pair, errors: npt.NDArray[np.float64] | None, /
) -> None:
    """Each alone, both together, the difference; then the cross terms at every bit-width.

    Args:
        matrix: The measured sensitivities.
        found: The pair.
        errors: Standard errors in units of predicted loss, shape (n, n), or None.
    """
    names = matrix.layers.names
    (i, b), (j, c) = found.first, found.second
    st.markdown(f"**{names[i]}** at {b} bits × **{names[j]}** at {c} bits")
    columns = st.columns(3)
    how = "The loss increases added" + ("." if found.alone_measured else ", which are estimates.")
    columns[0].metric("Alone, sum", signed(sum(found.alone)), help=how)
    both = "Both quantized at once" + ("." if found.measured else "; not run, but estimated.")
    columns[1].metric("Together", signed(found.together), help=both)
    columns[2].metric(
        "Cross term",
        signed(found.cross) + _plus_minus(matrix, found, errors),
        help="Together minus the sum; ± is one standard error over the samples.",
    )
    effect = "hurt each other" if found.cross > 0 else "compensate each other"
    paid = "pays this term" if found.paid else "does not pay this term"
    rank = f"{percent(found.stronger)} of all cross terms are stronger"
    if found.stronger == 0:
        rank = "no cross term is stronger"
    known = "" if found.measured else " This pair was not measured."
    st.caption(f"They {effect}; {rank}. The current choice {paid}.{known}")
    block = matrix.blocks()[i, :, j, :]
    rows = [
        {f"{names[i]} ↓ {names[j]} →": f"{b} bits"}
        | {f"{c} bits": signed(float(block[m, n])) for n, c in enumerate(matrix.bit_widths)}
        for m, b in enumerate(matrix.bit_widths)
    ]
    st.table(rows, hide_index=True)


def _plus_minus(
    matrix: SensitivityMatrix, found: pairs.Pair, errors: npt.NDArray[np.float64] | None
) -> str:
    if errors is None:
        return ""
    (i, b), (j, c) = found.first, found.second
    B, widths = matrix.n_bits, matrix.bit_widths
    return plus_minus(float(errors[i * B + widths.index(b), j * B + widths.index(c)]))


def top_table(matrix: SensitivityMatrix, chosen: Assignment, selected: pairs.Pair, /) -> None:
    """The strongest pairs of candidates; a click on a row selects its cell."""
    names, B = matrix.layers.names, matrix.n_bits
    found = pairs.top_pairs(matrix, chosen, sign=_direction())
    if not found:
        st.caption("There is no such pair.")
        return

    def clicked() -> None:
        rows = st.session_state[TABLE]["selection"]["rows"]
        if rows:
            (i, b), (j, c) = found[rows[0]].first, found[rows[0]].second
            widths = matrix.bit_widths
            st.session_state[SELECTED] = (
                True,
                i * B + widths.index(b),
                j * B + widths.index(c),
            )

    st.dataframe(
        [_row(names, p, selected) for p in found],
        hide_index=True,
        height=290,
        key=TABLE,
        on_select=clicked,
        selection_mode="single-row",
        column_config={
            "": st.column_config.TextColumn(width=18, help="The pair shown above."),
            "Bits": st.column_config.NumberColumn(width=42),
            "Bits ": st.column_config.NumberColumn(width=42),
            "Cross term": st.column_config.NumberColumn(format="%+.3g", width=74),
        },
        alt=f"The {len(found)} strongest cross terms; the first is {number(found[0].cross)}",
    )


def _direction() -> int:
    """Title, and which pairs; as the sign of their cross terms."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Strongest pairs**")
        st.space("stretch")
        picked = st.segmented_control(
            "Direction",
            list(DIRECTIONS),
            default="All",
            required=True,
            key="pairs_direction",
            label_visibility="collapsed",
        )
    return DIRECTIONS[str(picked)]


def _row(names: tuple[str, ...], found: pairs.Pair, selected: pairs.Pair) -> dict[str, Any]:
    return {
        "": "▸" if found == selected else "",
        "Layer": names[found.first[0]],
        "Bits": found.first[1],
        "With": names[found.second[0]],
        "Bits ": found.second[1],
        "Cross term": found.cross,
        "Chosen": found.paid,
    }
