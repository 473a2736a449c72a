"""The front: predicted loss increase against size, with baselines and "you are here"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clado_core import Solution, SolveStatus
from clado_core.records.names import REPAIRED, ROUNDED
from dashboard.figures.axes import SignedLog, signed_log
from dashboard.figures.series import (
    FRONT,
    HERE,
    MEASURED,
    PINNED,
    Curve,
    curve,
    series_style,
)
from dashboard.figures.spec import Spec
from dashboard.scale import SizeScale
from dashboard.theme import Mode, bit_colours, number, palette, signed, template


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
        guessed: As in ``Background``.
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
    guessed: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Background:
    """The part of the chart that does not follow the budget, so that it can be kept.

    Args:
        front: The best known choices for the measured matrix, by size.
        baselines: Further curves: diagonal only, uniform.
        knee: Position of the knee within ``front``, or None.
        proven: Points of the front that are proven optimal.
        bits: Per point of the front one digit per layer; empty where a bit-width has two digits.
        guessed: Per point of the front, whether it is a first guess; empty where none is.
    """

    front: Curve
    baselines: tuple[Curve, ...]
    knee: int | None
    proven: int
    bits: tuple[str, ...] = ()
    guessed: tuple[bool, ...] = ()


def background(
    front: Sequence[Solution],
    scale: SizeScale,
    /,
    *,
    baselines: Sequence[Curve] = (),
    knee: Solution | None = None,
    guesses: str = "",
) -> Background:
    """Collect the series.

    Args:
        front: Best known choices, in order of size.
        scale: Metric of the size axis.
        baselines: Curves beside the front, named as in the legend.
        knee: A member of ``front``.
        guesses: Name of the solver whose choices are first guesses, and are drawn hollow.
    """
    guessed = tuple(s.solver == guesses for s in front)
    digits = all(b < 10 for s in front for b in s.assignment.bits)
    return Background(
        front=curve(FRONT, front, scale),
        baselines=tuple(series for series in baselines if series.sizes),
        bits=tuple("".join(map(str, s.assignment.bits)) for s in front) if digits else (),
        knee=next((i for i, s in enumerate(front) if s is knee), None),
        proven=sum(s.status is SolveStatus.OPTIMAL for s in front),
        guessed=guessed if any(guessed) else (),
    )


def pareto_info(
    known: Background, here: Solution, scale: SizeScale, /, *, pins: Sequence[Solution] = ()
) -> ParetoInfo:
    """Add the current choice and the pinned ones, in order, to what is known."""
    return ParetoInfo(
        front=known.front,
        baselines=known.baselines,
        pins=curve(PINNED, pins, scale),
        here=curve(HERE, [here], scale),
        knee=known.knee,
        axis_title=scale.axis_title,
        proven=known.proven,
        bits=known.bits,
        menu=scale.bit_widths,
        guessed=known.guessed,
    )


def pareto_alt(info: ParetoInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    at, loss = info.here.sizes[0], info.here.losses[0]
    unit = info.axis_title[0].lower() + info.axis_title[1:]
    return (
        f"Front of {len(info.front.sizes)} points, {info.proven} of them proven optimal; chosen "
        f"{number(at)} ({unit}), predicted loss {signed(loss)}."
    )


def pareto_figure(info: ParetoInfo, mode: Mode, /) -> Spec:
    """Draw it."""
    axis = _axis(info)
    others = [_trace(one, axis, mode) for one in info.baselines]
    above = [_trace(one, axis, mode) for one in (info.pins, info.here)]
    return {
        "data": [*others, _front_trace(info, axis, mode), *above],
        "layout": _layout(info, axis, mode),
    }


def _front_trace(info: ParetoInfo, axis: SignedLog, mode: Mode) -> Spec:
    """The front; what is a first guess so far is hollow."""
    trace = _trace(info.front, axis, mode)
    if info.guessed:
        marker, hollow = trace["marker"], palette(mode).background
        trace["marker"] = marker | {
            "color": [hollow if guess else marker["color"] for guess in info.guessed],
            "line": {"width": 1.5, "color": marker["color"]},
        }
    return trace


def here_trace(info: ParetoInfo, mode: Mode, /) -> Spec:
    """The current choice alone: what moves in the chart when only the budget does."""
    return _trace(info.here, _axis(info), mode)


def _axis(info: ParetoInfo) -> SignedLog:
    """Of what no budget moves, so that the axis stands still."""
    return signed_log([loss for series in (info.front, *info.baselines) for loss in series.losses])


def _trace(series: Curve, axis: SignedLog, mode: Mode) -> Spec:
    return {
        "type": "scatter",
        "x": series.sizes,
        "y": axis.of(series.losses),
        "name": series.name,
        "customdata": series.avg_bits,
        "hovertext": series.hover,
        "hoverinfo": "text",
        "text": [str(i + 1) for i in range(len(series.sizes))],
        "showlegend": bool(series.sizes),
        **series_style(series.name, mode),
    }


def _layout(info: ParetoInfo, axis: SignedLog, mode: Mode) -> Spec:
    series = (info.front, *info.baselines, info.pins)
    losses = [loss for one in series for loss in one.losses] or list(info.here.losses)
    values, labels = axis.ticks(min(losses), max(losses))
    layout: Spec = {
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
    return layout


def _loss_title(info: ParetoInfo) -> str:
    drawn = {series.name for series in info.baselines}
    marks = [mark for name, mark in MARKS.items() if name in drawn]
    if marks:
        return f"Loss increase (signed log): predicted; {' '.join(marks)} measured"
    return "Predicted loss increase (signed log)"


MARKS = {MEASURED[ROUNDED]: "×", MEASURED[REPAIRED]: "○"}
"""As they look in the chart."""


def _knee_label(info: ParetoInfo, height: float, colour: str) -> Spec:
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
