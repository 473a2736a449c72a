"""Two inline components for what built-in widgets cannot do, and their built-in stand-ins.

``st.slider`` reports on release only and ``st.plotly_chart`` rebuilds its node on every change.
Setting ``CLADO_PLAIN_WIDGETS=1`` uses the built-ins anyway; so does a static folder that cannot
be written, because the live plot loads Plotly's script from there.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import plotly
import streamlit as st
from plotly.offline import get_plotlyjs_version

from dashboard.figures.spec import Spec, to_json

HERE = Path(__file__).resolve().parent
STATIC = HERE.parent / "static"
PLAIN_WIDGETS = "CLADO_PLAIN_WIDGETS"
STEP = 0.05
"""One press of an arrow key, in average bits."""

MODEBAR = {
    "displaylogo": False,
    "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    "doubleClick": "reset",
    "responsive": False,
}
"""Few buttons, because each is a tab stop; none that uploads the data."""

Ranges: TypeAlias = list[list[Any] | None]
"""Per axis nothing, one range, or a list of ranges."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark under the slider that the thumb snaps to.

    Args:
        value: Where, in the slider's unit.
        label: A few characters.
        help: Tooltip.
        kind: "uniform" or "knee"; decides the look.
    """

    value: float
    label: str
    help: str
    kind: Literal["uniform", "knee"] = "uniform"


@cache
def plotly_script() -> str | None:
    """Address of Plotly's script on this server, copied from the installed package.

    A link into site-packages would be refused by the server. None where it cannot be copied.
    """
    name = f"plotly-{get_plotlyjs_version()}.min.js"
    target = STATIC / name
    if not target.is_file():
        source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
        try:
            STATIC.mkdir(exist_ok=True)
            partial = target.with_suffix(f".{os.getpid()}.partial")
            shutil.copyfile(source, partial)
            partial.replace(target)
        except OSError as problem:
            _log.warning("Plotly's script cannot be copied to %s: %s", STATIC, problem)
            return None
        for old in STATIC.glob("plotly-*.min.js"):
            if old != target:
                old.unlink(missing_ok=True)
    return f"app/static/{name}"


def live() -> bool:
    """Whether the live components are used instead of the built-in ones."""
    served = bool(st.get_option("server.enableStaticServing"))
    return not os.environ.get(PLAIN_WIDGETS) and served and plotly_script() is not None


def source(name: str, /) -> str:
    """A script or style sheet of this folder."""
    return (HERE / name).read_text(encoding="utf-8")


@cache
def _slider() -> Callable[..., Any]:
    return st.components.v2.component(
        "clado_live_slider",
        html='<div class="slider">\n<input type="range"><div class="ticks"></div></div>',
        css=source("live_slider.css"),
        js=source("live_slider.js"),
    )


@cache
def _plot() -> Callable[..., Any]:
    # Plotly puts its style sheet into the document, which a shadow root would not see.
    return st.components.v2.component(
        "clado_live_plot",
        html='<div class="live-plot">\n</div>',
        js=source("live_plot.js"),
        isolate_styles=False,
    )


def live_slider(
    label: str,
    *,
    key: str,
    value: float,
    minimum: float,
    maximum: float,
    ticks: Sequence[Tick],
    revision: int,
    on_move: Callable[[float], None],
    on_commit: Callable[[float], None],
) -> None:
    """A slider that reports while it is dragged.

    Args:
        label: For screen readers.
        key: Widget key.
        value: Where the thumb stands after ``revision`` was raised.
        minimum: Left end.
        maximum: Right end.
        ticks: Marks below the track.
        revision: Raise it to move the thumb from Python.
        on_move: Called with each reported value, also during a drag.
        on_commit: Called when the user lets go or presses a key.
    """
    if not live():
        _plain_slider(label, key, value, minimum, maximum, revision, on_commit)
        return

    def moved() -> None:
        reported = st.session_state[key].get("value")
        if reported is not None:
            on_move(float(reported))

    def committed() -> None:
        released = st.session_state[key].get("commit")
        if released is not None:
            on_commit(float(released))

    _slider()(
        key=key,
        data={
            "label": label,
            "value": value,
            "min": minimum,
            "max": maximum,
            "step": STEP,
            "ticks": [asdict(tick) for tick in ticks],
            "revision": revision,
            "disabled": maximum <= minimum,
        },
        on_value_change=moved,
        on_commit_change=committed,
    )


def _plain_slider(
    label: str,
    key: str,
    value: float,
    minimum: float,
    maximum: float,
    revision: int,
    on_commit: Callable[[float], None],
) -> None:
    plain = f"{key}_plain_{revision}"
    st.slider(
        label,
        minimum,
        max(maximum, minimum + STEP),
        value,
        STEP,
        key=plain,
        label_visibility="collapsed",
        disabled=maximum <= minimum,
        on_change=lambda: on_commit(float(st.session_state[plain])),
    )


def live_plot(
    figure: Spec,
    *,
    key: str,
    alt: str,
    height: int,
    on_click: Callable[[Mapping[str, Any]], None] | None = None,
    on_brush: Callable[[Ranges], None] | None = None,
    revision: int = 0,
) -> None:
    """A Plotly figure whose node, zoom and selection survive new data.

    Args:
        figure: Carries its own template; the height is set here.
        key: Element key.
        alt: What the picture shows, for screen readers.
        height: Pixels; constant, so that nothing below jumps.
        on_click: Called with ``trace``, ``index``, ``x``, ``y`` and ``custom`` of a clicked point.
        on_brush: Called with the range brushed on each axis of parallel coordinates, or None.
        revision: Raise it to forget zoom and brushes.
    """
    kept = {"height": height, "autosize": True, "uirevision": f"{key}-{revision}"}
    figure = {**figure, "layout": {**figure["layout"], **kept}}
    if not live():
        _plain_plot(figure, key, alt, height, on_click)
        return

    def clicked() -> None:
        point = st.session_state[key].get("clicked")
        if point is not None and on_click is not None:
            on_click(point)

    def brushed() -> None:
        ranges = st.session_state[key].get("brushed")
        if ranges is not None and on_brush is not None:
            on_brush(ranges)

    _plot()(
        key=key,
        data={
            "figure": to_json(figure),
            "config": MODEBAR,
            "alt": alt,
            "height": height,
            "script": plotly_script(),
        },
        height=height,
        on_clicked_change=clicked,
        on_brushed_change=brushed,
    )


def _plain_plot(
    figure: Spec,
    key: str,
    alt: str,
    height: int,
    on_click: Callable[[Mapping[str, Any]], None] | None,
) -> None:
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


def figure_bytes(figure: Spec, /) -> int:
    """Size of a figure as sent to the browser."""
    return len(to_json(figure).encode())
