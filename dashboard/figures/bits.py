"""Bits per layer, in network order: colour and height are the bit-width."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core import Assignment, LayerTable
from dashboard.figures.spec import Spec
from dashboard.theme import Mode, bit_colours, palette, template

Array: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]

MAX_PRINTED = 60
"""With more layers than this the numbers on the bars would overlap."""

MAX_GROUPS = 10
"""Group labels that fit under the axis."""

TIE_SYMBOLS = ("square-open", "diamond-open", "circle-open")

WIDE_BARS = 30
"""Up to so many layers there is room for a strong outline."""

LONGEST_LABEL = 12

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
    places = _places(info, by_weights)
    traces = moving_traces(info, mode, by_weights=by_weights)
    colour = palette(mode).text
    if info.locked:
        at = list(info.locked)
        traces.append(_marks("Locked", places.centres[at], "triangle-up", colour))
    for k, group in enumerate(info.ties):
        name = "Tied" if len(info.ties) == 1 else f"Tied {k + 1}"
        traces.append(_marks(name, places.centres[list(group)], TIE_SYMBOLS[k % 3], colour))
    traces.append(_ghost(places.centres, colour))
    return {"data": traces, "layout": _layout(info, places, mode)}


def moving_traces(info: BitsInfo, mode: Mode, /, *, by_weights: bool = False) -> list[Spec]:
    """The bars, and the outlines of changed ones: what moves when only the budget does."""
    places, bits = _places(info, by_weights), np.array(info.bits)
    shades = bit_colours(info.bit_widths, mode)
    printed = not by_weights and len(bits) <= MAX_PRINTED
    traces = []
    for b in info.bit_widths:
        at = np.flatnonzero(bits == b)
        traces.append(
            {
                **_bars(places, at, bits[at], f"{b}-bit"),
                "customdata": at,
                "hovertext": [_hover(info, int(i)) for i in at],
                "hoverinfo": "text",
                "marker": {"color": shades[b], "line": {"width": 0}},
                **(_numbers(b, len(at), mode) if printed else {}),
            }
        )
    changed = list(info.changed)
    width = 2 if len(bits) <= WIDE_BARS else 1
    hollow = {"color": "rgba(0,0,0,0)", "line": {"color": palette(mode).text, "width": width}}
    outlines = _bars(places, changed, bits[changed], "Changed")
    style = {"hoverinfo": "skip", "marker": hollow, "showlegend": bool(changed)}
    return [*traces, outlines | style]


def _bars(places: Places, at: IntArray | list[int], heights: IntArray, name: str) -> Spec:
    return {
        "type": "bar",
        "x": places.centres[at],
        "y": heights,
        "width": places.widths[at],
        "name": name,
    }


def _numbers(bits: int, count: int, mode: Mode) -> Spec:
    """The bit-width above each bar, so that colour is not needed."""
    return {
        "text": [str(bits)] * count,
        "textposition": "outside",
        "textangle": 0,
        "cliponaxis": False,
        "textfont": {"size": 11, "color": palette(mode).text},
    }


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


class Places(NamedTuple):
    """Centre, width and left edge of each layer's place, in layers or in shares of all weights."""

    centres: Array
    widths: Array
    edges: Array


def _places(info: BitsInfo, by_weights: bool) -> Places:
    if not by_weights:
        centres = np.arange(len(info.bits), dtype=float)
        return Places(centres, np.full(len(info.bits), 0.82), centres - 0.5)
    share = np.array(info.n_weights) / sum(info.n_weights) * len(info.bits)
    centres = np.cumsum(share) - share / 2 - 0.5
    return Places(centres, share * 0.96, centres - share / 2)


def _layout(info: BitsInfo, places: Places, mode: Mode) -> Spec:
    slanted = len(info.groups) > MAX_UPRIGHT
    centres, edges = places.centres, places.edges
    labels = [_short(label) for label, _, _ in info.groups]
    return {
        "template": template(mode),
        "meta": {"kind": "bits"},
        "barmode": "overlay",
        "margin": {
            "l": 40,
            "r": 10,
            "t": 28,
            "b": 26 + round(3.6 * max(map(len, labels))) if slanted else 30,
        },
        "shapes": [_edge(edges[first], mode) for _, first, _ in info.groups[1:]],
        "xaxis": {
            "range": [-0.9, len(info.bits) - 0.1],
            "tickmode": "array",
            "tickvals": [(centres[a] + centres[z]) / 2 for _, a, z in info.groups],
            "ticktext": labels,
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


def _edge(x: float, mode: Mode) -> Spec:
    """A line between two stages."""
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "layer": "below",
        "line": {"color": palette(mode).grid, "width": 1},
    }


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def _hover(info: BitsInfo, i: int) -> str:
    changed = f" (was {info.before[i]})" if info.before[i] != info.bits[i] else ""
    lock = "<br>locked" if i in info.locked else ""
    others = [info.names[j] for group in info.ties if i in group for j in group if j != i]
    lock += f"<br>tied to {', '.join(others)}" if others else ""
    weights = f"{info.n_weights[i]:,}".replace(",", "\u202f")
    return f"<b>{info.names[i]}</b><br>{info.bits[i]} bits{changed}<br>{weights} weights{lock}"
