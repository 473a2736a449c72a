"""The front: predicted loss increase against size, with baselines and "you are here"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from clado_core import Solution
from dashboard.figures.axes import signed_log
from dashboard.scale import SizeScale, round_up
from dashboard.theme import Mode, number, palette, signed, template


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


@dataclass(frozen=True, slots=True)
class ParetoInfo:
    """Everything the front chart shows.

    Args:
        front: The best known choices for the measured matrix, by size.
        baselines: Further curves: diagonal only, uniform.
        pins: Pinned choices, named "Pin 1", "Pin 2", ...
        here: The current choice, one point.
        knee: Position of the knee within ``front``, or None.
        axis_title: Title of the size axis.
        proven: Points of the front that are proven optimal.
    """

    front: Curve
    baselines: tuple[Curve, ...]
    pins: Curve
    here: Curve
    knee: int | None
    axis_title: str
    proven: int


def curve(name: str, solutions: Sequence[Solution], scale: SizeScale, /) -> Curve:
    """A series of solutions in a network's metric."""
    return Curve(
        name=name,
        sizes=tuple(scale.of_assignment(s.assignment) for s in solutions),
        losses=tuple(s.predicted_loss_increase for s in solutions),
        avg_bits=tuple(round_up(s.assignment.avg_bits) for s in solutions),
        hover=tuple(_hover(name, s) for s in solutions),
    )


def pareto_info(
    front: Sequence[Solution],
    here: Solution,
    scale: SizeScale,
    /,
    *,
    diagonal: Sequence[Solution] = (),
    uniform: Sequence[Solution] = (),
    pins: Sequence[Solution] = (),
    knee: Solution | None = None,
    proven: int = 0,
) -> ParetoInfo:
    """Collect the series.

    Args:
        front: Best known choices, in order of size.
        here: The current choice.
        scale: Metric of the size axis.
        diagonal: Choices of the additive model, valued by the measured matrix.
        uniform: One per bit-width of the menu.
        pins: Pinned choices in order.
        knee: A member of ``front``.
        proven: How many points of ``front`` are proven optimal.
    """
    best = list(front)
    series = (("Diagonal only", diagonal), ("Uniform", uniform))
    return ParetoInfo(
        front=curve("Front", best, scale),
        baselines=tuple(curve(name, members, scale) for name, members in series if members),
        pins=curve("Pinned", pins, scale),
        here=curve("You are here", [here], scale),
        knee=best.index(knee) if knee in best else None,
        axis_title=scale.axis_title,
        proven=proven,
    )


def pareto_alt(info: ParetoInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    at, loss = info.here.sizes[0], info.here.losses[0]
    return (
        f"Front of {len(info.front.sizes)} points, {info.proven} of them proven optimal; chosen "
        f"{number(at)} ({info.axis_title.lower()}), predicted loss {signed(loss)}."
    )


def pareto_figure(info: ParetoInfo, mode: Mode, /) -> go.Figure:
    """Draw it."""
    colours = palette(mode)
    curves = (info.front, *info.baselines, info.pins, info.here)
    losses = [loss for c in curves for loss in c.losses]
    axis = signed_log(losses)

    def scatter(series: Curve, **style: object) -> go.Scatter:
        return go.Scatter(
            x=series.sizes,
            y=axis.of(series.losses),
            name=series.name,
            customdata=series.avg_bits,
            hovertext=series.hover,
            hoverinfo="text",
            **style,
        )

    line = {"color": colours.front, "width": 2}
    styles: dict[str, dict[str, object]] = {
        "Diagonal only": {
            "mode": "lines+markers",
            "line": {"color": colours.baseline, "width": 1.5, "dash": "dash"},
            "marker": {"size": 6, "symbol": "triangle-up"},
        },
        "Uniform": {
            "mode": "markers",
            "marker": {"size": 9, "symbol": "square-open", "color": colours.uniform},
        },
    }
    figure = go.Figure(layout={"template": template(mode)})
    for series in info.baselines:
        figure.add_trace(scatter(series, **styles[series.name]))
    marker = {"size": 7, "color": colours.front}
    figure.add_trace(scatter(info.front, mode="lines+markers", line=line, marker=marker))
    pin_style = {"size": 12, "symbol": "diamond-open", "color": colours.text, "line": {"width": 2}}
    labels = [str(i + 1) for i in range(len(info.pins.sizes))]
    figure.add_trace(
        scatter(
            info.pins,
            mode="markers+text",
            text=labels,
            textposition="top center",
            marker=pin_style,
            showlegend=bool(labels),
        )
    )
    star = {
        "size": 17,
        "symbol": "star",
        "color": colours.accent,
        "line": {"width": 1.5, "color": colours.background},
    }
    figure.add_trace(scatter(info.here, mode="markers", marker=star))
    _frame(figure, info, axis.ticks(min(losses), max(losses)))
    if info.knee is not None:
        _mark_knee(figure, info, float(axis.of(info.front.losses[info.knee])), colours.muted)
    return figure


def _frame(figure: go.Figure, info: ParetoInfo, ticks: tuple[list[float], list[str]]) -> None:
    figure.update_layout(
        margin={"l": 62, "r": 14, "t": 28, "b": 46},
        xaxis={"title": {"text": info.axis_title}},
        yaxis={
            "title": {"text": "Predicted loss increase (signed log)"},
            "tickmode": "array",
            "tickvals": ticks[0],
            "ticktext": ticks[1],
        },
    )


def _mark_knee(figure: go.Figure, info: ParetoInfo, height: float, colour: str) -> None:
    assert info.knee is not None
    figure.add_annotation(
        x=info.front.sizes[info.knee],
        y=height,
        text="knee",
        showarrow=True,
        arrowhead=0,
        arrowwidth=1,
        arrowcolor=colour,
        ax=-26,
        ay=28,
        font={"size": 12, "color": colour},
    )


def _hover(name: str, solution: Solution) -> str:
    chosen = solution.assignment
    counts = Counter(chosen.bits)
    histogram = " · ".join(f"{n} at {b}" for b, n in sorted(counts.items()))
    return (
        f"<b>{name}</b><br>predicted loss {signed(solution.predicted_loss_increase)}"
        f"<br>{chosen.avg_bits:.2f} avg bits · {number(chosen.size_bytes / 1e6)} MB"
        f"<br>layers: {histogram} bits<br>{solution.status.value}"
    )
