"""Cross terms one by one: the strongest pairs, and what one pair means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clado_core import Assignment, SensitivityMatrix
from clado_core.records.coverage import measured_cells


@dataclass(frozen=True, slots=True)
class Pair:
    """Two candidates of different layers, in units of predicted loss.

    Args:
        first: (layer position, bits).
        second: (layer position, bits).
        alone: Loss increase of each alone.
        together: Loss increase of both together.
        cross: together − the sum of both alone.
        stronger: Share of all cross terms with a larger magnitude.
        paid: Whether the current choice has both.
        measured: Whether the two were run together; so are those of which nobody knows.
        alone_measured: Likewise, each of them alone.
    """

    first: tuple[int, int]
    second: tuple[int, int]
    alone: tuple[float, float]
    together: float
    cross: float
    stronger: float
    paid: bool
    measured: bool = True
    alone_measured: bool = True


def pair(
    matrix: SensitivityMatrix,
    first: tuple[int, int],
    second: tuple[int, int],
    chosen: Assignment | None = None,
    /,
) -> Pair:
    """Look one pair up.

    Args:
        matrix: The measured sensitivities.
        first: (layer position, bits).
        second: Of another layer.
        chosen: The current choice.
    """
    (i, b), (j, c) = first, second
    m, n = matrix.bit_widths.index(b), matrix.bit_widths.index(c)
    cross = float(matrix.blocks()[i, m, j, n])
    alone = matrix.single_loss_increase
    terms = np.abs(matrix.G[~matrix.same_layer()])
    bits = chosen.bits if chosen is not None else ()
    known, (a, z) = measured_cells(matrix), (i * matrix.n_bits + m, j * matrix.n_bits + n)
    return Pair(
        first=first,
        second=second,
        alone=(float(alone[i, m]), float(alone[j, n])),
        together=cross + float(alone[i, m] + alone[j, n]),
        cross=cross,
        stronger=float((terms > abs(cross)).mean()),
        paid=bool(bits) and bits[i] == b and bits[j] == c,
        measured=bool(known[a, z]),
        alone_measured=bool(known[a, a] and known[z, z]),
    )


def top_pairs(
    matrix: SensitivityMatrix,
    chosen: Assignment | None = None,
    /,
    *,
    count: int = 20,
    sign: int = 0,
) -> list[Pair]:
    """The pairs with the largest cross terms by magnitude, largest first.

    Args:
        matrix: The measured sensitivities.
        chosen: The current choice.
        count: At most so many.
        sign: 1 for those that hurt each other, −1 for those that compensate, 0 for both.
    """
    B = matrix.n_bits
    terms = np.triu(np.where(matrix.same_layer(), 0.0, matrix.G), 1)
    if sign:
        terms = np.where(np.sign(terms) == sign, terms, 0.0)
    order = np.argsort(-np.abs(terms), axis=None, kind="stable")[:count]
    found = []
    for a, c in zip(*np.unravel_index(order, terms.shape), strict=True):
        if terms[a, c] == 0:
            break
        first = (int(a) // B, matrix.bit_widths[int(a) % B])
        second = (int(c) // B, matrix.bit_widths[int(c) % B])
        found.append(pair(matrix, first, second, chosen))
    return found


def strongest_between(
    matrix: SensitivityMatrix, i: int, j: int, chosen: Assignment | None = None, /
) -> Pair:
    """The bit-widths of two layers whose cross term is largest by magnitude."""
    block = np.abs(matrix.blocks()[i, :, j, :])
    m, n = np.unravel_index(int(block.argmax()), block.shape)
    return pair(matrix, (i, matrix.bit_widths[m]), (j, matrix.bit_widths[n]), chosen)
