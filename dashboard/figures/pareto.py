"""The front: predicted loss increase against size, with baselines and "you are here"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clado_core import Assignment, Solution, SolveStatus
from dashboard.figures.axes import signed_log
from dashboard.figures.spec import Spec
from dashboard.scale import SizeScale, round_up
from dashboard.theme import Mode, bit_colours, number, palette, signed, template

PSD, MEASURED = "PSD (paper)", "Measured"


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
        bits: As in ``Background``, for highlighting across charts.
        menu: The bit-widths.
    """

    front: Curve
    baselines: tuple[Curve, ...]
    pins: Curve
    here: Curve
    knee: int | None
    axis_title: str
    proven: int
    bits: tuple[str, ...] = ()
    menu: tuple[int, ...] = ()


def curve(name: str, solutions: Sequence[Solution], scale: SizeScale, /) -> Curve:
    """A series of solutions in a network's metric."""
    return Curve(
        name=name,
        sizes=tuple(scale.of_assignment(s.assignment) for s in solutions),
        losses=tuple(s.predicted_loss_increase for s in solutions),
        avg_bits=tuple(round_up(s.assignment.avg_bits) for s in solutions),
        hover=tuple(_hover(name, s) for s in solutions),
    )


@dataclass(frozen=True, slots=True)
class Background:
    """The part of the chart that does not follow the budget, so that it can be kept.

    Args:
        front: The best known choices for the measured matrix, by size.
        baselines: Further curves: diagonal only, uniform.
        knee: Position of the knee within ``front``, or None.
        proven: Points of the front that are proven optimal.
        bits: Per point of the front one digit per layer; empty where a bit-width has two digits.
    """

    front: Curve
    baselines: tuple[Curve, ...]
    knee: int | None
    proven: int
    bits: tuple[str, ...] = ()


def background(
    front: Sequence[Solution],
    scale: SizeScale,
    /,
    *,
    baselines: Sequence[Curve] = (),
    knee: Solution | None = None,
) -> Background:
    """Collect the series.

    Args:
        front: Best known choices, in order of size.
        scale: Metric of the size axis.
        baselines: Curves beside the front, named as in the legend.
        knee: A member of ``front``.
    """
    digits = all(b < 10 for s in front for b in s.assignment.bits)
    return Background(
        front=curve("Front", front, scale),
        baselines=tuple(series for series in baselines if series.sizes),
        bits=tuple("".join(map(str, s.assignment.bits)) for s in front) if digits else (),
        knee=next((i for i, s in enumerate(front) if s is knee), None),
        proven=sum(s.status is SolveStatus.OPTIMAL for s in front),
    )


def pareto_info(
    known: Background, here: Solution, scale: SizeScale, /, *, pins: Sequence[Solution] = ()
) -> ParetoInfo:
    """Add the current choice and the pinned ones, in order, to what is known."""
    return ParetoInfo(
        front=known.front,
        baselines=known.baselines,
        pins=curve("Pinned", pins, scale),
        here=curve("You are here", [here], scale),
        knee=known.knee,
        axis_title=scale.axis_title,
        proven=known.proven,
        bits=known.bits,
        menu=scale.bit_widths,
    )


def pareto_alt(info: ParetoInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    at, loss = info.here.sizes[0], info.here.losses[0]
    unit = info.axis_title[0].lower() + info.axis_title[1:]
    return (
        f"Front of {len(info.front.sizes)} points, {info.proven} of them proven optimal; chosen "
        f"{number(at)} ({unit}), predicted loss {signed(loss)}."
    )


def measured_curve(runs: Sequence[tuple[Assignment, float, str]], scale: SizeScale, /) -> Curve:
    """Choices that were run.

    Args:
        runs: (bit-widths, measured loss increase, hover line) of each.
        scale: Metric of the size axis.
    """
    return Curve(
        name=MEASURED,
        sizes=tuple(scale.of_assignment(a) for a, _, _ in runs),
        losses=tuple(loss for _, loss, _ in runs),
        avg_bits=tuple(round_up(a.avg_bits) for a, _, _ in runs),
        hover=tuple(text for _, _, text in runs),
    )


def pareto_figure(info: ParetoInfo, mode: Mode, /) -> Spec:
    """Draw it."""
    losses = [
        loss
        for series in (info.front, *info.baselines, info.pins, info.here)
        for loss in series.losses
    ]
    axis = signed_log(losses)
    styled = [
        *((series, _style(series.name, mode)) for series in info.baselines),
        (info.front, _style("Front", mode)),
        (info.pins, _style("Pinned", mode) | {"showlegend": bool(info.pins.sizes)}),
        (info.here, _style("You are here", mode)),
    ]
    traces = [
        {
            "type": "scatter",
            "x": series.sizes,
            "y": axis.of(series.losses),
            "name": series.name,
            "customdata": series.avg_bits,
            "hovertext": series.hover,
            "hoverinfo": "text",
            "text": [str(i + 1) for i in range(len(series.sizes))],
            **style,
        }
        for series, style in styled
    ]
    values, labels = axis.ticks(min(losses), max(losses))
    layout = {
        "template": template(mode),
        "meta": {"kind": "front", "bits": info.bits, "shades": bit_colours(info.menu, mode)},
        "margin": {"l": 62, "r": 14, "t": 28, "b": 46},
        "xaxis": {"title": {"text": info.axis_title}},
        "yaxis": {
            "title": {"text": _loss_title(info)},
            "tickmode": "array",
            "tickvals": values,
            "ticktext": labels,
        },
    }
    if info.knee is not None:
        height = float(axis.of(info.front.losses[info.knee]))
        layout["annotations"] = [_knee_label(info, height, palette(mode).muted)]
    return {"data": traces, "layout": layout}


def _loss_title(info: ParetoInfo) -> str:
    if any(series.name == MEASURED for series in info.baselines):
        return "Loss increase (signed log): predicted; × measured"
    return "Predicted loss increase (signed log)"


def _style(name: str, mode: Mode) -> dict[str, Any]:
    """Symbol, dash and colour all differ, so none is needed alone."""
    colours = palette(mode)
    styles: dict[str, dict[str, Any]] = {
        "Diagonal only": {
            "mode": "lines+markers",
            "line": {"color": colours.baseline, "width": 1.5, "dash": "dash"},
            "marker": {"size": 6, "symbol": "triangle-up"},
        },
        PSD: {
            "mode": "lines+markers",
            "line": {"color": colours.uniform, "width": 1.5, "dash": "dot"},
            "marker": {"size": 6, "symbol": "cross"},
            "visible": "legendonly",
        },
        MEASURED: {
            "mode": "markers",
            "marker": {"size": 10, "symbol": "x-thin", "line": {"width": 2, "color": colours.text}},
        },
        "Uniform": {
            "mode": "markers",
            "marker": {"size": 9, "symbol": "square-open", "color": colours.uniform},
        },
        "Front": {
            "mode": "lines+markers",
            "line": {"color": colours.front, "width": 2},
            "marker": {"size": 7, "color": colours.front},
        },
        "Pinned": {
            "mode": "markers+text",
            "textposition": "bottom left",
            "marker": {
                "size": 12,
                "symbol": "diamond-open",
                "color": colours.text,
                "line": {"width": 2},
            },
        },
        "You are here": {
            "mode": "markers",
            "marker": {
                "size": 17,
                "symbol": "star",
                "color": colours.accent,
                "line": {"width": 1.5, "color": colours.background},
            },
        },
    }
    return styles[name]


def _knee_label(info: ParetoInfo, height: float, colour: str) -> dict[str, Any]:
    assert info.knee is not None
    return {
        "x": info.front.sizes[info.knee],
        "y": height,
        "text": "knee",
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 1,
        "arrowcolor": colour,
        "ax": -26,
        "ay": 28,
        "font": {"size": 12, "color": colour},
    }


def _hover(name: str, solution: Solution) -> str:
    chosen = solution.assignment
    counts = Counter(chosen.bits)
    histogram = " · ".join(f"{n} at {b}" for b, n in sorted(counts.items()))
    return (
        f"<b>{name}</b><br>predicted loss {signed(solution.predicted_loss_increase)}"
        f"<br>{chosen.avg_bits:.2f} avg bits · {number(chosen.size_bytes / 1e6)} MB"
        f"<br>layers: {histogram} bits<br>{solution.status.value}"
    )
