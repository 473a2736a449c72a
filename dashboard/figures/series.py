"""Series of choices over sizes: what the front chart draws, and how each is told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clado_core import Assignment, Solution
from clado_core.records import names
from clado_core.records.names import REPAIRED, ROUNDED, MeasuredAs
from dashboard.scale import SizeScale, round_up
from dashboard.theme import Mode, number, palette, signed

FRONT, HERE, PINNED = "Front", "You are here", "Pinned"
DIAGONAL, HAWQ, MPQCO = "Diagonal only", "HAWQ", "MPQCO"
REFINED, REPAIRED_MATRIX = "Refined", "CLADO on the repaired matrix"
REFINED_SENTENCE = "Of least measured loss among those run; not the predicted optimum."
PSD, UNIFORM = "PSD (paper)", "Uniform"
MEASURED: dict[MeasuredAs, str] = {
    ROUNDED: "Measured<br>as rounded",
    REPAIRED: "Measured<br>as repaired",
}
"""What the quantized network was run as; the two are never one series. In two lines, because a
legend gives every entry the width of the widest."""
METHOD_NAMES = {"diagonal": DIAGONAL, "hawq": HAWQ, "mpqco": MPQCO, "psd": PSD}
"""What else can be minimized, and how it is called."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One series of the chart.

    Args:
        name: Legend entry.
        sizes: In the chart's metric.
        losses: Predicted loss increases.
        avg_bits: What a click on a point asks for.
        hover: One line per point.
    """

    name: str
    sizes: tuple[float, ...]
    losses: tuple[float, ...]
    avg_bits: tuple[float, ...]
    hover: tuple[str, ...]


def curve(name: str, solutions: Sequence[Solution], scale: SizeScale, /) -> Curve:
    """A series of solutions in a network's metric."""
    return Curve(
        name=name,
        sizes=tuple(scale.of_assignment(s.assignment) for s in solutions),
        losses=tuple(s.predicted_loss_increase for s in solutions),
        avg_bits=tuple(round_up(s.assignment.avg_bits) for s in solutions),
        hover=tuple(_hover(name, s) for s in solutions),
    )


def measured_curve(
    measured_as: MeasuredAs, runs: Sequence[tuple[Assignment, float, str]], scale: SizeScale, /
) -> Curve:
    """Choices that were run.

    Args:
        measured_as: What as.
        runs: (bit-widths, measured loss increase, hover line) of each.
        scale: Metric of the size axis.
    """
    return Curve(
        name=MEASURED[measured_as],
        sizes=tuple(scale.of_assignment(a) for a, _, _ in runs),
        losses=tuple(loss for _, loss, _ in runs),
        avg_bits=tuple(round_up(a.avg_bits) for a, _, _ in runs),
        hover=tuple(text for _, _, text in runs),
    )


def series_style(name: str, mode: Mode, /) -> dict[str, Any]:
    """Symbol, dash and colour all differ, so none is needed alone."""
    colours = palette(mode)
    if name in LINES:
        colour, dash, symbol, hidden = LINES[name]
        shade = getattr(colours, colour)
        return {
            "mode": "lines+markers",
            "line": {"color": shade, "width": 2 if name == FRONT else 1.5, "dash": dash},
            "marker": {"size": 7 if name == FRONT else 6, "symbol": symbol, "color": shade},
            **({"visible": "legendonly"} if hidden else {}),
        }
    outline = {"width": 1.5, "color": colours.background}
    marker: dict[str, Any] = {
        MEASURED[ROUNDED]: _thin("x-thin", colours.text),
        MEASURED[REPAIRED]: _thin("circle-open", colours.text),
        UNIFORM: {"size": 9, "symbol": "square-open", "color": colours.uniform},
        PINNED: {
            "size": 12,
            "symbol": "diamond-open",
            "color": colours.text,
            "line": {"width": 2},
        },
        HERE: {"size": 17, "symbol": "star", "color": colours.accent, "line": outline},
    }[name]
    if name == PINNED:
        return {"mode": "markers+text", "textposition": "bottom left", "marker": marker}
    return {"mode": "markers", "marker": marker}


def _thin(symbol: str, colour: str) -> dict[str, Any]:
    return {"size": 10, "symbol": symbol, "color": colour, "line": {"width": 2, "color": colour}}


LINES = {
    FRONT: ("front", "solid", "circle", False),
    REFINED: ("text", "solid", "diamond", False),
    REPAIRED_MATRIX: ("text", "longdashdot", "hexagon", False),
    DIAGONAL: ("baseline", "dash", "triangle-up", False),
    HAWQ: ("third", "dashdot", "triangle-down", False),
    MPQCO: ("fourth", "longdash", "pentagon", False),
    PSD: ("uniform", "dot", "cross", True),
}
"""Curves: colour in the palette, dash, symbol, and whether one has to ask for it."""


def _hover(name: str, solution: Solution) -> str:
    chosen = solution.assignment
    refined = solution.method == names.REFINED
    told = REFINED_SENTENCE if refined else solution.status.value
    counts = Counter(chosen.bits)
    histogram = " · ".join(f"{n} at {b}" for b, n in sorted(counts.items()))
    return (
        f"<b>{name}</b><br>predicted loss {signed(solution.predicted_loss_increase)}"
        f"<br>{chosen.avg_bits:.2f} avg bits · {number(chosen.size_bytes / 1e6)} MB"
        f"<br>layers: {histogram} bits<br>{told}"
    )
