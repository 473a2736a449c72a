"""What of a network stays float32: by name, with its share of the file and the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from clado_core import LayerTable
from clado_core.records.float_parts import NOT_RECORDED, grouped, parts_to_json
from dashboard.theme import megabytes, percent

LEFT_FLOAT = "Stays float32"


def left_float_text(
    other_bytes: int, float_bytes: int, parts: Sequence[Mapping[str, Any]] | None, /
) -> str:
    """How much that is, and how much of it is weights."""
    text = f"{megabytes(other_bytes)}, {percent(other_bytes / float_bytes)} of the float32 file"
    if parts is None:
        return f"{text}; what it is was {NOT_RECORDED}"
    weights = [part["name"] for part in parts if part["is_weight"]]
    if not weights:
        return f"{text}: biases, normalization and the like"
    count = "1 weight" if len(weights) == 1 else f"{len(weights)} weights"
    return f"{text}, with {count} among it"


def left_float_rows(parts: Sequence[Mapping[str, Any]], /) -> list[dict[str, str]]:
    """A table's rows: weights one by one, the rest by kind."""
    return [
        {
            "Name": row["name"],
            "Kind": row["kind"],
            "Size": megabytes(row["bytes"]),
            "Share": percent(row["share"]),
            "Why": row["why"],
        }
        for row in grouped(parts)
    ]


def left_float_of(layers: LayerTable, /) -> list[dict[str, Any]] | None:
    """Of a measured network; None where its file does not say."""
    return parts_to_json(layers.float_parts, layers.float_bytes)


def left_float_expander(parts: Sequence[Mapping[str, Any]] | None, /) -> None:
    """The table, folded; nothing where there is nothing to list."""
    if parts:
        with st.expander(f"What stays float32 ({len(parts)})"):
            st.dataframe(left_float_rows(parts), hide_index=True)
