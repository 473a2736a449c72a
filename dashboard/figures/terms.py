"""The terms of the predicted loss, folded to one number per pair of layers, and their order."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from clado_core import SensitivityMatrix
from clado_core.records.matrix import LOSS_PER_OBJECTIVE
from dashboard.figures.axes import signed_log

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
S = TypeVar("S", bound=np.generic)


class Fold(Enum):
    """How a pair of layers is one number; the value is the label."""

    STRONGEST = "Strongest"
    SUM = "Sum"


class Order(Enum):
    """How rows are ordered; the value is the label."""

    NETWORK = "Network"
    TOTAL = "Total"
    CLUSTER = "Cluster"


def loss_terms(matrix: SensitivityMatrix, /) -> Matrix:
    """Terms of the predicted loss, shape (n, n).

    x'Gx/2 counts every pair twice, so a pair adds G_ab and a candidate alone G_aa/2. Entries of
    two bit-widths of one layer never count and are NaN.
    """
    terms = np.where(matrix.same_layer(), np.nan, matrix.G)
    terms[np.diag_indices_from(terms)] = LOSS_PER_OBJECTIVE * matrix.G.diagonal()
    return terms


def strongest_cells(matrix: SensitivityMatrix, values: npt.NDArray[S], /) -> npt.NDArray[S]:
    """Per pair of layers the value where their cross term is strongest, shape (L, L).

    Args:
        matrix: Says where.
        values: Shape (n, n).
    """
    at = np.abs(np.nan_to_num(_blocks(matrix, loss_terms(matrix)))).argmax(axis=2)
    picked: npt.NDArray[S] = np.take_along_axis(_blocks(matrix, values), at[..., None], axis=2)[
        ..., 0
    ]
    return picked


def strongest(matrix: SensitivityMatrix, /) -> Matrix:
    """Per pair of layers the cross term of largest magnitude, signed, shape (L, L).

    On the diagonal the largest loss increase of the layer alone.
    """
    return np.nan_to_num(strongest_cells(matrix, loss_terms(matrix)))


def summed(matrix: SensitivityMatrix, /) -> Matrix:
    """Per pair of layers the sum of its cross terms over all bit-widths, shape (L, L).

    On the diagonal the sum of the layer's loss increases alone.
    """
    total: Matrix = np.nan_to_num(_blocks(matrix, loss_terms(matrix))).sum(axis=2)
    return total


def any_of_pair(matrix: SensitivityMatrix, mask: Mask, /) -> Mask:
    """Per pair of layers whether the mask has any of its cells, shape (L, L)."""
    found: Mask = np.any(_blocks(matrix, mask), axis=2)
    return found


FOLDS = {Fold.STRONGEST: strongest, Fold.SUM: summed}


def layer_order(matrix: SensitivityMatrix, order: Order, /) -> tuple[int, ...]:
    """Layers in network order, by their total interaction, or with similar ones side by side."""
    weight = np.abs(strongest(matrix))
    np.fill_diagonal(weight, 0.0)
    if order is Order.TOTAL:
        return tuple(np.argsort(-weight.sum(axis=1), kind="stable").tolist())
    if order is Order.CLUSTER and matrix.n_layers > 2:
        return _clustered(weight)
    return tuple(range(matrix.n_layers))


def _blocks(matrix: SensitivityMatrix, values: npt.NDArray[S]) -> npt.NDArray[S]:
    """Cells of each pair of layers side by side, shape (L, L, B·B)."""
    L, B = matrix.n_layers, matrix.n_bits
    return values.reshape(L, B, L, B).transpose(0, 2, 1, 3).reshape(L, L, B * B)


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
