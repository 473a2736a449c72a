"""Bits per layer, in network order: colour and height are the bit-width."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core import Assignment, LayerTable
from dashboard.figures.spec import Spec
from dashboard.theme import Mode, bit_colours, palette, template

Array: TypeAlias = npt.NDArray[np.float64]

MAX_PRINTED = 60
"""With more layers than this the numbers on the bars would overlap."""

MAX_GROUPS = 10
"""Group labels that fit under the axis."""

TIE_SYMBOLS = ("square-open", "diamond-open", "circle-open")

MAX_UPRIGHT = 5
"""With more group labels than this they are slanted."""


@dataclass(frozen=True, slots=True)
class BitsInfo:
    """Everything the bits chart shows.

    Args:
        names: Layer names, network order.
        bits: Bit-width per layer.
        before: Bit-width per layer in the reference, or the same as ``bits``.
        n_weights: Weights per layer.
        locked: Positions of locked layers.
        ties: Positions of layers that share one bit-width, group by group.
        groups: (label, first position, last position) of each stage of the network.
        bit_widths: The menu.
    """

    names: tuple[str, ...]
    bits: tuple[int, ...]
    before: tuple[int, ...]
    n_weights: tuple[int, ...]
    locked: tuple[int, ...]
    ties: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[str, int, int], ...]
    bit_widths: tuple[int, ...]

    @property
    def changed(self) -> tuple[int, ...]:
        """Positions where the bit-width differs from the reference."""
        pairs = zip(self.bits, self.before, strict=True)
        return tuple(i for i, (now, then) in enumerate(pairs) if now != then)


def bits_info(
    assignment: Assignment,
    bit_widths: tuple[int, ...],
    /,
    *,
    reference: Assignment | None = None,
    locked: Collection[str] = (),
    ties: tuple[tuple[str, ...], ...] = (),
) -> BitsInfo:
    """Collect the bars.

    Args:
        assignment: The current choice.
        bit_widths: The menu, ascending.
        reference: The choice that changes are counted from.
        locked: Names of locked layers.
        ties: Names of layers that share one bit-width.
    """
    layers = assignment.layers
    return BitsInfo(
        names=layers.names,
        bits=assignment.bits,
        before=(reference or assignment).bits,
        n_weights=tuple(layer.n_weights for layer in layers.layers),
        locked=tuple(i for i, name in enumerate(layers.names) if name in locked),
        ties=tuple(tuple(map(layers.names.index, group)) for group in ties),
        groups=stages(layers),
        bit_widths=bit_widths,
    )


def stages(layers: LayerTable, /) -> tuple[tuple[str, int, int], ...]:
    """Runs of layers that share the longest name prefix giving at most ``MAX_GROUPS`` runs."""
    paths = [(layer.block or layer.name).split(".") for layer in layers.layers]
    chosen: tuple[tuple[str, int, int], ...] = (("", 0, len(layers) - 1),)
    for depth in range(1, max(map(len, paths)) + 1):
        runs = []
        keyed = enumerate(".".join(path[:depth]) for path in paths)
        for label, members in groupby(keyed, key=lambda pair: pair[1]):
            positions = [i for i, _ in members]
            runs.append((label, positions[0], positions[-1]))
        if len(runs) > MAX_GROUPS:
            break
        chosen = tuple(runs)
    return chosen


def bits_alt(info: BitsInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    counts = ", ".join(f"{info.bits.count(b)} at {b} bits" for b in info.bit_widths)
    return f"Bit-widths of {len(info.bits)} layers in network order: {counts}."


def bits_figure(info: BitsInfo, mode: Mode, /, *, by_weights: bool = False) -> Spec:
    """Draw it.

    Args:
        info: What to draw.
        mode: Light or dark.
        by_weights: Bars as wide as their layer's share of the weights.
    """
    colours, shades = palette(mode), bit_colours(info.bit_widths, mode)
    centres, widths = _places(info, by_weights)
    bits = np.array(info.bits)

    def bars(at: npt.NDArray[np.int64], name: str, **style: Any) -> dict[str, Any]:
        return {
            "type": "bar",
            "x": centres[at],
            "y": bits[at],
            "width": widths[at],
            "name": name,
            **style,
        }

    labels = {
        "textposition": "outside",
        "textangle": 0,
        "cliponaxis": False,
        "textfont": {"size": 11, "color": colours.text},
    }
    printed = not by_weights and len(bits) <= MAX_PRINTED
    traces = [
        bars(
            at := np.flatnonzero(bits == b),
            f"{b}-bit",
            customdata=at,
            hovertext=[_hover(info, int(i)) for i in at],
            hoverinfo="text",
            marker={"color": shades[b], "line": {"width": 0}},
            **(labels | {"text": [str(b)] * len(at)} if printed else {}),
        )
        for b in info.bit_widths
    ]
    if info.changed:
        hollow = {"color": "rgba(0,0,0,0)", "line": {"color": colours.text, "width": 2}}
        traces.append(bars(np.array(info.changed), "Changed", hoverinfo="skip", marker=hollow))
    if info.locked:
        at = list(info.locked)
        traces.append(_marks("Locked", centres[at], "triangle-up", colours.text))
    for k, group in enumerate(info.ties):
        name = "Tied" if len(info.ties) == 1 else f"Tied {k + 1}"
        traces.append(_marks(name, centres[list(group)], TIE_SYMBOLS[k % 3], colours.text))
    traces.append(_ghost(centres, colours.text))
    return {"data": traces, "layout": _layout(info, centres, widths, mode)}


def _ghost(centres: Array, colour: str) -> dict[str, Any]:
    """Where the browser shows the bits of a front's point under the pointer."""
    return {
        "type": "scatter",
        "x": centres,
        "y": [None] * len(centres),
        "name": "Under the pointer",
        "mode": "markers",
        "hoverinfo": "skip",
        "showlegend": False,
        "marker": {"symbol": "line-ew", "size": 12, "line": {"width": 3, "color": colour}},
    }


def _marks(name: str, centres: Array, symbol: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": centres,
        "y": np.full(len(centres), -0.3),
        "name": name,
        "mode": "markers",
        "hoverinfo": "skip",
        "cliponaxis": False,
        "marker": {"symbol": symbol, "size": 9, "color": colour},
    }


def _places(info: BitsInfo, by_weights: bool) -> tuple[Array, Array]:
    """Centre and width of each bar, in layers or in shares of all weights."""
    if not by_weights:
        return np.arange(len(info.bits), dtype=float), np.full(len(info.bits), 0.82)
    share = np.array(info.n_weights) / sum(info.n_weights) * len(info.bits)
    return np.cumsum(share) - share / 2 - 0.5, share * 0.96


def _layout(info: BitsInfo, centres: Array, widths: Array, mode: Mode) -> dict[str, Any]:
    slanted = len(info.groups) > MAX_UPRIGHT
    edges = centres - (0.5 if np.ptp(widths) == 0 else widths / 0.96 / 2)
    line = {"color": palette(mode).grid, "width": 1}
    return {
        "template": template(mode),
        "meta": {"kind": "bits"},
        "barmode": "overlay",
        "margin": {"l": 40, "r": 10, "t": 28, "b": 64 if slanted else 30},
        "shapes": [
            {
                "type": "line",
                "x0": edges[first],
                "x1": edges[first],
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "layer": "below",
                "line": line,
            }
            for _, first, _ in info.groups[1:]
        ],
        "xaxis": {
            "range": [-0.9, len(info.bits) - 0.1],
            "tickmode": "array",
            "tickvals": [(centres[a] + centres[z]) / 2 for _, a, z in info.groups],
            "ticktext": [label for label, _, _ in info.groups],
            "tickangle": -35 if slanted else 0,
            "showgrid": False,
            "tickfont": {"size": 11},
        },
        "yaxis": {
            "title": {"text": "Bits"},
            "range": [-0.55, info.bit_widths[-1] * 1.1],
            "tickmode": "array",
            "tickvals": list(info.bit_widths),
        },
    }


def _hover(info: BitsInfo, i: int) -> str:
    changed = f" (was {info.before[i]})" if info.before[i] != info.bits[i] else ""
    lock = "<br>locked" if i in info.locked else ""
    others = [info.names[j] for group in info.ties if i in group for j in group if j != i]
    lock += f"<br>tied to {', '.join(others)}" if others else ""
    weights = f"{info.n_weights[i]:,}".replace(",", "\u202f")
    return f"<b>{info.names[i]}</b><br>{info.bits[i]} bits{changed}<br>{weights} weights{lock}"
