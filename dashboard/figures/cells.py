"""Cells of the heatmap: layer by layer, or candidate by candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clado_core import SensitivityMatrix
from clado_core.records.coverage import measured_cells
from dashboard.figures.bits import stages
from dashboard.figures.terms import (
    FOLDS,
    Fold,
    Mask,
    Matrix,
    Order,
    any_of_pair,
    layer_order,
    loss_terms,
    strongest_cells,
)
from dashboard.theme import signed

NOISE = 2.0
"""Standard errors within which a term cannot be told from zero."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about the entries of G, each of shape (n, n).

    Args:
        measured: Whether an entry was measured.
        errors: Standard errors in units of predicted loss, or None.
    """

    measured: Mask
    errors: Matrix | None = None


@dataclass(frozen=True, slots=True, eq=False)
class InteractionInfo:
    """Everything the heatmap shows.

    Args:
        values: Predicted-loss units, shape (m, m), NaN where nothing is shown.
        rows: Position of each row in network order: a layer, or a candidate.
        layers: Position of each row's layer.
        labels: One per row: "layer1.conv1" or "layer1.conv1 at 4 bits".
        groups: (label, first row, last row) of stages; empty where rows are reordered.
        limit: Largest magnitude; colours run from −limit to +limit.
        hatched: Cells not measured, shape (m, m).
        errors: Standard error of each cell, or None.
    """

    values: Matrix
    rows: tuple[int, ...]
    layers: tuple[int, ...]
    labels: tuple[str, ...]
    groups: tuple[tuple[str, int, int], ...]
    limit: float
    hatched: Mask
    errors: Matrix | None


@dataclass(frozen=True, slots=True)
class View:
    """How the cells are shown.

    Args:
        candidates: One row per (layer, bit-width) instead of one per layer.
        fold: How the cells of a pair of layers become one, where rows are layers.
        order: Of the layers; a layer's candidates stay together.
        hide_diagonal: The diagonal otherwise drowns the cross terms.
        hide_noise: Leave out cells within ``NOISE`` standard errors of zero.
    """

    candidates: bool = False
    fold: Fold = Fold.STRONGEST
    order: Order = Order.NETWORK
    hide_diagonal: bool = True
    hide_noise: bool = False


def interaction_info(
    matrix: SensitivityMatrix, view: View = View(), known: Known | None = None, /
) -> InteractionInfo:
    """Collect the cells.

    Args:
        matrix: The measured sensitivities.
        view: How they are shown.
        known: What was measured and how well; where None as the matrix says, and nobody knows how
            well.
    """
    known = known or Known(measured_cells(matrix))
    layers, B = layer_order(matrix, view.order), matrix.n_bits
    values, hatched, errors = _cells(matrix, view, known)
    size = B if view.candidates else 1
    rows = [i * size + m for i in layers for m in range(size)]
    at = np.ix_(rows, rows)
    values, hatched = values[at], hatched[at]
    errors = None if errors is None else errors[at]
    # What was neither measured nor fitted is no zero.
    values[hatched & (values == 0)] = np.nan
    if view.hide_diagonal:
        values[np.diag_indices_from(values)] = np.nan
    if view.hide_noise and errors is not None:
        values[np.abs(values) < NOISE * errors] = np.nan
    groups = stages(matrix.layers) if view.order is Order.NETWORK else ()
    return InteractionInfo(
        values=values,
        rows=tuple(rows),
        layers=tuple(row // size for row in rows),
        labels=tuple(_labels(matrix, layers, candidates=view.candidates)),
        groups=tuple((label, a * size, z * size + size - 1) for label, a, z in groups),
        limit=float(np.nanmax(np.abs(values), initial=0.0)) or 1.0,
        hatched=hatched,
        errors=errors,
    )


def _cells(
    matrix: SensitivityMatrix, view: View, known: Known
) -> tuple[Matrix, Mask, Matrix | None]:
    """Values, cells not measured, and standard errors, in network order."""
    if view.candidates:
        return loss_terms(matrix), ~known.measured, known.errors
    values = FOLDS[view.fold](matrix)
    if view.fold is not Fold.STRONGEST:
        return values, any_of_pair(matrix, ~known.measured), None
    hatched = strongest_cells(matrix, ~known.measured)
    errors = None if known.errors is None else strongest_cells(matrix, known.errors)
    return values, hatched, errors


def _labels(matrix: SensitivityMatrix, layers: tuple[int, ...], *, candidates: bool) -> list[str]:
    names = matrix.layers.names
    if not candidates:
        return [names[i] for i in layers]
    return [f"{names[i]} at {b} bits" for i in layers for b in matrix.bit_widths]


def interaction_alt(info: InteractionInfo, /) -> str:
    """The takeaway in one sentence, for screen readers."""
    cells = np.abs(np.nan_to_num(info.values)) * (1 - np.eye(len(info.rows)))
    i, j = np.unravel_index(int(cells.argmax()), cells.shape)
    return (
        f"Heatmap of {len(info.rows)} by {len(info.rows)} terms; the strongest is between "
        f"{info.labels[i]} and {info.labels[j]}: {signed(float(info.values[i, j]))}."
    )


def interaction_rows(info: InteractionInfo, /) -> dict[str, Any]:
    """The cells as a table, one column per row of the heatmap."""
    columns = {label: info.values[:, j] for j, label in enumerate(info.labels)}
    return {"": list(info.labels), **columns}
