"""How far the measured numbers can be trusted: what was measured, its spread, what follows."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import streamlit as st

from clado_core import SensitivityMatrix
from clado_core.allocation.bootstrap import Stability, bootstrap_choices
from clado_core.allocation.bootstrap import lacks_spread as lacks_spread
from clado_core.records.coverage import coverage as coverage
from clado_core.records.coverage import measured_cells as measured_cells
from clado_core.records.matrix import LOSS_PER_OBJECTIVE
from clado_core.solvers.local_search import LocalSearchSolver
from dashboard.known import caches
from dashboard.known.catalogue import Artifact
from dashboard.rules import Rules

RESAMPLES = 40
SEED = 0
DESCENT = LocalSearchSolver(n_walks=0)


def term_errors(matrix: SensitivityMatrix, /) -> npt.NDArray[np.float64] | None:
    """Standard errors in units of predicted loss, shape (n, n): of cross terms, and on the diagonal
    of single loss increases, NaN where it is not known; None where nothing is known of any."""
    error = matrix.standard_error()
    if error is None:
        return None
    error[np.diag_indices_from(error)] *= LOSS_PER_OBJECTIVE
    return error


def stability(artifact: Artifact, rules: Rules, budget_bits: int, /) -> Stability | None:
    """How often each layer keeps its bit-width when the samples are drawn again; None where
    ``lacks_spread`` says why that cannot be known."""
    return stability_soon(artifact, rules, budget_bits).result()


@st.cache_resource(max_entries=64, show_spinner=False)
def stability_soon(
    artifact: Artifact, rules: Rules, budget_bits: int, /
) -> Future[Stability | None]:
    """The same, found in a thread of its own: it takes 0.2 s for 20 layers, 1 s for 35."""
    matrix = caches.matrix(artifact)
    if lacks_spread(matrix):
        nothing: Future[Stability | None] = Future()
        nothing.set_result(None)
        return nothing
    problem = rules.problem(matrix, budget_bits)
    return _thread().submit(
        bootstrap_choices,
        problem,
        np.random.default_rng(SEED),
        n_resamples=RESAMPLES,
        solver=DESCENT,
    )


@st.cache_resource(show_spinner=False)
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "stability")
