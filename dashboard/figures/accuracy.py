"""Measured accuracy against size, one series per method that chose the bit-widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clado_core import Assignment
from dashboard.figures.series import (
    DIAGONAL,
    FRONT,
    HAWQ,
    HERE,
    MPQCO,
    PSD,
    REFINED,
    UNIFORM,
    series_style,
)
from dashboard.figures.spec import Spec
from dashboard.scale import SizeScale, round_up
from dashboard.theme import Mode, number, palette, template

CLADO = "CLADO"
NAMES = {
    "": CLADO,
    "clado": CLADO,
    "clado-refined": REFINED,
    "diagonal": DIAGONAL,
    "hawq": HAWQ,
    "mpqco": MPQCO,
    "clado-psd": PSD,
    "uniform": UNIFORM,
}
"""Methods that are drawn, in the legend's order, and how they are called."""


@dataclass(frozen=True, slots=True)
class Run:
    """A choice that was run.

    Args:
        assignment: Its bit-widths.
        method: Who chose it, as in ``NAMES``; others are not drawn.
        top1: Share classified correctly.
        ci95: Its 95 % interval.
    """

    assignment: Assignment
    method: str
    top1: float
    ci95: tuple[float, float]


@dataclass(frozen=True, slots=True)
class AccuracySeries:
    """One method.

    Args:
        name: Legend entry.
        sizes: In the chart's metric.
        top1: Percent.
        below: Percent down to the lower end of the 95 % interval.
        above: Percent up to its upper end.
        avg_bits: What a click on a point asks for.
    """

    name: str
    sizes: tuple[float, ...]
    top1: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    avg_bits: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AccuracyInfo:
    """Everything the chart shows.

    Args:
        series: One per method.
        float_top1: Percent, of the float network.
        n: Samples evaluated.
        here: The current choice on the size axis; its accuracy was not measured.
        axis_title: Title of the size axis.
    """

    series: tuple[AccuracySeries, ...]
    float_top1: float
    n: int
    here: float
    axis_title: str


def accuracy_info(
    runs: Sequence[Run], float_top1: float, n: int, here: Assignment, scale: SizeScale, /
) -> AccuracyInfo:
    """Collect the series.

    Args:
        runs: In order of size.
        float_top1: Share that the float network classifies correctly.
        n: Samples evaluated.
        here: The current choice.
        scale: Metric of the size axis.
    """
    names = list(dict.fromkeys(NAMES.values()))
    grouped = {name: [run for run in runs if NAMES.get(run.method) == name] for name in names}
    return AccuracyInfo(
        series=tuple(_series(name, group, scale) for name, group in grouped.items() if group),
        float_top1=100 * float_top1,
        n=n,
        here=scale.of_assignment(here),
        axis_title=scale.axis_title,
    )


def _series(name: str, runs: Sequence[Run], scale: SizeScale) -> AccuracySeries:
    return AccuracySeries(
        name=name,
        sizes=tuple(scale.of_assignment(run.assignment) for run in runs),
        **percentages(runs),
        avg_bits=tuple(round_up(run.assignment.avg_bits) for run in runs),
    )


def percentages(runs: Sequence[Run], /) -> dict[str, tuple[float, ...]]:
    """Percent right of each run ("top1"), and down and up to its interval ("below", "above")."""
    return {
        "top1": tuple(100 * run.top1 for run in runs),
        "below": tuple(100 * (run.top1 - run.ci95[0]) for run in runs),
        "above": tuple(100 * (run.ci95[1] - run.top1) for run in runs),
    }


def accuracy_alt(info: AccuracyInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    best = [f"{s.name} up to {max(s.top1):.1f} %" for s in info.series]
    return (
        f"Measured top-1 accuracy on {info.n} samples: {', '.join(best)}; the float network "
        f"{info.float_top1:.1f} %."
    )


def accuracy_figure(info: AccuracyInfo, mode: Mode, /) -> Spec:
    """Draw it; bars are 95 % intervals."""
    lowest = min((min(s.top1) for s in info.series), default=0.0)
    ends = [x for s in info.series for x in s.sizes] + [info.here]
    reference = {
        "type": "scatter",
        "x": [min(ends), max(ends)],
        "y": [info.float_top1] * 2,
        "name": "Float network",
        "mode": "lines",
        "hoverinfo": "name+y",
        "line": {"color": palette(mode).muted, "width": 1, "dash": "dot"},
    }
    return {
        "data": [
            reference,
            *(_trace(series, mode) for series in info.series),
            here_line(info, mode),
        ],
        "layout": {
            "template": template(mode),
            "meta": {"kind": "accuracy"},
            "margin": {"l": 62, "r": 14, "t": 28, "b": 46},
            "xaxis": {"title": {"text": info.axis_title}},
            "yaxis": {
                "title": {"text": "Measured top-1 accuracy (%)"},
                "range": [max(0.0, lowest - 4), 101],
            },
        },
    }


def here_line(info: AccuracyInfo, mode: Mode, /) -> Spec:
    """Where the current choice stands: what moves in the chart when only the budget does."""
    return {
        "type": "scatter",
        "x": [info.here, info.here],
        "y": [0, 101],
        "name": HERE,
        "mode": "lines",
        "hoverinfo": "skip",
        "line": {"color": palette(mode).accent, "width": 1.5},
    }


def _trace(series: AccuracySeries, mode: Mode) -> Spec:
    style = series_style(FRONT if series.name == CLADO else series.name, mode)
    colour = style["marker"].get("color")
    return {
        "type": "scatter",
        "x": series.sizes,
        "y": series.top1,
        "name": series.name,
        "customdata": series.avg_bits,
        "hovertext": [_hover(series, i) for i in range(len(series.sizes))],
        "hoverinfo": "text",
        "error_y": {
            "type": "data",
            "array": series.above,
            "arrayminus": series.below,
            "thickness": 1,
            "width": 3,
            "color": colour,
        },
        **style,
    }


def _hover(series: AccuracySeries, i: int) -> str:
    low, high = series.top1[i] - series.below[i], series.top1[i] + series.above[i]
    return (
        f"<b>{series.name}</b>, measured<br>top-1 {series.top1[i]:.2f} % "
        f"({low:.2f} to {high:.2f})<br>{number(series.avg_bits[i])} avg bits"
    )
