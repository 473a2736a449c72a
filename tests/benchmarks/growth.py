"""How the solvers' time and gap grow with the number of binaries and the strength of interaction.

The matrices are made, so that size and strength can be set: layer l at b bits makes an error of
size s_l·2^−b·‖(1 − ρ)·own direction + ρ·direction in a space that all layers share‖, and G holds
the inner products, so it is positive semidefinite, as a logit Gram is; a third of ρ as symmetric
noise then makes it indefinite, as pairwise measurements are.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from clado_core import AllocationProblem, LayerInfo, LayerTable, SensitivityMatrix, Solution
from clado_core.problem.allocation_problem import bits_for_average
from clado_core.solvers import DaqpSolver, LocalSearchSolver, ScipSolver, compute_shifts

BITS = (2, 4, 8)
N_BINARIES = (21, 60, 120, 180, 240)
STRENGTHS = {"weak": 0.2, "medium": 0.5, "strong": 0.8}
SHARED_DIRECTIONS = 12
AVERAGES = (3.0, 4.5)


def growth(time_limit_s: float) -> list[dict[str, Any]]:
    """One row per size and strength: medians over the budgets, worst gaps."""
    return [
        _row(made_matrix(n // len(BITS), rho), strength, time_limit_s)
        for strength, rho in STRENGTHS.items()
        for n in N_BINARIES
    ]


def made_matrix(n_layers: int, rho: float) -> SensitivityMatrix:
    """A matrix as the module describes, from a fixed seed."""
    rng = np.random.default_rng(n_layers)
    n = n_layers * len(BITS)
    own = np.eye(n)
    shared = rng.normal(size=(n, SHARED_DIRECTIONS)) / np.sqrt(SHARED_DIRECTIONS)
    directions = np.concatenate([(1 - rho) * own, rho * shared], axis=1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    size = np.exp(rng.normal(size=n_layers))[:, None] * 2.0 ** -np.array(BITS)
    errors = size.reshape(-1, 1) * directions
    noise = rng.normal(size=(n, n)) * np.outer(size.ravel(), size.ravel())
    off_diagonal = (noise + noise.T) / 2 * (1 - np.eye(n))
    G = errors @ errors.T + rho / 3 * off_diagonal / np.sqrt(n)
    weights = rng.integers(1_000, 100_000, n_layers)
    layers = (LayerInfo(f"l{i}", "linear", (int(w),)) for i, w in enumerate(weights))
    return SensitivityMatrix(f"made-{n}", (G + G.T) / 2, LayerTable(tuple(layers)), BITS)


def _row(matrix: SensitivityMatrix, strength: str, time_limit_s: float) -> dict[str, Any]:
    started = time.perf_counter()
    shifts = compute_shifts(matrix)
    certify_s = time.perf_counter() - started
    problems = [AllocationProblem(matrix, bits_for_average(a, matrix.layers)) for a in AVERAGES]
    quick = [LocalSearchSolver().solve(p) for p in problems]
    daqp = [DaqpSolver(shifts).solve(p, time_limit_s=time_limit_s) for p in problems]
    scip = [ScipSolver(shifts=shifts).solve(p, time_limit_s=time_limit_s) for p in problems]
    best = np.array([min(a.objective, b.objective) for a, b in zip(daqp, scip, strict=True)])
    above = np.array([s.objective for s in quick]) / best - 1
    return {
        "strength": strength,
        "binaries": len(matrix.G),
        "certificate_s": certify_s,
        "local_search_s": _median(quick),
        "local_search_above_best": max(0.0, float(above.max())),
        "daqp_s": _median(daqp),
        "daqp_gap": _worst_gap(daqp),
        "scip_s": _median(scip),
        "scip_gap": _worst_gap(scip),
    }


def _median(solutions: list[Solution]) -> float:
    return float(np.median([s.runtime_s for s in solutions]))


def _worst_gap(solutions: list[Solution]) -> float:
    return max(np.inf if s.gap is None else s.gap for s in solutions)
