"""What changed since the last pin, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from clado_core import Assignment, SensitivityMatrix, Solution
from dashboard.state import view_state
from dashboard.state.view_state import ViewState
from dashboard.theme import number

OPEN = "clado_changes_open"


def change_rows(
    matrix: SensitivityMatrix, before: Assignment, after: Assignment, /
) -> list[dict[str, Any]]:
    """One row per changed layer: bits, weight bytes, predicted effect of undoing it alone."""
    rows = []
    for name, (was, now) in after.changes_from(before).items():
        i = matrix.layers.index(name)
        undone = np.array(after.bits)
        undone[i] = was
        effect = (matrix.objective(after.bits) - matrix.objective(tuple(undone.tolist()))) / 2
        layer = matrix.layers.layers[i]
        rows.append(
            {
                "Layer": name,
                "Before": was,
                "After": now,
                "Bytes": layer.weight_bytes(now) - layer.weight_bytes(was),
                "Predicted loss of this change": effect,
            }
        )
    return rows


def changes_card(state: ViewState, answer: Solution, /) -> None:
    """An expander with the table."""
    expander = st.expander(
        "What changed since the last pin",
        key=OPEN,
        on_change="rerun",
        icon=":material/difference:",
    )
    if not expander.open:
        return
    with expander:
        if state.reference is None:
            st.caption("Pin a choice first; then move the budget or lock a layer.")
            return
        st.button(
            "Clear pins",
            key="clear-pins",
            type="tertiary",
            icon=":material/keep_off:",
            on_click=view_state.clear_pins,
            args=(state.artifact.digest,),
        )
        rows = change_rows(state.matrix, state.reference, answer.assignment)
        if not rows:
            st.caption("Nothing: this is the pinned choice.")
            return
        _table(rows)


def _table(rows: list[dict[str, Any]]) -> None:
    st.caption(
        "The last column is each change alone, the others kept; with cross-layer terms these do "
        "not add up to the total."
    )
    st.dataframe(
        rows,
        hide_index=True,
        height=min(36 * len(rows) + 38, 360),
        column_config={
            "Bytes": st.column_config.NumberColumn(format="%+d"),
            "Predicted loss of this change": st.column_config.NumberColumn(format="%+.3g"),
        },
    )
    total = sum(row["Bytes"] for row in rows)
    st.caption(f"{len(rows)} layers changed, {number(total / 1e6)} MB in all.")
