"""Bring a Gram matrix of output changes to the size of measured losses.

Its diagonal becomes the measured one, G_aa = 2·D_a. Its entries between layers are scaled by one
factor for each pair of bit-widths {b, c}, fitted by least squares to the pairs measured there:
s_bc = Σ G_kl·g_kl / Σ g_kl², with g the Gram entry and G = D_kl − D_k − D_l. What remains of
those pairs says how far off the others may be: σ_kl = ρ_bc·s_bc·|g_kl| with ρ_bc the relative
root mean square of the remainders.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core.sensitivity.plan import Unit

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PAIRS_PER_CLASS = 4
"""Pairs measured for each pair of bit-widths before anything else."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A Gram matrix in the size of losses.

    Args:
        G: Measured entries where there are any, fitted ones elsewhere, shape (n, n).
        uncertainty: Standard deviation of each entry; 0 where it was measured.
        factor: What Gram entries between layers were scaled by, shape (n, n); 0 elsewhere.
    """

    G: Array
    uncertainty: Array
    factor: Array


def pairs_to_fit(gram: Array, n_bits: int, /) -> list[Unit]:
    """For each pair of bit-widths the pairs of layers with the largest Gram entries.

    They decide both the fit and, most often, the choice of bit-widths.
    """
    chosen: list[Unit] = []
    for mask in _classes(len(gram), n_bits):
        pairs = np.argwhere(mask)
        order = np.argsort(-np.abs(gram[mask]), kind="stable")[:PAIRS_PER_CLASS]
        chosen += [(int(a), int(b)) for a, b in pairs[order]]
    return chosen


def calibrate(gram: Array, measured: Array, pairs: Collection[Unit], n_bits: int, /) -> Calibration:
    """Fit a Gram matrix to measured losses.

    Args:
        gram: Output changes, shape (n, n); entries within a layer are dropped.
        measured: As of ``sensitivities``: the diagonal and the entries of ``pairs`` count.
        pairs: Candidates (a, b), a < b, of different layers, whose joint loss was measured.
        n_bits: Size of the menu.
    """
    n = len(gram)
    known = np.zeros((n, n), dtype=bool)
    for a, b in pairs:
        known[a, b] = True
    G, uncertainty, factor = np.zeros((3, n, n))
    for mask in _classes(n, n_bits):
        factor[mask], spread = _fit(gram[mask & known], measured[mask & known])
        G[mask] = factor[mask] * gram[mask]
        uncertainty[mask] = spread * np.abs(G[mask])
    G[known], uncertainty[known] = measured[known], 0.0
    G, uncertainty, factor = G + G.T, uncertainty + uncertainty.T, factor + factor.T
    G[np.diag_indices(n)] = measured.diagonal()
    return Calibration(G, uncertainty, factor)


def _fit(gram: Array, measured: Array) -> tuple[float, float]:
    """Least-squares factor, and the relative size of what it leaves."""
    squared = float((gram**2).sum())
    if squared == 0.0:
        return 1.0, 1.0
    factor = float((gram * measured).sum()) / squared
    left = float(((measured - factor * gram) ** 2).sum())
    return factor, float(np.sqrt(left / max(factor**2 * squared, np.finfo(float).tiny)))


def _classes(n: int, n_bits: int) -> Iterator[Mask]:
    """Masks of the entries above the diagonal, one for each pair of bit-widths."""
    layer, bit = np.divmod(np.arange(n), n_bits)
    above = np.less.outer(layer, layer)
    for p, q in itertools.combinations_with_replacement(range(n_bits), 2):
        is_p, is_q = bit == p, bit == q
        yield above & (np.logical_and.outer(is_p, is_q) | np.logical_and.outer(is_q, is_p))
