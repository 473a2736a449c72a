"""Heatmap of the measured terms."""

from __future__ import annotations

import numpy as np

from dashboard.figures.axes import signed_log
from dashboard.figures.cells import InteractionInfo
from dashboard.figures.spec import Spec
from dashboard.figures.terms import Mask
from dashboard.theme import Mode, palette, plus_minus, signed, template

NAMED_LAYERS, LONGEST_NAME = 24, 16
"""With few rows and short names every layer is named at the axis; else the stages are."""

HOVERED = 120
"""Up to this many rows every cell is named under the pointer; above, its numbers are."""


def interaction_figure(
    info: InteractionInfo,
    mode: Mode,
    /,
    *,
    log: bool = True,
    selected: tuple[int, int] | None = None,
) -> Spec:
    """Draw it.

    Args:
        info: What to draw.
        mode: Light or dark.
        log: Colours follow the signed logarithm, for heavy tails.
        selected: Network positions, as in ``rows``, of the cell to frame.
    """
    heatmap = cells_trace(info, mode, log=log) | {"colorbar": _bar(info, mode, log=log)}
    heatmap["customdata"] = info.values.astype(np.float32)
    heatmap["hovertemplate"] = "cross term %{customdata:+.3g}<extra>%{x} × %{y}</extra>"
    if len(info.rows) <= HOVERED:
        heatmap |= {"text": _texts(info), "hovertemplate": "%{text}<extra></extra>"}
    traces = [heatmap]
    if info.hatched.any():
        traces.append(_hatch(info.hatched, palette(mode).muted))
    return {"data": traces, "layout": _layout(info, mode, selected)}


MOST_NAMED = 80
"""Up to so many layers the stamp names those under the pointer; for 200, whose cells are half a
pixel wide, the names were 1 MB."""


def mini_figure(info: InteractionInfo, mode: Mode, /) -> Spec:
    """The same without axes, as small as a stamp; a layer under the pointer is framed in it."""
    size, colours = len(info.rows), palette(mode)
    heatmap = cells_trace(info, mode) | {
        "showscale": False,
        "hovertemplate": "layer %{y} × layer %{x}<extra></extra>",
    }
    if size <= MOST_NAMED:
        named = [[f"{a} × {b}" for b in info.labels] for a in info.labels]
        heatmap |= {"text": named, "hovertemplate": "%{text}<extra></extra>"}
    axis = {"visible": False, "range": [-0.5, size - 0.5], "fixedrange": True}
    return {
        "data": [heatmap],
        "layout": {
            "template": template(mode),
            "meta": {"kind": "heat", "layers": info.layers, "shade": colours.text},
            "margin": {"l": 1, "r": 1, "t": 1, "b": 1},
            "xaxis": axis | {"scaleanchor": "y", "constrain": "domain"},
            "yaxis": axis | {"range": [size - 0.5, -0.5], "constrain": "domain"},
        },
    }


def cells_trace(info: InteractionInfo, mode: Mode, /, *, log: bool = True) -> Spec:
    """The coloured cells alone; zero has the neutral colour."""
    axis = signed_log([info.limit])
    limit = float(axis.of(info.limit)) if log else info.limit
    return {
        "type": "heatmap",
        "z": (axis.of(info.values) if log else info.values).astype(np.float32),
        "zmin": -limit,
        "zmax": limit,
        "zmid": 0,
        "colorscale": [list(stop) for stop in palette(mode).diverging],
        "x": np.arange(len(info.rows)),
        "y": np.arange(len(info.rows)),
        "hoverongaps": False,
    }


def _bar(info: InteractionInfo, mode: Mode, *, log: bool) -> Spec:
    bar: Spec = {
        "thickness": 10,
        "outlinewidth": 0,
        "title": {"text": "Predicted loss", "side": "right", "font": {"size": 12}},
        "tickfont": {"size": 11, "color": palette(mode).muted},
    }
    if log:
        places, labels = signed_log([info.limit]).ticks(-info.limit, info.limit)
        bar |= {"tickmode": "array", "tickvals": places, "ticktext": labels}
    return bar


def _texts(info: InteractionInfo) -> list[list[str]]:
    """What stands under the pointer: both names, the term, its error, whether it was measured."""

    def text(i: int, j: int) -> str:
        value = float(info.values[i, j])
        error = plus_minus(None if info.errors is None else float(info.errors[i, j]))
        fitted = "<br>not measured" if info.hatched[i, j] else ""
        names = f"<b>{info.labels[i]}</b><br>× <b>{info.labels[j]}</b>"
        return f"{names}<br>{signed(value)}{error}{fitted}"

    places = range(len(info.rows))
    return [[text(i, j) for j in places] for i in places]


def _hatch(cells: Mask, colour: str) -> Spec:
    """Hatched runs of cells, row by row, as one outline: a heatmap itself has no patterns."""
    x: list[float | None] = []
    y: list[float | None] = []
    padded = np.pad(cells.astype(np.int8), ((0, 0), (1, 1)))
    for i, change in enumerate(np.diff(padded, axis=1)):
        for a, z in zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True):
            left, right = float(a) - 0.5, float(z) - 0.5
            x += [left, right, right, left, left, None]
            y += [i - 0.5, i - 0.5, i + 0.5, i + 0.5, i - 0.5, None]
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "name": "Not measured",
        "mode": "lines",
        "fill": "toself",
        "fillcolor": "rgba(0,0,0,0)",
        "fillpattern": {"shape": "/", "size": 5, "fgcolor": colour, "solidity": 0.2},
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _layout(info: InteractionInfo, mode: Mode, selected: tuple[int, int] | None) -> Spec:
    colours, size = palette(mode), len(info.rows)
    short = max(map(len, info.labels)) <= LONGEST_NAME
    named = size <= NAMED_LAYERS and (short or not info.groups)
    if named:
        places = list(range(size))
        texts = [x if len(x) <= LONGEST_NAME else f"…{x[1 - LONGEST_NAME :]}" for x in info.labels]
    else:
        places = [int((a + z) / 2) for _, a, z in info.groups]
        texts = [label for label, _, _ in info.groups]
    longest = max(map(len, texts), default=0)
    axis = {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": texts,
        "showgrid": False,
        "range": [-0.5, size - 0.5],
        "tickfont": {"size": 10 if named else 11},
    }
    return {
        "template": template(mode),
        "meta": {"kind": "heat", "layers": info.layers, "shade": colours.text},
        "margin": {"l": 20 + round(6.2 * longest), "r": 8, "t": 6, "b": 26 + round(4.6 * longest)},
        "shapes": [*edges(info, colours.text), *_frames(info, selected, colours.accent)],
        "xaxis": axis | {"tickangle": -45},
        "yaxis": axis | {"range": [size - 0.5, -0.5]},
    }


def edges(info: InteractionInfo, colour: str, /) -> list[Spec]:
    """Lines between stages, across and down."""
    size, line = len(info.rows), {"color": colour, "width": 1}
    places = [first - 0.5 for _, first, _ in info.groups[1:]]
    ends = {"from": -0.5, "to": size - 0.5}
    across = [{"x0": e, "x1": e, "y0": ends["from"], "y1": ends["to"]} for e in places]
    down = [{"y0": e, "y1": e, "x0": ends["from"], "x1": ends["to"]} for e in places]
    return [{"type": "line", "line": line, **where} for where in (*across, *down)]


def _frames(info: InteractionInfo, selected: tuple[int, int] | None, colour: str) -> list[Spec]:
    """A frame around the cell and its mirror image."""
    if selected is None or not set(selected) <= set(info.rows):
        return []
    i, j = (info.rows.index(row) for row in selected)
    line = {"color": colour, "width": 2}
    half = 0.5
    return [
        {
            "type": "rect",
            "x0": x - half,
            "x1": x + half,
            "y0": y - half,
            "y1": y + half,
            "line": line,
        }
        for x, y in ((i, j), (j, i))
    ]
