"""Does the prediction hold: predicted against measured loss increase of choices that were run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.figures.axes import signed_log
from dashboard.figures.spec import Spec
from dashboard.theme import Mode, number, palette, signed, template


@dataclass(frozen=True, slots=True)
class TrustInfo:
    """Everything the chart shows.

    Args:
        names: Who chose each, and its average bits.
        ours: Whether the measured matrix chose it.
        predicted: Predicted loss increase of each.
        measured: Measured loss increase of each.
        correlation: Spearman's rank correlation of the two, or None with too few.
    """

    names: tuple[str, ...]
    ours: tuple[bool, ...]
    predicted: tuple[float, ...]
    measured: tuple[float, ...]
    correlation: float | None


def trust_alt(info: TrustInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    count = len(info.names)
    if info.correlation is None:
        return f"Predicted against measured loss increase of {count} choices that were run."
    return (
        f"Of {count} choices that were run, predicted and measured loss increases have a rank "
        f"correlation of {number(info.correlation)}."
    )


def trust_rows(info: TrustInfo, /) -> dict[str, list[object]]:
    """One row per choice."""
    return {
        "Choice": list(info.names),
        "Predicted loss increase": list(info.predicted),
        "Measured loss increase": list(info.measured),
    }


def trust_figure(info: TrustInfo, mode: Mode, /) -> Spec:
    """Draw it; on the dotted line both are equal."""
    axis = signed_log([*info.predicted, *info.measured])
    low, high = min(*info.predicted, *info.measured), max(*info.predicted, *info.measured)
    values, labels = axis.ticks(low, high)
    ends = axis.of([low, high]).tolist()
    ticks = {"tickmode": "array", "tickvals": values, "ticktext": labels}
    equal = {
        "type": "scatter",
        "x": ends,
        "y": ends,
        "name": "Equal",
        "mode": "lines",
        "hoverinfo": "skip",
        "line": {"color": palette(mode).muted, "width": 1, "dash": "dot"},
    }
    colours = palette(mode)
    return {
        "data": [
            equal,
            _points(info, False, "Other methods", colours.baseline, "triangle-up"),
            _points(info, True, "CLADO", colours.front, "circle"),
        ],
        "layout": {
            "template": template(mode),
            "margin": {"l": 62, "r": 14, "t": 28, "b": 46},
            "xaxis": {"title": {"text": "Predicted loss increase (signed log)"}, **ticks},
            "yaxis": {"title": {"text": "Measured loss increase (signed log)"}, **ticks},
        },
    }


def _points(info: TrustInfo, ours: bool, name: str, colour: str, symbol: str) -> Spec:
    axis = signed_log([*info.predicted, *info.measured])
    at = [i for i, mine in enumerate(info.ours) if mine is ours]

    def of(values: Sequence[float]) -> list[float]:
        drawn: list[float] = axis.of([values[i] for i in at]).tolist()
        return drawn

    return {
        "type": "scatter",
        "x": of(info.predicted),
        "y": of(info.measured),
        "name": name,
        "mode": "markers",
        "hovertext": [
            f"<b>{info.names[i]}</b><br>predicted {signed(info.predicted[i])}<br>measured "
            f"{signed(info.measured[i])}"
            for i in at
        ],
        "hoverinfo": "text",
        "showlegend": bool(at),
        "marker": {"size": 8, "color": colour, "symbol": symbol},
    }
