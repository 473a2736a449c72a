"""Two choices side by side: fronts on normalised axes, bits by depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core import SensitivityMatrix, Solution
from dashboard.figures.axes import SignedLog, signed_log
from dashboard.figures.spec import Spec
from dashboard.theme import Mode, bit_colours, palette, signed, template


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Args:
        name: Legend entry.
        sizes: Fraction of the size with every layer at the menu's highest bit-width.
        losses: Predicted loss increase as a fraction of the network's own range.
        hover: One line per point.
        here: (size, loss) of the current choice.
        bits: Bit-width per layer of the current choice.
        names: Layer names.
        bit_widths: The menu.
        joined: Whether a line may join the points: between uniform choices there are none.
    """

    name: str
    sizes: tuple[float, ...]
    losses: tuple[float, ...]
    hover: tuple[str, ...]
    here: tuple[float, float]
    bits: tuple[int, ...]
    names: tuple[str, ...]
    bit_widths: tuple[int, ...]
    joined: bool = True


@dataclass(frozen=True, slots=True)
class CompareInfo:
    """Both sides, A first."""

    a: Side
    b: Side


def side(
    name: str,
    matrix: SensitivityMatrix,
    front: Sequence[Solution],
    here: Solution,
    /,
    *,
    loss_range: tuple[float, float],
    joined: bool = True,
) -> Side:
    """Normalise one side.

    Args:
        name: Legend entry.
        matrix: The network's sensitivities.
        front: Its choices, in order of size.
        here: Its current choice.
        loss_range: Predicted losses shown as 0 and 1.
        joined: Whether a line may join the points.
    """
    full = matrix.bit_widths[-1] * matrix.layers.total_weights
    low, high = loss_range
    width = (high - low) or 1.0

    def place(s: Solution) -> tuple[float, float]:
        return s.assignment.size_bits / full, (s.predicted_loss_increase - low) / width

    places = [place(s) for s in front]
    return Side(
        name=name,
        sizes=tuple(x for x, _ in places),
        losses=tuple(y for _, y in places),
        hover=tuple(_hover(name, s) for s in front),
        here=place(here),
        bits=here.assignment.bits,
        names=matrix.layers.names,
        bit_widths=matrix.bit_widths,
        joined=joined,
    )


def _hover(name: str, solution: Solution) -> str:
    return (
        f"<b>{name}</b><br>{solution.assignment.avg_bits:.2f} avg bits<br>"
        f"predicted loss {signed(solution.predicted_loss_increase)}"
    )


def compare_alt(info: CompareInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    return (
        f"Normalised fronts of {info.a.name} and {info.b.name}; at the current budget they stand "
        f"at {info.a.here[1]:.3f} and {info.b.here[1]:.3f} of their loss range."
    )


def fronts_rows(info: CompareInfo, /) -> dict[str, list[object]]:
    """Both fronts as a table."""
    sides = (info.a, info.b)
    return {
        "Side": [letter for letter, s in zip("AB", sides, strict=True) for _ in s.sizes],
        "Name": [s.name for s in sides for _ in s.sizes],
        "Size, fraction": [round(x, 4) for s in sides for x in s.sizes],
        "Predicted loss, fraction of own range": [round(y, 5) for s in sides for y in s.losses],
    }


def bits_rows(info: CompareInfo, /) -> dict[str, list[object]]:
    """Both choices as a table, side by side where the layers are the same."""
    if info.a.names == info.b.names:
        return {"Layer": list(info.a.names), "A": list(info.a.bits), "B": list(info.b.bits)}
    sides = (info.a, info.b)
    return {
        "Side": [letter for letter, s in zip("AB", sides, strict=True) for _ in s.names],
        "Layer": [name for s in sides for name in s.names],
        "Bits": [b for s in sides for b in s.bits],
    }


def fronts_figure(info: CompareInfo, mode: Mode, /) -> Spec:
    """Draw both fronts; the sides differ by colour, dash and symbol."""
    colours = palette(mode)
    axis = signed_log([1.0])
    upper = info.a.here[1] > info.b.here[1]
    heights = [*info.a.losses, *info.b.losses, info.a.here[1], info.b.here[1]]
    values, labels = axis.ticks(min(heights), max(heights))
    return {
        "data": [
            _front(info.a, axis, colours.front, "solid", "circle"),
            _front(info.b, axis, colours.baseline, "dash", "x"),
            _now("A", info.a, axis, mode, above=upper),
            _now("B", info.b, axis, mode, above=not upper),
        ],
        "layout": {
            "template": template(mode),
            "margin": {"l": 62, "r": 14, "t": 28, "b": 46},
            "xaxis": {"title": {"text": "Size as a fraction of the highest bit-width everywhere"}},
            "yaxis": {
                "title": {"text": "Predicted loss, fraction of own range (log)"},
                "tickmode": "array",
                "tickvals": values,
                "ticktext": labels,
            },
        },
    }


def _front(shown: Side, axis: SignedLog, colour: str, dash: str, symbol: str) -> Spec:
    return {
        "type": "scatter",
        "x": shown.sizes,
        "y": axis.of(shown.losses),
        "name": shown.name,
        "hovertext": shown.hover,
        "hoverinfo": "text",
        "mode": "lines+markers" if shown.joined else "markers",
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"symbol": symbol, "size": 6 if shown.joined else 10, "color": colour},
    }


def _now(letter: str, shown: Side, axis: SignedLog, mode: Mode, *, above: bool) -> Spec:
    """A side's current choice."""
    colours = palette(mode)
    return {
        "type": "scatter",
        "x": [shown.here[0]],
        "y": axis.of([shown.here[1]]),
        "name": f"{letter} now",
        "mode": "markers+text",
        "text": [letter],
        "textposition": "top right" if above else "bottom left",
        "textfont": {"size": 13, "color": colours.accent},
        "hoverinfo": "skip",
        "cliponaxis": False,
        "showlegend": False,
        "marker": {
            "symbol": "star",
            "size": 15,
            "color": colours.accent,
            "line": {"width": 1.5, "color": colours.background},
        },
    }


def paired_bits_figure(info: CompareInfo, mode: Mode, /) -> Spec:
    """Draw A upwards and B downwards, layers placed by their depth in the network.

    Where both have the same layers, those whose bit-widths differ are outlined.
    """
    menu = tuple(sorted({*info.a.bit_widths, *info.b.bit_widths}))
    same = info.a.names == info.b.names
    differ = [same and a != b for a, b in zip(info.a.bits, info.b.bits, strict=False)]
    traces = [*_bars(info.a, 1, menu, mode), *_bars(info.b, -1, menu, mode)]
    named: set[str] = set()
    for trace in traces:
        trace["showlegend"] = trace["name"] not in named
        named.add(trace["name"])
    if any(differ):
        traces.append(_outlines(info, np.flatnonzero(differ), mode))
    return {"data": traces, "layout": _paired_layout(menu, mode)}


def _bars(shown: Side, sign: int, menu: tuple[int, ...], mode: Mode) -> list[Spec]:
    shades, bits = bit_colours(menu, mode), np.array(shown.bits)
    depth = (np.arange(len(bits)) + 0.5) / len(bits)
    by_bits = [(b, np.flatnonzero(bits == b)) for b in menu]
    return [
        {
            "type": "bar",
            "x": depth[at],
            "y": sign * bits[at],
            "width": np.full(len(at), 0.84 / len(bits)),
            "name": f"{b}-bit",
            "legendgroup": str(b),
            "legendrank": b,
            "hovertext": [f"<b>{shown.names[i]}</b><br>{b} bits" for i in at],
            "hoverinfo": "text",
            "marker": {"color": shades[b], "line": {"width": 0}},
        }
        for b, at in by_bits
        if len(at)
    ]


def _outlines(info: CompareInfo, at: npt.NDArray[np.int64], mode: Mode) -> Spec:
    """Around both bars of each layer that differs."""
    count = len(info.a.bits)
    up, down = np.array(info.a.bits)[at], np.array(info.b.bits)[at]
    return {
        "type": "bar",
        "x": (at + 0.5) / count,
        "y": up + down,
        "base": -down,
        "width": np.full(len(at), 0.84 / count),
        "name": "Differs",
        "legendrank": 99,
        "hoverinfo": "skip",
        "marker": {"color": "rgba(0,0,0,0)", "line": {"color": palette(mode).text, "width": 1.5}},
    }


def _paired_layout(menu: tuple[int, ...], mode: Mode) -> Spec:
    ticks = [*(-b for b in reversed(menu)), 0, *menu]
    top = menu[-1] * 1.12
    return {
        "template": template(mode),
        "barmode": "overlay",
        "margin": {"l": 44, "r": 10, "t": 28, "b": 46},
        "xaxis": {
            "title": {"text": "Depth (fraction of the layers)"},
            "range": [0, 1],
            "showgrid": False,
        },
        "yaxis": {
            "title": {"text": "Bits (A up, B down)"},
            "range": [-top, top],
            "tickmode": "array",
            "tickvals": ticks,
            "ticktext": [str(abs(t)) for t in ticks],
            "zeroline": True,
            "zerolinecolor": palette(mode).muted,
            "zerolinewidth": 1,
        },
    }
