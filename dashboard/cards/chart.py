"""A chart under its title, or the same numbers as a table: for screen readers, and to copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import streamlit as st

from dashboard.components import live_plot
from dashboard.components.plot import Click
from dashboard.figures.spec import Spec

Table: TypeAlias = (
    Mapping[str, Sequence[object] | npt.NDArray[np.float64]] | Sequence[Mapping[str, object]]
)
"""Columns by title, or one mapping per row."""


@dataclass(frozen=True, slots=True)
class Chart:
    """What a card shows.

    Args:
        title: Of the card, the chart itself has none; "" where the header says what it is.
        key: Element key.
        figure: Draws it, asked for only where the chart is shown.
        alt: What the picture shows, for screen readers.
        rows: Its numbers, asked for only where the table is shown.
        help: How to read it.
    """

    title: str
    key: str
    figure: Callable[[], Spec]
    alt: str
    rows: Callable[[], Table]
    help: str


def draw_chart(
    shown: Chart,
    /,
    *,
    height: int,
    on_click: Click | None = None,
    header: Callable[[], None] | None = None,
) -> None:
    """Title, help and switch in one row, then the chart.

    Args:
        shown: What.
        height: Pixels, of chart and table.
        on_click: As for ``live_plot``.
        header: Draws more into the row, between the title and the switch.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        if shown.title:
            st.markdown(f"**{shown.title}**", help=shown.help, width="content")
        if header is not None:
            header()
        st.space("stretch")
        as_table = st.toggle("Table", key=f"{shown.key}_table", help="Show the numbers")
    if as_table:
        st.dataframe(shown.rows(), height=height, hide_index=True)
    else:
        figure = shown.figure()
        live_plot(figure, key=shown.key, alt=shown.alt, height=height, on_click=on_click)
