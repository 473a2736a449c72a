"""Measured accuracy against size, one series per method that chose the bit-widths and per what the
network was run as: rounded to nearest, or repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clado_core import Assignment
from clado_core.records.names import MEASURED_AS, REPAIRED, ROUNDED, MeasuredAs
from dashboard.figures.series import (
    DIAGONAL,
    FRONT,
    HAWQ,
    HERE,
    MEASURED,
    MPQCO,
    PSD,
    REFINED,
    REPAIRED_MATRIX,
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
    "clado-repaired": REPAIRED_MATRIX,
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
        measured_as: What it was run as.
    """

    assignment: Assignment
    method: str
    top1: float
    ci95: tuple[float, float]
    measured_as: MeasuredAs = ROUNDED


@dataclass(frozen=True, slots=True)
class AccuracySeries:
    """One method, rounded or repaired.

    Args:
        method: Who chose, as in the legends.
        measured_as: What was run.
        sizes: In the chart's metric.
        top1: Percent.
        below: Percent down to the lower end of the 95 % interval.
        above: Percent up to its upper end.
        avg_bits: What a click on a point asks for.
    """

    method: str
    measured_as: MeasuredAs
    sizes: tuple[float, ...]
    top1: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    avg_bits: tuple[float, ...]

    @property
    def name(self) -> str:
        """Legend entry; what the measured matrix chose is what the chart is about."""
        if self.method == CLADO:
            return MEASURED[self.measured_as]
        return f"{self.method}<br>as {self.measured_as}"


@dataclass(frozen=True, slots=True)
class AccuracyInfo:
    """Everything the chart shows.

    Args:
        series: One per method and what was run.
        float_top1: Percent, of the float network.
        n: Samples evaluated.
        here: The current choice on the size axis.
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
    kinds = [(name, measured_as) for name in names for measured_as in MEASURED_AS]
    grouped = {
        kind: [run for run in runs if (NAMES.get(run.method), run.measured_as) == kind]
        for kind in kinds
    }
    return AccuracyInfo(
        series=tuple(_series(*kind, group, scale) for kind, group in grouped.items() if group),
        float_top1=100 * float_top1,
        n=n,
        here=scale.of_assignment(here),
        axis_title=scale.axis_title,
    )


def _series(
    method: str, measured_as: MeasuredAs, runs: Sequence[Run], scale: SizeScale
) -> AccuracySeries:
    return AccuracySeries(
        method=method,
        measured_as=measured_as,
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
    best = [f"{s.method} as {s.measured_as} up to {max(s.top1):.1f} %" for s in info.series]
    return (
        f"Measured top-1 accuracy on {info.n} images: {', '.join(best)}; the float network "
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
            *(_trace(series, mode) for series in _drawn(info)),
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


def _drawn(info: AccuracyInfo) -> list[AccuracySeries]:
    """Ours as both, other methods as one, or the chart is full; the table has them all."""
    repaired = {series.method for series in info.series if series.measured_as == REPAIRED}
    return [
        series
        for series in info.series
        if series.method == CLADO or series.measured_as == REPAIRED or series.method not in repaired
    ]


def _trace(series: AccuracySeries, mode: Mode) -> Spec:
    style = _style(series, mode)
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


def _style(series: AccuracySeries, mode: Mode) -> Spec:
    if series.method != CLADO:
        return series_style(series.method, mode)
    marker = series_style(MEASURED[series.measured_as], mode)["marker"]
    line = series_style(FRONT, mode)["line"]
    if series.measured_as == ROUNDED:
        line = line | {"dash": "dot", "width": 1.5}
    colour = {"color": line["color"]}
    marker = marker | colour | {"line": marker["line"] | colour}
    return {"mode": "lines+markers", "line": line, "marker": marker}


def _hover(series: AccuracySeries, i: int) -> str:
    low, high = series.top1[i] - series.below[i], series.top1[i] + series.above[i]
    return (
        f"<b>{series.method}</b>, measured as {series.measured_as}<br>top-1 {series.top1[i]:.2f} % "
        f"({low:.2f} to {high:.2f})<br>{number(series.avg_bits[i])} avg bits"
    )
