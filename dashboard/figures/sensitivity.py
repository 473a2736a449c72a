"""Each layer alone: its loss increase at every bit-width, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core import Assignment, SensitivityMatrix
from dashboard.figures.axes import SignedLog, signed_log
from dashboard.figures.bits import MAX_UPRIGHT, stages
from dashboard.figures.spec import Spec
from dashboard.theme import Mode, bit_colours, palette, percent, plus_minus, signed, template

Array = npt.NDArray[np.float64]

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
ERRORS = 2.0
"""Bars reach this many standard errors either way."""

HOVERED = "Under the pointer"


@dataclass(frozen=True, slots=True, eq=False)
class SensitivityInfo:
    """Everything the chart shows.

    Args:
        names: Layers in network order.
        bit_widths: The menu.
        alone: Loss increase of each layer alone, shape (L, B).
        errors: Standard errors of it, shape (L, B), or None.
        kept: How often each layer keeps its bit-width when samples are drawn again, shape (L,),
            or None.
        chosen: Bit-width of each layer in the current choice.
        groups: (label, first layer, last layer) of stages.
        measured: Whether ``alone`` was measured; else it is an estimate. None where nobody knows.
    """

    names: tuple[str, ...]
    bit_widths: tuple[int, ...]
    alone: Array
    errors: Array | None
    kept: Array | None
    chosen: tuple[int, ...]
    groups: tuple[tuple[str, int, int], ...]
    measured: bool | None = True

    @property
    def title(self) -> str:
        """What the losses are called."""
        if self.measured is None:
            return "loss increase"
        return f"{'measured' if self.measured else 'estimated'} loss increase"


def sensitivity_info(
    matrix: SensitivityMatrix,
    chosen: Assignment,
    /,
    *,
    errors: Array | None = None,
    kept: Array | None = None,
) -> SensitivityInfo:
    """Collect the points.

    Args:
        matrix: The measured sensitivities.
        chosen: The current choice.
        errors: Standard errors in units of predicted loss, shape (n, n), or None.
        kept: As in the record.
    """
    shape, known = (matrix.n_layers, matrix.n_bits), matrix.measured_entries()
    return SensitivityInfo(
        names=matrix.layers.names,
        bit_widths=matrix.bit_widths,
        alone=matrix.single_loss_increase,
        errors=None if errors is None else errors.diagonal().reshape(shape),
        kept=kept,
        chosen=chosen.bits,
        groups=stages(matrix.layers),
        measured=None if known is None else bool(known.diagonal().all()),
    )


def sensitivity_alt(info: SensitivityInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    worst = int(info.alone[:, 0].argmax())
    sure = ""
    if info.kept is not None:
        firm = int((info.kept >= 0.9).sum())
        sure = f" {firm} of {len(info.names)} layers keep their bit-width in 9 of 10 redraws."
    return (
        f"Alone at {info.bit_widths[0]} bits {info.names[worst]} costs most, "
        f"{signed(float(info.alone[worst, 0]))} {info.title}.{sure}"
    )


def sensitivity_rows(info: SensitivityInfo, /) -> list[dict[str, object]]:
    """One row per layer."""
    rows = []
    for i, name in enumerate(info.names):
        row: dict[str, object] = {"Layer": name}
        for m, b in enumerate(info.bit_widths):
            row[f"{b} bits"] = float(info.alone[i, m])
            if info.errors is not None:
                row[f"± at {b}"] = float(info.errors[i, m])
        row["Chosen"] = info.chosen[i]
        if info.kept is not None:
            row["Kept"] = percent(float(info.kept[i]))
        rows.append(row)
    return rows


def sensitivity_figure(info: SensitivityInfo, mode: Mode, /) -> Spec:
    """Draw it; colour and symbol are the bit-width, a ring is the chosen one."""
    axis = signed_log(info.alone.ravel().tolist())
    shades = bit_colours(info.bit_widths, mode)
    drawn = axis.of(info.alone)
    traces = []
    for m, b in enumerate(info.bit_widths):
        trace = {
            "type": "scatter",
            "x": np.arange(len(info.names)),
            "y": drawn[:, m],
            "name": f"{b}-bit",
            "mode": "markers",
            "customdata": np.arange(len(info.names)),
            "hovertext": [_hover(info, i, m) for i in range(len(info.names))],
            "hoverinfo": "text",
            "marker": {"size": 8, "symbol": SYMBOLS[m % len(SYMBOLS)], "color": shades[b]},
        }
        if info.errors is not None:
            trace["error_y"] = _error_bars(axis, info.alone[:, m], info.errors[:, m], shades[b])
        traces.append(trace)
    at = [info.bit_widths.index(b) for b in info.chosen]
    chosen = drawn[np.arange(len(at)), at]
    low, high = float(drawn.min()), float(drawn.max())
    span = (low - 0.08 * (high - low + 1e-9), high + 0.12 * (high - low + 1e-9))
    return {
        "data": [_bands(span, mode), *traces, _rings(chosen, mode)],
        "layout": _layout(info, axis, span, mode),
    }


def _error_bars(axis: SignedLog, values: Array, errors: Array, colour: str) -> Spec:
    middle = axis.of(values)
    return {
        "type": "data",
        "array": axis.of(values + ERRORS * errors) - middle,
        "arrayminus": middle - axis.of(values - ERRORS * errors),
        "thickness": 1,
        "width": 2,
        "color": colour,
    }


def _rings(chosen: Array, mode: Mode) -> Spec:
    return {
        "type": "scatter",
        "x": np.arange(len(chosen)),
        "y": chosen,
        "name": "Chosen",
        "mode": "markers",
        "hoverinfo": "skip",
        "marker": {
            "size": 13,
            "symbol": "circle-open",
            "color": palette(mode).text,
            "line": {"width": 1.5},
        },
    }


def _bands(span: tuple[float, float], mode: Mode) -> Spec:
    """Where the browser shows the layers of a cell under the pointer."""
    return {
        "type": "bar",
        "x": [],
        "y": [],
        "base": span[0],
        "width": 0.9,
        "name": HOVERED,
        "hoverinfo": "skip",
        "showlegend": False,
        "marker": {"color": palette(mode).muted, "opacity": 0.25},
    }


def _layout(info: SensitivityInfo, axis: SignedLog, span: tuple[float, float], mode: Mode) -> Spec:
    slanted = len(info.groups) > MAX_UPRIGHT
    values, labels = axis.ticks(float(info.alone.min()), float(info.alone.max()))
    return {
        "template": template(mode),
        "meta": {"kind": "alone", "height": span[1] - span[0]},
        "margin": {"l": 62, "r": 10, "t": 28, "b": 64 if slanted else 30},
        "xaxis": {
            "title": {"text": "" if slanted else "Layers in network order"},
            "range": [-0.7, len(info.names) - 0.3],
            "tickmode": "array",
            "tickvals": [(a + z) / 2 for _, a, z in info.groups],
            "ticktext": [label for label, _, _ in info.groups],
            "tickangle": -35 if slanted else 0,
            "showgrid": False,
        },
        "yaxis": {
            "title": {"text": f"{info.title.capitalize()} (signed log)"},
            "range": list(span),
            "tickmode": "array",
            "tickvals": values,
            "ticktext": labels,
        },
    }


def _hover(info: SensitivityInfo, i: int, m: int) -> str:
    error = plus_minus(None if info.errors is None else float(info.errors[i, m]))
    kept = "" if info.kept is None else f"<br>keeps its bits in {percent(float(info.kept[i]))}"
    return (
        f"<b>{info.names[i]}</b><br>alone at {info.bit_widths[m]} bits "
        f"{signed(float(info.alone[i, m]))}{error}<br>chosen: {info.chosen[i]} bits{kept}"
    )
