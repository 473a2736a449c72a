"""Parallel coordinates over candidate assignments: sizes, predicted loss, bits per stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core import Solution
from dashboard.figures.axes import signed_log
from dashboard.figures.bits import stages
from dashboard.figures.spec import Spec
from dashboard.theme import MEGABYTE, Mode, palette, template

MAX_STAGES = 6
"""Axes that fit beside the three of the whole network."""


@dataclass(frozen=True, slots=True, eq=False)
class ParallelInfo:
    """Everything the chart shows.

    Args:
        axes: Title per axis; the third is the predicted loss increase.
        values: Shape (candidates, axes).
        bits: Bit-widths per candidate, to tell which one a row is.
        origins: Where each candidate comes from: "front", "diagonal", ...
        optimal: Whether no other candidate matches or beats it in size and loss.
    """

    axes: tuple[str, ...]
    values: npt.NDArray[np.float64]
    bits: tuple[tuple[int, ...], ...]
    origins: tuple[str, ...]
    optimal: tuple[bool, ...]


def parallel_info(candidates: Sequence[tuple[str, Solution]], /) -> ParallelInfo:
    """Collect the rows, each assignment once.

    Args:
        candidates: (origin, solution) pairs of one network, at least one.
    """
    once = {s.assignment.bits: (origin, s) for origin, s in reversed(candidates)}
    rows = sorted(once.values(), key=lambda row: row[1].assignment.size_bits)
    layers = rows[0][1].assignment.layers
    groups = stages(layers)[:MAX_STAGES] if len(stages(layers)) <= MAX_STAGES else ()
    weights = layers.n_weights
    values, optimal, least = [], [], np.inf
    for _, solution in rows:
        chosen = solution.assignment
        bits = np.array(chosen.bits)
        per_stage = [
            float(bits[a : z + 1] @ weights[a : z + 1] / weights[a : z + 1].sum())
            for _, a, z in groups
        ]
        loss = solution.predicted_loss_increase
        values.append([chosen.avg_bits, chosen.size_bytes / MEGABYTE, loss, *per_stage])
        optimal.append(loss < least)
        least = min(least, loss)
    return ParallelInfo(
        axes=("Average bits", "MB", "Predicted loss", *(label or "all" for label, _, _ in groups)),
        values=np.array(values),
        bits=tuple(s.assignment.bits for _, s in rows),
        origins=tuple(origin for origin, _ in rows),
        optimal=tuple(optimal),
    )


def shown(info: ParallelInfo) -> npt.NDArray[np.float64]:
    """Values as drawn and brushed: the loss on its signed logarithm."""
    drawn = info.values.copy()
    drawn[:, 2] = signed_log(info.values[:, 2].tolist()).of(info.values[:, 2])
    return drawn


def within(info: ParallelInfo, ranges: Sequence[object], /) -> npt.NDArray[np.bool_]:
    """Which candidates every brushed range contains, shape (candidates,)."""
    drawn, inside = shown(info), np.ones(len(info.values), dtype=np.bool_)
    for column, wanted in zip(drawn.T, ranges, strict=False):
        if wanted is None:
            continue
        spans = np.atleast_2d(np.array(wanted, dtype=np.float64))
        inside &= np.any([(column >= low) & (column <= high) for low, high in spans], axis=0)
    return inside


def parallel_alt(info: ParallelInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    low, high = info.values[:, 0].min(), info.values[:, 0].max()
    return (
        f"{len(info.values)} candidates from {low:.2f} to {high:.2f} average bits, "
        f"{sum(info.optimal)} of them matched by no other in size and predicted loss."
    )


def parallel_rows(info: ParallelInfo, /) -> dict[str, list[object]]:
    """The candidates as a table."""
    columns = {
        title: column.tolist() for title, column in zip(info.axes, info.values.T, strict=True)
    }
    return {"Origin": list(info.origins), **columns}


def parallel_figure(info: ParallelInfo, mode: Mode, /) -> Spec:
    """Draw it; lines are coloured by average bits."""
    colours, drawn = palette(mode), shown(info)
    losses = info.values[:, 2].tolist()
    positions, labels = signed_log(losses).ticks(min(losses), max(losses))
    axes = [
        {"label": title, "values": column} for title, column in zip(info.axes, drawn.T, strict=True)
    ]
    if len(positions) > 1:
        axes[2] |= {"tickvals": positions, "ticktext": labels}
    return {
        "data": [
            {
                "type": "parcoords",
                "dimensions": axes,
                "line": {
                    "color": drawn[:, 0],
                    "colorscale": [[0, colours.accent], [0.5, colours.front], [1, colours.muted]],
                },
                "labelfont": {"size": 12, "color": colours.text},
                "tickfont": {"size": 11, "color": colours.text},
                "rangefont": {"size": 10, "color": "rgba(0,0,0,0)"},
                "unselected": {"line": {"opacity": 0.12}},
            }
        ],
        "layout": {
            "template": template(mode),
            # Ticks cast a shadow in this colour, white by default.
            "paper_bgcolor": colours.background,
            "margin": {"l": 60, "r": 50, "t": 50, "b": 20},
        },
    }
