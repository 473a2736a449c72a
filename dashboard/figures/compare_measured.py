"""Two sides' measured accuracy against size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clado_core import SensitivityMatrix
from dashboard.figures.accuracy import Run, percentages
from dashboard.figures.spec import Spec
from dashboard.theme import Mode, palette, template


@dataclass(frozen=True, slots=True)
class MeasuredSide:
    """What was measured of one side.

    Args:
        name: Legend entry.
        sizes: Fraction of the size with every layer at the menu's highest bit-width.
        top1: Percent.
        below: Percent down to the lower end of the 95 % interval.
        above: Percent up to its upper end.
        float_top1: Percent, of the float network.
    """

    name: str
    sizes: tuple[float, ...]
    top1: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    float_top1: float


def measured_side(
    name: str, matrix: SensitivityMatrix, runs: Sequence[Run], float_top1: float, /
) -> MeasuredSide:
    """Place one side's runs on the axes of the fronts.

    Args:
        name: Legend entry.
        matrix: The network's sensitivities.
        runs: Its choices that were run, in order of size.
        float_top1: Share that the float network classifies correctly.
    """
    full = matrix.bit_widths[-1] * matrix.layers.total_weights
    return MeasuredSide(
        name=name,
        sizes=tuple(run.assignment.size_bits / full for run in runs),
        **percentages(runs),
        float_top1=100 * float_top1,
    )


def measured_alt(sides: Sequence[MeasuredSide], /) -> str:
    """The takeaway in one sentence, for screen readers."""
    said = [
        f"{s.name} from {s.top1[0]:.1f} % at {100 * s.sizes[0]:.0f} % of the size to "
        f"{s.top1[-1]:.1f} % at {100 * s.sizes[-1]:.0f} %"
        for s in sides
    ]
    return f"Measured top-1 accuracy: {'; '.join(said)}."


def measured_rows(sides: Sequence[MeasuredSide], /) -> dict[str, list[object]]:
    """As a table."""
    return {
        "Name": [s.name for s in sides for _ in s.sizes],
        "Size, fraction": [round(x, 4) for s in sides for x in s.sizes],
        "Top-1 (%)": [round(x, 2) for s in sides for x in s.top1],
        "− (%)": [round(x, 2) for s in sides for x in s.below],
        "+ (%)": [round(x, 2) for s in sides for x in s.above],
        "Float top-1 (%)": [round(s.float_top1, 2) for s in sides for _ in s.sizes],
    }


def measured_figure(a: MeasuredSide | None, b: MeasuredSide | None, mode: Mode, /) -> Spec:
    """Draw what was measured; each float network is a dotted line, bars are 95 % intervals."""
    colours = palette(mode)
    styles = ((a, colours.front, "solid", "circle"), (b, colours.baseline, "dash", "x"))
    shown = [(side, c, dash, symbol) for side, c, dash, symbol in styles if side is not None]
    lowest = min((min(side.top1) for side, *_ in shown), default=0.0)
    levels = {side.float_top1: colour for side, colour, _, _ in shown}
    return {
        "data": [
            *(_float_line(y, colour) for y, colour in levels.items()),
            *(_trace(*each) for each in shown),
        ],
        "layout": {
            "template": template(mode),
            "margin": {"l": 62, "r": 14, "t": 28, "b": 46},
            "xaxis": {"title": {"text": "Size as a fraction of the highest bit-width everywhere"}},
            "yaxis": {
                "title": {"text": "Measured top-1 accuracy (%)"},
                "range": [max(0.0, lowest - 4), 101],
            },
        },
    }


def _float_line(y: float, colour: str) -> Spec:
    return {
        "type": "scatter",
        "x": [0, 1],
        "y": [y, y],
        "name": "Float network",
        "mode": "lines",
        "showlegend": False,
        "hoverinfo": "name+y",
        "line": {"color": colour, "width": 1, "dash": "dot"},
    }


def _trace(side: MeasuredSide, colour: str, dash: str, symbol: str) -> Spec:
    return {
        "type": "scatter",
        "x": side.sizes,
        "y": side.top1,
        "error_y": {
            "type": "data",
            "array": side.above,
            "arrayminus": side.below,
            "thickness": 1,
            "width": 2,
        },
        "name": side.name,
        "mode": "lines+markers" if len(side.sizes) > 1 else "markers",
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"symbol": symbol, "size": 6, "color": colour},
    }
