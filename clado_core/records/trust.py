"""How far one prediction can be believed: its standard error, and what no loss can be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from clado_core.records.matrix import LOSS_PER_OBJECTIVE, SensitivityMatrix
from clado_core.records.scheme import BitWidths

SURPRISING = 0.1
"""Share of the float network's loss by which quantization is not expected to lower it."""

ROUNDING = 1e-12
"""A loss below 0 by less is a sum's rounding."""

CERTAIN = 2.0
"""Standard errors beyond which a prediction is not put down to the samples that were drawn."""


def prediction_error(
    matrix: SensitivityMatrix, bits: BitWidths, other: BitWidths | None = None, /
) -> float | None:
    """Standard error of a predicted loss increase, or of its difference from another's.

    With v_k half of x'G_k·x on part k of the samples, of weight w_k:
    √(K/(K−1) · Σ w_k²·(v_k − Σ w_k·v_k)² + e²), where e² sums what fits left open.

    Args:
        matrix: Measured in parts.
        bits: One bit-width per layer, shape (L,).
        other: Subtracted part by part: what both share does not count.

    Returns:
        In units of the loss; None with fewer than two parts, and where an entry was fitted and
        nobody kept how well.
    """
    weights = matrix.part_weights
    if matrix.part_G is None or weights is None or len(weights) < 2:
        return None
    every = [bits] if other is None else [bits, other]
    if any(_at(matrix, each, matrix.fits_without_error()).any() for each in every):
        return None
    sums = [_at(matrix, each, matrix.part_G).sum(axis=(1, 2)) for each in every]
    values = LOSS_PER_OBJECTIVE * (sums[0] - (sums[1] if len(sums) > 1 else 0.0))
    k, spread = len(weights), weights * (values - weights @ values)
    return math.sqrt(k / (k - 1) * float(spread @ spread) + _left_open(matrix, every))


def kind_of_doubt(sentence: str, /) -> str:
    """The first words of such a sentence, "impossible" or "hardly possible"; "" for none."""
    return sentence.partition(":")[0].lower()


def _at(matrix: SensitivityMatrix, bits: BitWidths, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Entries (..., n, n) between the candidates of an assignment, shape (..., L, L)."""
    rows = np.arange(matrix.n_layers) * matrix.n_bits + matrix.choice(bits)
    return values[..., rows[:, None], rows]


def _left_open(matrix: SensitivityMatrix, every: list[BitWidths]) -> float:
    """Variance that fits left in an assignment's prediction, or in the difference of two."""
    if matrix.fit_error is None:
        return 0.0
    counts = np.zeros_like(matrix.G)
    for sign, bits in zip((1, -1), every, strict=False):
        x = np.zeros(len(counts))
        x[np.arange(matrix.n_layers) * matrix.n_bits + matrix.choice(bits)] = 1.0
        counts += sign * np.multiply.outer(x, x)
    # A pair stands twice in x'Gx, with one error.
    counts = 2 * np.triu(counts, 1) + np.diag(counts.diagonal())
    return float(((LOSS_PER_OBJECTIVE * counts * matrix.fit_error) ** 2).sum())


def doubt(matrix: SensitivityMatrix, bits: BitWidths, /) -> str:
    """Why a predicted loss cannot be true, in a sentence; "" where nothing speaks against it.

    Args:
        matrix: The measured one.
        bits: One bit-width per layer, shape (L,).
    """
    predicted, base = matrix.predicted_loss_increase(bits), matrix.base_loss
    if base is None or predicted >= 0:
        return ""
    error = CERTAIN * (prediction_error(matrix, bits) or 0.0)
    if base + predicted < -ROUNDING:
        within = f", if by no more than two standard errors ({error:.2g})"
        return (
            f"Impossible: {predicted:+.3g} from the float network's {base:.3g} is a loss below 0"
            f"{within if base + predicted >= -error else ''}. The quadratic model does not hold "
            "this far from the float network."
        )
    if predicted < -SURPRISING * base - error:
        return (
            f"Hardly possible: {-predicted / base:.0%} less loss than the float network has. The "
            "quadratic model does not hold here, or the samples are too few."
        )
    return ""
