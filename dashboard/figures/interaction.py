"""Heatmap of the measured terms: layer by layer, or candidate by candidate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from clado_core import SensitivityMatrix
from clado_core.matrix import LOSS_PER_OBJECTIVE
from dashboard.figures.axes import signed_log
from dashboard.figures.bits import stages
from dashboard.figures.spec import Spec
from dashboard.theme import Mode, palette, signed, template

Matrix = npt.NDArray[np.float64]

NAMED_LAYERS, LONGEST_NAME = 24, 16
"""With few rows and short names every layer is named at the axis; else the stages are."""


class Fold(Enum):
    """How a pair of layers is one number; the value is the label."""

    STRONGEST = "Strongest"
    SUM = "Sum"


class Order(Enum):
    """How rows are ordered; the value is the label."""

    NETWORK = "Network"
    TOTAL = "Total"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True, eq=False)
class InteractionInfo:
    """Everything the heatmap shows.

    Args:
        values: Predicted-loss units, shape (m, m), NaN where nothing is shown.
        rows: Position of each row in network order: a layer, or a candidate.
        labels: One per row: "layer1.conv1" or "layer1.conv1 at 4 bits".
        groups: (label, first row, last row) of stages; empty where rows are reordered.
        limit: Largest magnitude; colours run from −limit to +limit.
    """

    values: Matrix
    rows: tuple[int, ...]
    labels: tuple[str, ...]
    groups: tuple[tuple[str, int, int], ...]
    limit: float


def loss_terms(matrix: SensitivityMatrix, /) -> Matrix:
    """Terms of the predicted loss, shape (n, n).

    x'Gx/2 counts every pair twice, so a pair adds G_ab and a candidate alone G_aa/2. Entries of
    two bit-widths of one layer never count and are NaN.
    """
    terms = np.where(matrix.same_layer(), np.nan, matrix.G)
    terms[np.diag_indices_from(terms)] = LOSS_PER_OBJECTIVE * matrix.G.diagonal()
    return terms


def strongest(matrix: SensitivityMatrix, /) -> Matrix:
    """Per pair of layers the cross term of largest magnitude, signed, shape (L, L).

    On the diagonal the largest loss increase of the layer alone.
    """
    L, B = matrix.n_layers, matrix.n_bits
    blocks = loss_terms(matrix).reshape(L, B, L, B).transpose(0, 2, 1, 3).reshape(L, L, B * B)
    at = np.abs(np.nan_to_num(blocks)).argmax(axis=2)
    picked: Matrix = np.take_along_axis(blocks, at[..., None], axis=2)[..., 0]
    return np.nan_to_num(picked)


def summed(matrix: SensitivityMatrix, /) -> Matrix:
    """Per pair of layers the sum of its cross terms over all bit-widths, shape (L, L).

    On the diagonal the sum of the layer's loss increases alone.
    """
    L, B = matrix.n_layers, matrix.n_bits
    total: Matrix = np.nan_to_num(loss_terms(matrix)).reshape(L, B, L, B).sum(axis=(1, 3))
    return total


FOLDS = {Fold.STRONGEST: strongest, Fold.SUM: summed}


def interaction_info(
    matrix: SensitivityMatrix,
    /,
    *,
    candidates: bool = False,
    fold: Fold = Fold.STRONGEST,
    order: Order = Order.NETWORK,
    hide_diagonal: bool = True,
) -> InteractionInfo:
    """Collect the cells.

    Args:
        matrix: The measured sensitivities.
        candidates: One row per (layer, bit-width) instead of one per layer.
        fold: How the cells of a pair of layers become one, where rows are layers.
        order: Of the layers; a layer's candidates stay together.
        hide_diagonal: The diagonal otherwise drowns the cross terms.
    """
    layers = layer_order(matrix, order)
    B = matrix.n_bits
    names = matrix.layers.names
    if candidates:
        rows = [i * B + m for i in layers for m in range(B)]
        labels = [f"{names[i]} at {b} bits" for i in layers for b in matrix.bit_widths]
        values = loss_terms(matrix)[np.ix_(rows, rows)]
    else:
        rows, labels = list(layers), [names[i] for i in layers]
        values = FOLDS[fold](matrix)[np.ix_(rows, rows)]
    if hide_diagonal:
        values[np.diag_indices_from(values)] = np.nan
    size = B if candidates else 1
    groups = stages(matrix.layers) if order is Order.NETWORK else ()
    return InteractionInfo(
        values=values,
        rows=tuple(rows),
        labels=tuple(labels),
        groups=tuple((label, a * size, z * size + size - 1) for label, a, z in groups),
        limit=float(np.nanmax(np.abs(values), initial=0.0)) or 1.0,
    )


def layer_order(matrix: SensitivityMatrix, order: Order, /) -> tuple[int, ...]:
    """Layers in network order, by their total interaction, or with similar ones side by side."""
    weight = np.abs(strongest(matrix))
    np.fill_diagonal(weight, 0.0)
    if order is Order.TOTAL:
        return tuple(np.argsort(-weight.sum(axis=1), kind="stable").tolist())
    if order is Order.CLUSTER and matrix.n_layers > 2:
        return _clustered(weight)
    return tuple(range(matrix.n_layers))


def _clustered(weight: Matrix) -> tuple[int, ...]:
    """Leaves of a hierarchical clustering, ordered so that strong pairs lie close.

    Layers are near where their interaction is strong, on a logarithm of its magnitude.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    axis = signed_log([float(weight.max())])
    nearness = axis.of(weight)
    distance = nearness.max() - nearness
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return tuple(int(i) for i in leaves_list(tree))


def interaction_alt(info: InteractionInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    cells = np.abs(np.nan_to_num(info.values)) * (1 - np.eye(len(info.rows)))
    i, j = np.unravel_index(int(cells.argmax()), cells.shape)
    return (
        f"Heatmap of {len(info.rows)} by {len(info.rows)} terms; the strongest is between "
        f"{info.labels[i]} and {info.labels[j]}: {signed(float(info.values[i, j]))}."
    )


def interaction_figure(
    info: InteractionInfo,
    mode: Mode,
    /,
    *,
    log: bool = True,
    selected: tuple[int, int] | None = None,
) -> Spec:
    """Draw it.

    Args:
        info: What to draw.
        mode: Light or dark.
        log: Colours follow the signed logarithm, for heavy tails.
        selected: Network positions, as in ``rows``, of the cell to frame.
    """
    colours = palette(mode)
    axis = signed_log([info.limit])
    shown = axis.of(info.values) if log else info.values
    limit = float(axis.of(info.limit)) if log else info.limit
    ticks = axis.ticks(-info.limit, info.limit)
    bar: dict[str, Any] = {
        "thickness": 10,
        "outlinewidth": 0,
        "title": {"text": "Predicted loss", "side": "right", "font": {"size": 12}},
        "tickfont": {"size": 11, "color": colours.muted},
    }
    if log:
        bar |= {"tickmode": "array", "tickvals": ticks[0], "ticktext": ticks[1]}
    size = len(info.rows)
    heatmap = {
        "type": "heatmap",
        "z": shown.astype(np.float32),
        "zmin": -limit,
        "zmax": limit,
        "zmid": 0,
        "colorscale": [list(stop) for stop in colours.diverging],
        "colorbar": bar,
        "customdata": info.values.astype(np.float32),
        "x": np.arange(size),
        "y": np.arange(size),
        "text": None,
        "hoverongaps": False,
        "hovertemplate": "cross term %{customdata:+.3g}<extra>%{x} × %{y}</extra>",
    }
    labels = [[f"<b>{a}</b><br>× <b>{b}</b>" for b in info.labels] for a in info.labels]
    if size <= 120:
        heatmap |= {"text": labels, "hovertemplate": "%{text}<br>%{customdata:+.3g}<extra></extra>"}
    return {"data": [heatmap], "layout": _layout(info, mode, selected)}


def _layout(info: InteractionInfo, mode: Mode, selected: tuple[int, int] | None) -> dict[str, Any]:
    colours, size = palette(mode), len(info.rows)
    line = {"color": colours.text, "width": 1}
    edges = [first - 0.5 for _, first, _ in info.groups[1:]]
    across = [_line({"x0": e, "x1": e, "y0": -0.5, "y1": size - 0.5}, line) for e in edges]
    down = [_line({"y0": e, "y1": e, "x0": -0.5, "x1": size - 0.5}, line) for e in edges]
    short = max(map(len, info.labels)) <= LONGEST_NAME
    named = size <= NAMED_LAYERS and (short or not info.groups)
    if named:
        places = list(range(size))
        texts = [x if len(x) <= LONGEST_NAME else f"…{x[1 - LONGEST_NAME :]}" for x in info.labels]
    else:
        places = [int((a + z) / 2) for _, a, z in info.groups]
        texts = [label for label, _, _ in info.groups]
    axis = {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": texts,
        "showgrid": False,
        "range": [-0.5, size - 0.5],
        "tickfont": {"size": 10 if named else 11},
    }
    return {
        "template": template(mode),
        "margin": {"l": 108, "r": 8, "t": 6, "b": 86},
        "shapes": [*across, *down, *_frames(info, selected, colours.accent)],
        "xaxis": axis | {"tickangle": -45},
        "yaxis": axis | {"range": [size - 0.5, -0.5]},
    }


def _frames(
    info: InteractionInfo, selected: tuple[int, int] | None, colour: str
) -> list[dict[str, Any]]:
    """A frame around the cell and its mirror image."""
    if selected is None or not set(selected) <= set(info.rows):
        return []
    i, j = (info.rows.index(row) for row in selected)
    line = {"color": colour, "width": 2}
    return [
        {
            "type": "rect",
            "x0": x - 0.5,
            "x1": x + 0.5,
            "y0": y - 0.5,
            "y1": y + 0.5,
            "line": line,
        }
        for x, y in ((i, j), (j, i))
    ]


def _line(ends: dict[str, float], line: dict[str, Any]) -> dict[str, Any]:
    return {"type": "line", "line": line, **ends}
