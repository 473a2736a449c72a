"""How firmly a choice of bit-widths stands, given which samples happened to be measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.records.coverage import ZERO, coverage
from clado_core.records.matrix import SensitivityMatrix
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.solvers.protocol import Solver

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stability:
    """Result of a bootstrap over the parts of the sensitivity set.

    Args:
        share: How often each layer got each bit-width, shape (L, B); rows sum to 1.
        kept: How often each layer kept the bit-width that the whole set gives, shape (L,).
        n_resamples: Number of draws.
        caveat: What the draws do not vary, in a sentence; "" where all was measured.
    """

    share: Array
    kept: Array
    n_resamples: int
    caveat: str = ""


def bootstrap_choices(
    problem: AllocationProblem,
    rng: np.random.Generator,
    /,
    *,
    n_resamples: int = 100,
    solver: Solver | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Stability:
    """Solve a problem again and again on parts of the sensitivity set drawn with replacement.

    Each draw takes K of the K parts; G is their mean, weighted by samples. Entries that were fitted
    also move by what their fit left open, normally distributed.

    Args:
        problem: Its matrix must carry ``part_G``, as measured ones do.
        rng: Draws the parts.
        n_resamples: Number of draws.
        solver: Local search where None.
        on_progress: Called with (draws solved, n_resamples).

    Raises:
        InputError: ``lacks_spread`` says why nothing is known.

    Source: Efron, Bootstrap methods, 1979.
    """
    matrix = problem.matrix
    if lacking := lacks_spread(matrix):
        raise InputError(lacking)
    solver = LocalSearchSolver() if solver is None else solver
    layers, counts = np.arange(matrix.n_layers), np.zeros_like(matrix.single_loss_increase)
    chosen = matrix.choice(solver.solve(problem).assignment.bits)
    for done in range(1, n_resamples + 1):
        drawn = matrix.with_G(_drawn(matrix, rng))
        answer = solver.solve(replace(problem, matrix=drawn))
        counts[layers, drawn.choice(answer.assignment.bits)] += 1
        if on_progress is not None:
            on_progress(done, n_resamples)
    share = counts / n_resamples
    return Stability(share, share[layers, chosen], n_resamples, _caveat(matrix))


def lacks_spread(matrix: SensitivityMatrix, /) -> str:
    """Why nothing can be said of a matrix's spread, in a sentence; "" where something can."""
    if matrix.part_G is None or matrix.part_weights is None or len(matrix.part_weights) < 2:
        return (
            f"'{matrix.name}' was not measured in parts, so nothing is known of its spread: "
            "measure it in smaller batches."
        )
    if fitted := int(np.triu(matrix.fits_without_error()).sum()):
        return (
            f"{fitted:,} interactions of '{matrix.name}' were fitted, by a program that did not "
            "keep how well they fit, so nothing is known of their spread: measure it again."
        )
    return ""


def _caveat(matrix: SensitivityMatrix) -> str:
    found = coverage(matrix)
    if found.complete or found.pairs is None or found.singles is None:
        return ""
    if found.rest == ZERO:
        return f"{found.n_pairs - found.pairs:,} pairs were not measured: zero in every draw."
    if matrix.fit_error is not None:
        return (
            f"{found.n_pairs - found.pairs:,} pairs were fitted; draws move them by what the fit "
            "left open."
        )
    return (
        f"The draws vary the samples alone: entries {found.rest}, and no draw says how far those "
        "are from measured losses."
    )


def _drawn(matrix: SensitivityMatrix, rng: np.random.Generator) -> Array:
    """G as K parts drawn with replacement give it, and fits within their error."""
    assert matrix.part_G is not None and matrix.part_weights is not None
    k = len(matrix.part_weights)
    weights = matrix.part_weights * np.bincount(rng.integers(k, size=k), minlength=k)
    G = np.tensordot(weights / weights.sum(), matrix.part_G, 1)
    if matrix.fit_error is not None:
        G += np.triu(rng.normal(size=G.shape) * matrix.fit_error) * 2
    return np.asarray((G + G.T) / 2)
