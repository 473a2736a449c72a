"""How far the measured numbers can be trusted: what was measured, its spread, what follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import streamlit as st

from clado_core import SensitivityMatrix
from clado_core.allocation.bootstrap import Stability, bootstrap_choices
from clado_core.records.matrix import LOSS_PER_OBJECTIVE
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard.known import caches
from dashboard.known.catalogue import Artifact
from dashboard.rules import Rules

RESAMPLES = 40
SEED = 0
DESCENT = LocalSearchSolver(n_walks=0)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which pairs of candidates of different layers were measured.

    Args:
        measured: How many pairs.
        total: Of how many.
        fitted: Whether the others were fitted to the measured ones; else they count as zero.
    """

    measured: int
    total: int
    fitted: bool

    @property
    def complete(self) -> bool:
        """Whether every pair was measured."""
        return self.measured == self.total


def measured_cells(matrix: SensitivityMatrix, /) -> Mask:
    """Which entries of G were measured, shape (n, n); True inside a layer.

    An entry that is the same in every part of the samples was fitted, not measured; one that is
    exactly zero was left out.
    """
    mask = matrix.G != 0.0
    if matrix.part_G is not None and len(matrix.part_G) > 1:
        mask &= np.ptp(matrix.part_G, axis=0) > 0.0
    found: Mask = mask | matrix.same_layer()
    return found


def coverage(matrix: SensitivityMatrix, /) -> Coverage:
    """Count them; none measured and none fitted means that there are no interactions at all."""
    pairs = np.triu(~matrix.same_layer(), 1)
    measured = measured_cells(matrix)
    missing = pairs & ~measured
    return Coverage(
        measured=int((pairs & measured).sum()),
        total=int(pairs.sum()),
        fitted=bool((matrix.G[missing] != 0.0).any()),
    )


def term_errors(matrix: SensitivityMatrix, /) -> npt.NDArray[np.float64] | None:
    """Standard errors in units of predicted loss, shape (n, n): of cross terms, and on the diagonal
    of single loss increases; None where the samples were not measured in parts."""
    error = matrix.standard_error()
    if error is None:
        return None
    error[np.diag_indices_from(error)] *= LOSS_PER_OBJECTIVE
    return error


@st.cache_resource(max_entries=64, show_spinner=False)
def stability(artifact: Artifact, rules: Rules, budget_bits: int, /) -> Stability | None:
    """How often each layer keeps its bit-width when the samples are drawn again; None where they
    were not measured in parts."""
    matrix = caches.matrix(artifact)
    if matrix.part_weights is None or len(matrix.part_weights) < 2:
        return None
    problem = rules.problem(matrix, budget_bits)
    rng = np.random.default_rng(SEED)
    return bootstrap_choices(problem, rng, n_resamples=RESAMPLES, solver=DESCENT)
