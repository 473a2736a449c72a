"""Two choices side by side: fronts on normalised axes, bits by depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clado_core import SensitivityMatrix, Solution
from dashboard.figures.axes import signed_log
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
        hover=tuple(
            f"<b>{name}</b><br>{s.assignment.avg_bits:.2f} avg bits<br>"
            f"predicted loss {signed(s.predicted_loss_increase)}"
            for s in front
        ),
        here=place(here),
        bits=here.assignment.bits,
        names=matrix.layers.names,
        bit_widths=matrix.bit_widths,
        joined=joined,
    )


def compare_alt(info: CompareInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    return (
        f"Normalised fronts of {info.a.name} and {info.b.name}; at the current budget they stand "
        f"at {info.a.here[1]:.3f} and {info.b.here[1]:.3f} of their loss range."
    )


def fronts_figure(info: CompareInfo, mode: Mode, /) -> Spec:
    """Draw both fronts; the sides differ by colour, dash and symbol."""
    colours = palette(mode)
    axis = signed_log([1.0])
    styles = ((info.a, colours.front, "solid", "circle"), (info.b, colours.baseline, "dash", "x"))
    traces: list[dict[str, Any]] = []
    for shown, colour, dash, symbol in styles:
        traces.append(
            {
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
        )
    upper = "A" if info.a.here[1] > info.b.here[1] else "B"
    for letter, (shown, *_) in zip("AB", styles, strict=True):
        traces.append(
            {
                "type": "scatter",
                "x": [shown.here[0]],
                "y": axis.of([shown.here[1]]),
                "name": f"{letter} now",
                "mode": "markers+text",
                "text": [letter],
                "textposition": "top right" if letter == upper else "bottom left",
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
        )
    heights = [*info.a.losses, *info.b.losses, info.a.here[1], info.b.here[1]]
    values, labels = axis.ticks(min(heights), max(heights))
    layout = {
        "template": template(mode),
        "margin": {"l": 62, "r": 14, "t": 28, "b": 46},
        "xaxis": {"title": {"text": "Size as a fraction of the highest bit-width everywhere"}},
        "yaxis": {
            "title": {"text": "Predicted loss, fraction of own range (log)"},
            "tickmode": "array",
            "tickvals": values,
            "ticktext": labels,
        },
    }
    return {"data": traces, "layout": layout}


def paired_bits_figure(info: CompareInfo, mode: Mode, /) -> Spec:
    """Draw A upwards and B downwards, layers placed by their depth in the network."""
    menu = tuple(sorted({*info.a.bit_widths, *info.b.bit_widths}))
    shades = bit_colours(menu, mode)
    traces: list[dict[str, Any]] = []
    named: set[int] = set()
    for sign, shown in ((1, info.a), (-1, info.b)):
        depth = (np.arange(len(shown.bits)) + 0.5) / len(shown.bits)
        bits = np.array(shown.bits)
        for b in menu:
            at = np.flatnonzero(bits == b)
            if not len(at):
                continue
            traces.append(
                {
                    "type": "bar",
                    "x": depth[at],
                    "y": sign * bits[at],
                    "width": np.full(len(at), 0.84 / len(bits)),
                    "name": f"{b}-bit",
                    "legendgroup": str(b),
                    "legendrank": b,
                    "showlegend": b not in named,
                    "hovertext": [f"<b>{shown.names[i]}</b><br>{b} bits" for i in at],
                    "hoverinfo": "text",
                    "marker": {"color": shades[b], "line": {"width": 0}},
                }
            )
            named.add(b)
    ticks = [*(-b for b in reversed(menu)), 0, *menu]
    top = menu[-1] * 1.12
    layout = {
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
    return {"data": traces, "layout": layout}
