"""Two budgets at once: the least predicted loss within each size and each limit on operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from clado_core.records.trust import kind_of_doubt
from dashboard.figures.axes import signed_log
from dashboard.figures.spec import Spec
from dashboard.scale import GIGA
from dashboard.theme import Mode, number, palette, signed, template

MOST_NUMBERED = 12
"""Up to so many cells in a row each shows its number."""

IDLE_SIZE, IDLE_LIMIT = "Right of it the size is idle", "Above it the limit is idle"


@dataclass(frozen=True, slots=True, eq=False)
class GridInfo:
    """Everything the heatmap shows; rows are limits, columns are sizes, both ascending.

    Args:
        avg_bits: Largest average bits of each column, shape (n,).
        limits: Largest bit operations of each row, in 10⁹, shape (m,).
        losses: Predicted loss increases, shape (m, n), NaN where no choice keeps both.
        texts: What stands under the pointer, shape (m, n).
        open_: Cells whose answer is not proven, shape (m, n).
        most_operations: Per column the most that any choice within the size takes, in 10⁹.
        most_bits: Per row the most average bits that any choice within the limit has.
    """

    avg_bits: tuple[float, ...]
    limits: tuple[float, ...]
    losses: npt.NDArray[np.float64]
    texts: tuple[tuple[str, ...], ...]
    open_: npt.NDArray[np.bool_]
    most_operations: tuple[float, ...]
    most_bits: tuple[float, ...]


def grid_info(result: Mapping[str, Any], total_weights: int, /) -> GridInfo:
    """Collect the cells.

    Args:
        result: What ``frontier --grid bops --json`` printed, or ``BudgetGrid.to_json``.
        total_weights: Of the searched layers.
    """
    sizes, limits = result["budget_bits"], result["budget_bops"]
    cells = {(p["budget_bits"], p["budget_bops"]): p for p in result["points"]}
    losses = np.full((len(limits), len(sizes)), np.nan)
    open_ = np.zeros(losses.shape, dtype=np.bool_)
    texts = [[""] * len(sizes) for _ in limits]
    for (j, limit), (i, size) in product(enumerate(limits), enumerate(sizes)):
        within = (
            f"at most {size / total_weights:.2f} bits, {number(limit / GIGA)}·10⁹ operations<br>"
        )
        if (point := cells.get((size, limit))) is None:
            texts[j][i] = f"{within}no choice keeps both"
            continue
        losses[j, i] = point["predicted_loss_increase"]
        open_[j, i] = point["status"] != "optimal"
        texts[j][i] = within + _text(point)
    return GridInfo(
        avg_bits=tuple(size / total_weights for size in sizes),
        limits=tuple(limit / GIGA for limit in limits),
        losses=losses,
        texts=tuple(map(tuple, texts)),
        open_=open_,
        most_operations=tuple(x / GIGA for x in result["reach"]["most_bops"]),
        most_bits=tuple(x / total_weights for x in result["reach"]["most_bits"]),
    )


def _text(point: Mapping[str, Any]) -> str:
    against = kind_of_doubt(point["doubt"]) if "doubt" in point else ""
    proven = "proven optimal" if point["status"] == "optimal" else "not proven"
    return (
        f"<b>{signed(point['predicted_loss_increase'])}</b> predicted loss"
        f"{f' ({against})' if against else ''}, {proven}<br>takes {point['avg_bits']:.2f} bits, "
        f"{number(point['bops'] / GIGA)}·10⁹ operations"
    )


def grid_alt(info: GridInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    found = np.isfinite(info.losses)
    proven = int((found & ~info.open_).sum())
    return (
        f"Heatmap of predicted loss within {len(info.avg_bits)} sizes and {len(info.limits)} "
        f"limits on bit operations: {int(found.sum())} of {found.size} pairs are within reach, "
        f"{proven} proven optimal; from {signed(float(np.nanmax(info.losses)))} to "
        f"{signed(float(np.nanmin(info.losses)))}."
    )


def grid_rows(info: GridInfo, /) -> dict[str, Any]:
    """The cells as a table: a row for each limit, the largest first."""
    columns = {
        f"≤ {bits:.2f} bits": info.losses[::-1, i].tolist() for i, bits in enumerate(info.avg_bits)
    }
    return {"Operations (10⁹) ≤": [number(limit) for limit in reversed(info.limits)], **columns}


def grid_figure(info: GridInfo, mode: Mode, /) -> Spec:
    """Draw it; between the two lines both budgets count."""
    axis = signed_log(info.losses.ravel().tolist())
    limit = float(axis.of(axis.largest))
    places, labels = axis.ticks(-axis.largest, axis.largest)
    heatmap: Spec = {
        "type": "heatmap",
        "x": list(info.avg_bits),
        "y": list(info.limits),
        "z": axis.of(info.losses),
        "zmin": -limit,
        "zmax": limit,
        "colorscale": [list(stop) for stop in palette(mode).diverging],
        "text": _numbers(info),
        "texttemplate": "%{text}",
        "textfont": {"size": 11},
        "hovertext": [list(row) for row in info.texts],
        "hoverinfo": "text",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {
            "thickness": 10,
            "outlinewidth": 0,
            "title": {"text": "Predicted loss", "side": "right", "font": {"size": 12}},
            "tickfont": {"size": 11, "color": palette(mode).muted},
            "tickmode": "array",
            "tickvals": places,
            "ticktext": labels,
        },
    }
    return {"data": [heatmap, *_reach(info, mode)], "layout": _layout(mode)}


def _numbers(info: GridInfo) -> list[list[str]]:
    """What stands in the cells: a star where an answer is not proven."""
    if max(info.losses.shape) > MOST_NUMBERED:
        return [["*" if open_ else "" for open_ in row] for row in info.open_]
    return [
        [
            "" if np.isnan(loss) else f"{number(loss, 2)}{'*' if open_ else ''}"
            for loss, open_ in zip(losses, row, strict=True)
        ]
        for losses, row in zip(info.losses.tolist(), info.open_, strict=True)
    ]


def _reach(info: GridInfo, mode: Mode) -> list[Spec]:
    colours = palette(mode)

    def line(x: tuple[float, ...], y: tuple[float, ...], name: str, dash: str) -> Spec:
        return {
            "type": "scatter",
            "x": list(x),
            "y": list(y),
            "name": name,
            "mode": "lines",
            "hoverinfo": "skip",
            "line": {"color": colours.front, "width": 2, "dash": dash},
        }

    return [
        line(info.avg_bits, info.most_operations, IDLE_LIMIT, "solid"),
        line(info.most_bits, info.limits, IDLE_SIZE, "dash"),
    ]


def _layout(mode: Mode) -> Spec:
    return {
        "template": template(mode),
        "margin": {"l": 56, "r": 12, "t": 30, "b": 44},
        "xaxis": {"title": {"text": "Average bits, at most"}, "showgrid": False},
        "yaxis": {"title": {"text": "Bit operations per sample, at most (10⁹)"}, "showgrid": False},
    }
