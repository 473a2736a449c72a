"""Checks of a measured matrix that a user should see before trusting an allocation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clado_core.records.matrix import SensitivityMatrix


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the numbers of a matrix say about the measurement.

    Args:
        smallest_eigenvalue: Of G; negative where the measured loss is not convex in the errors.
        largest_eigenvalue: Of G.
        negative_eigenvalues: How many are below −1e-9 × the largest magnitude.
        cross_layer_share: Σ|G_ab| over pairs of different layers, of that sum with the diagonal.
        non_monotone: (layer, lower bits, higher bits) where more bits measured a larger loss.
    """

    smallest_eigenvalue: float
    largest_eigenvalue: float
    negative_eigenvalues: int
    cross_layer_share: float
    non_monotone: tuple[tuple[str, int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "smallest_eigenvalue": self.smallest_eigenvalue,
            "largest_eigenvalue": self.largest_eigenvalue,
            "negative_eigenvalues": self.negative_eigenvalues,
            "cross_layer_share": self.cross_layer_share,
            "non_monotone": [list(entry) for entry in self.non_monotone],
        }


def diagnose(matrix: SensitivityMatrix, /) -> Diagnosis:
    """Eigenvalues, the weight of cross-layer terms, and violations of monotonicity."""
    eigenvalues = np.linalg.eigvalsh(matrix.G)
    magnitude = np.abs(matrix.G)
    cross = float(magnitude[~matrix.same_layer()].sum())
    total = cross + float(magnitude.diagonal().sum())
    return Diagnosis(
        smallest_eigenvalue=float(eigenvalues[0]),
        largest_eigenvalue=float(eigenvalues[-1]),
        negative_eigenvalues=int((eigenvalues < -1e-9 * np.abs(eigenvalues).max()).sum()),
        cross_layer_share=cross / total if total else 0.0,
        non_monotone=tuple(matrix.non_monotone()),
    )
