"""Two bounds meeting: the best answer found and the best bound proven, over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clado_core.records.matrix import LOSS_PER_OBJECTIVE
from dashboard.figures.spec import Spec
from dashboard.theme import Mode, number, palette, signed, template


@dataclass(frozen=True, slots=True)
class ConvergenceInfo:
    """Everything the chart shows; None where nothing was proven yet.

    Args:
        seconds: When something improved.
        found: Predicted loss increase of the best answer then.
        proven: Predicted loss increase that no answer can fall below, as known then.
    """

    seconds: tuple[float, ...]
    found: tuple[float, ...]
    proven: tuple[float | None, ...]


def convergence_info(trace: Sequence[tuple[float, float, float]], /) -> ConvergenceInfo:
    """Collect the steps.

    Args:
        trace: (elapsed seconds, x'Gx, bound on x'Gx) at every improvement.
    """
    return ConvergenceInfo(
        seconds=tuple(t for t, _, _ in trace),
        found=tuple(LOSS_PER_OBJECTIVE * value for _, value, _ in trace),
        proven=tuple(
            LOSS_PER_OBJECTIVE * bound if math.isfinite(bound) else None for _, _, bound in trace
        ),
    )


def convergence_alt(info: ConvergenceInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    bound = info.proven[-1]
    proven = "no bound yet" if bound is None else f"the optimum is at least {signed(bound)}"
    return (
        f"After {number(info.seconds[-1])} s the best predicted loss is {signed(info.found[-1])}; "
        f"{proven}."
    )


def convergence_rows(info: ConvergenceInfo, /) -> dict[str, list[float | None]]:
    """Both bounds as a table."""
    return {
        "Seconds": list(info.seconds),
        "Best found": list(info.found),
        "Proven bound": list(info.proven),
    }


def convergence_figure(info: ConvergenceInfo, mode: Mode, /) -> Spec:
    """Draw both as steps."""
    colours = palette(mode)

    def steps(name: str, values: Sequence[float | None], colour: str, dash: str) -> Spec:
        return {
            "type": "scatter",
            "x": list(info.seconds),
            "y": list(values),
            "name": name,
            "mode": "lines+markers",
            "line": {"shape": "hv", "color": colour, "dash": dash, "width": 2},
            "marker": {"size": 5},
        }

    return {
        "data": [
            steps("Best found", info.found, colours.front, "solid"),
            steps("Proven bound", info.proven, colours.baseline, "dash"),
        ],
        "layout": {
            "template": template(mode),
            "margin": {"l": 58, "r": 12, "t": 28, "b": 40},
            "xaxis": {"title": {"text": "Seconds"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "Predicted loss increase"}},
        },
    }
