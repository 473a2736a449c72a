"""A Plotly chart that keeps its node, zoom and selection; ``st.plotly_chart`` is rebuilt whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import streamlit as st

from dashboard.components.served import PLOTLY_ADDRESS, component, live
from dashboard.figures.spec import Spec, to_json

MODEBAR = {
    "displaylogo": False,
    "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    "doubleClick": "reset",
    "responsive": False,
}
"""Few buttons, because each is a tab stop; none that uploads the data."""

HTML = '<div class="live-plot">\n</div>'

Ranges: TypeAlias = list[list[float] | list[list[float]] | None]
"""Per axis nothing, one range, or a list of ranges."""

Click: TypeAlias = Callable[[Mapping[str, Any]], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patch:
    """What moves in a chart while the budget is dragged.

    Args:
        key: The chart's.
        traces: New traces in place of those with the same name.
        alt: What the chart shows then.
    """

    key: str
    traces: tuple[Spec, ...]
    alt: str


def live_plot(
    figure: Spec,
    *,
    key: str,
    alt: str,
    height: int,
    on_click: Click | None = None,
    on_brush: Callable[[Ranges], None] | None = None,
    revision: int = 0,
    bare: bool = False,
) -> None:
    """Draw it.

    Args:
        figure: Carries its own template; the height is set here.
        key: Element key.
        alt: What the picture shows, for screen readers.
        height: Pixels; constant, so that nothing below jumps.
        on_click: Called with ``trace``, ``index``, ``x``, ``y`` and ``custom`` of a clicked point.
        on_brush: Called with the range brushed on each axis of parallel coordinates, or None.
        revision: Raise it to forget zoom and brushes.
        bare: No mode bar, for a chart too small for one.
    """
    kept = {"height": height, "autosize": True, "uirevision": f"{key}-{revision}"}
    figure = {**figure, "layout": {**figure["layout"], **kept}}
    if not live():
        _plain(figure, key, alt, height, on_click)
        return
    config = MODEBAR | ({"displayModeBar": False} if bare else {})
    sent = {"key": key, "figure": figure, "config": config, "alt": alt, "height": height}
    component("live_plot", HTML)(
        key=key,
        data=to_json(sent | {"script": PLOTLY_ADDRESS}).encode(),
        height=height,
        on_clicked_change=_told(key, "clicked", on_click),
        on_brushed_change=_told(key, "brushed", on_brush),
    )


def _told(key: str, name: str, tell: Callable[[T], None] | None) -> Callable[[], None]:
    """A callback that hands on what the browser reported under a name."""

    def changed() -> None:
        value = st.session_state[key].get(name)
        if value is not None and tell is not None:
            tell(value)

    return changed


def _plain(figure: Spec, key: str, alt: str, height: int, on_click: Click | None) -> None:
    def selected() -> None:
        points = st.session_state[key]["selection"]["points"]
        if points and on_click is not None:
            point = points[0]
            on_click({**point, "custom": point.get("customdata"), "index": point["point_index"]})

    st.plotly_chart(
        figure,
        key=key,
        theme=None,
        height=height,
        config=MODEBAR,
        alt=alt,
        on_select=selected if on_click is not None else "ignore",
        selection_mode="points",
    )
