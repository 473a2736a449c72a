"""How firmly a choice of bit-widths stands, given which samples happened to be measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError
from clado_core.problem.allocation_problem import AllocationProblem
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
    """

    share: Array
    kept: Array
    n_resamples: int


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

    Each draw takes K of the K parts, and G is their mean weighted by their samples.

    Args:
        problem: Its matrix must carry ``part_G``, as measured ones do.
        rng: Draws the parts.
        n_resamples: Number of draws.
        solver: Local search where None.
        on_progress: Called with (draws solved, n_resamples).

    Raises:
        InputError: The matrix has fewer than two parts.

    Source: Efron, Bootstrap methods, 1979.
    """
    matrix, parts = problem.matrix, _parts(problem.matrix)
    solver = LocalSearchSolver() if solver is None else solver
    layers, counts = np.arange(matrix.n_layers), np.zeros((matrix.n_layers, matrix.n_bits))
    chosen = matrix.choice(solver.solve(problem).assignment.bits)
    for done in range(1, n_resamples + 1):
        drawn = replace(matrix, G=_drawn(*parts, rng), part_G=None, part_weights=None)
        answer = solver.solve(replace(problem, matrix=drawn))
        counts[layers, drawn.choice(answer.assignment.bits)] += 1
        if on_progress is not None:
            on_progress(done, n_resamples)
    share = counts / n_resamples
    return Stability(share, share[layers, chosen], n_resamples)


def _parts(matrix: SensitivityMatrix) -> tuple[Array, Array]:
    """The parts' matrices and weights; an InputError where there are fewer than two."""
    if matrix.part_G is None or matrix.part_weights is None or len(matrix.part_weights) < 2:
        raise InputError(
            f"'{matrix.name}' was not measured in parts, so nothing is known of its spread: "
            "measure it in smaller batches."
        )
    return matrix.part_G, matrix.part_weights


def _drawn(part_G: Array, part_weights: Array, rng: np.random.Generator) -> Array:
    """G as K parts drawn with replacement give it."""
    k = len(part_weights)
    weights = part_weights * np.bincount(rng.integers(k, size=k), minlength=k)
    G = np.tensordot(weights / weights.sum(), part_G, 1)
    return np.asarray((G + G.T) / 2)
