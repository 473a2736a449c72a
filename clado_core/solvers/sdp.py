"""A small dense semidefinite program, by a primal-dual interior-point method."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core.solvers.blas import one_thread

Vector: TypeAlias = npt.NDArray[np.float64]
Matrix: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]

MAX_ITERATIONS = 60
"""These programs need 12 to 30."""

STEP_TO_BOUNDARY = 0.95
"""Share of the way to the boundary of the cone that a step may take."""

SECONDS_PER_TERM_PAIR = 7e-8
"""Measured on one core: 0.02 s for 650 terms, 0.7 s for 3,500."""

SHORTEST_STEP = 1e-4
"""Below it rounding has won, and the last dual point is as good as it gets."""


@dataclass(frozen=True, slots=True)
class SemidefiniteProgram:
    """Minimize ⟨C, Y⟩ over symmetric Y ⪰ 0 with ⟨A_i, Y⟩ = b_i, or ≤ b_i where ``is_limit``.

    Each A_i is given by its entries, Y's two triangles apart: term t adds ``values[t]`` to
    A_rows[t] at (left[t], right[t]); the sum of all terms of a row must be symmetric.

    Args:
        C: Shape (N, N), symmetric, entries of order 1.
        rows: Shape (T,), the constraint of each term, ascending; every constraint has one.
        left: Shape (T,).
        right: Shape (T,).
        values: Shape (T,).
        rhs: Shape (K,).
        is_limit: Shape (K,).
    """

    C: Matrix
    rows: Indices
    left: Indices
    right: Indices
    values: Vector
    rhs: Vector
    is_limit: npt.NDArray[np.bool_]

    def apply(self, Y: Matrix, /) -> Vector:
        """⟨A_i, Y⟩ for all i, shape (K,)."""
        terms = self.values * Y[self.left, self.right]
        sums = np.bincount(self.rows, weights=terms, minlength=len(self.rhs))
        return np.asarray(sums, dtype=np.float64)

    def combine(self, y: Vector, /) -> Matrix:
        """Σ_i y_i·A_i, shape (N, N)."""
        n = len(self.C)
        weights = self.values * y[self.rows]
        flat = np.bincount(self.left * n + self.right, weights=weights, minlength=n * n)
        return np.asarray(flat.reshape(n, n), dtype=np.float64)

    def slack(self, y: Vector, /) -> Matrix:
        """C − Σ_i y_i·A_i; y is dual feasible where this is ⪰ 0 and y ≤ 0 on limits."""
        return self.C - self.combine(y)


@dataclass(frozen=True, slots=True)
class DualPoint:
    """Dual multipliers, and how far they may be from the best.

    Args:
        y: Shape (K,), ≤ 0 on limits.
        error: Relative gap, or what is missing in an equation where that is more.
    """

    y: Vector
    error: float


def solve_dual(
    program: SemidefiniteProgram, /, *, tolerance: float = 1e-7, time_limit_s: float | None = None
) -> DualPoint:
    """Nearly optimal dual multipliers.

    max b'y with C − Σ y_i·A_i ⪰ 0. The slack may be indefinite by rounding, and by more where the
    method stalls: whoever draws a bound from y must check its smallest eigenvalue.

    Args:
        program: Strictly feasible on both sides.
        tolerance: Relative gap at which to stop.
        time_limit_s: No step is begun that would end later, as long as the one before took.

    Source: Helmberg, Rendl, Vanderbei, Wolkowicz, An interior-point method for semidefinite
    programming (1996), with Mehrotra's predictor and corrector.
    """
    point, started, step_s = _start(program), time.perf_counter(), _expected_step_s(program)
    with one_thread():
        residual = _residual(program, point)
        for _ in range(MAX_ITERATIONS):
            begins = time.perf_counter()
            too_late = time_limit_s is not None and begins - started + step_s > time_limit_s
            if residual.largest <= tolerance or too_late:
                break
            step = _newton_step(program, point, residual)
            if step is None:
                break
            direction, primal, dual = step
            if min(primal, dual) < SHORTEST_STEP:
                break
            point = point.moved(direction, primal, dual)
            residual = _residual(program, point)
            step_s = time.perf_counter() - begins
    y = np.where(program.is_limit, np.minimum(point.y, 0.0), point.y)
    return DualPoint(y, residual.largest)


@dataclass(frozen=True, slots=True)
class _Point:
    """Y, S, y and, for limits, the slack s ≥ 0 and its multiplier z = −y ≥ 0 (1 elsewhere)."""

    Y: Matrix
    S: Matrix
    y: Vector
    s: Vector
    z: Vector

    def moved(self, to: _Point, primal: float, dual: float) -> _Point:
        return _Point(
            self.Y + primal * to.Y,
            self.S + dual * to.S,
            self.y + dual * to.y,
            self.s + primal * to.s,
            self.z + dual * to.z,
        )


@dataclass(frozen=True, slots=True)
class _Residual:
    """What is missing in the primal rows, the dual matrix and the dual limits; the mean gap."""

    primal: Vector
    dual: Matrix
    limit: Vector
    mean_gap: float
    relative_gap: float

    @property
    def largest(self) -> float:
        return float(max(self.relative_gap, np.abs(self.primal).max(), np.abs(self.dual).max()))


def _start(program: SemidefiniteProgram) -> _Point:
    n, k = len(program.C), len(program.rhs)
    radius = max(1.0, float(np.abs(program.C).sum(axis=1).max()))
    return _Point(np.eye(n), radius * np.eye(n), np.zeros(k), np.ones(k), np.ones(k))


def _expected_step_s(program: SemidefiniteProgram) -> float:
    """Of the first step, before one has been timed: filling the Schur complement leads."""
    return SECONDS_PER_TERM_PAIR * len(program.rows) ** 2


def _residual(program: SemidefiniteProgram, point: _Point) -> _Residual:
    limit = program.is_limit
    products = float(np.vdot(point.Y, point.S)) + float((point.s * point.z)[limit].sum())
    return _Residual(
        primal=program.rhs - program.apply(point.Y) - np.where(limit, point.s, 0.0),
        dual=program.slack(point.y) - point.S,
        limit=np.where(limit, -point.y - point.z, 0.0),
        mean_gap=products / (len(program.C) + int(limit.sum())),
        relative_gap=products / (1 + abs(float(np.vdot(program.C, point.Y)))),
    )


def _newton_step(
    program: SemidefiniteProgram, at: _Point, residual: _Residual
) -> tuple[_Point, float, float] | None:
    """Predictor, corrector, and how far each side may go; None where rounding has won."""
    inverse = np.linalg.inv(at.S)
    inverse = (inverse + inverse.T) / 2
    system = _schur(program, inverse, at.Y)
    system[np.diag_indices_from(system)] += np.where(program.is_limit, at.s / at.z, 0.0)
    try:
        factor = np.linalg.inv(np.linalg.cholesky(system))
    except np.linalg.LinAlgError:
        return None
    shared = (program, at, residual, inverse, factor)
    predictor = _direction(*shared, 0.0, np.zeros_like(at.Y), np.zeros_like(at.s))
    primal, dual = _step_lengths(program, at, predictor)
    reached = _residual(program, at.moved(predictor, primal, dual)).mean_gap
    centering = float(np.clip((reached / residual.mean_gap) ** 2, 1e-3, 1.0))
    second_order = _symmetric(inverse @ predictor.S @ predictor.Y)
    corrector = _direction(
        *shared,
        centering * residual.mean_gap,
        second_order,
        np.where(program.is_limit, predictor.s * predictor.z / at.z, 0.0),
    )
    return corrector, *_step_lengths(program, at, corrector)


def _schur(program: SemidefiniteProgram, inverse: Matrix, Y: Matrix) -> Matrix:
    """M_ij = tr(A_i·S⁻¹·A_j·Y), from the entries of the A's alone."""
    left, right = program.left, program.right
    terms = inverse[np.ix_(right, left)] * Y[np.ix_(left, right)]
    terms *= np.multiply.outer(program.values, program.values)
    first = np.searchsorted(program.rows, np.arange(len(program.rhs)))
    by_row = np.add.reduceat(terms, first, axis=0)
    return _symmetric(np.add.reduceat(by_row, first, axis=1))


def _direction(
    program: SemidefiniteProgram,
    at: _Point,
    residual: _Residual,
    inverse: Matrix,
    factor: Matrix,
    target: float,
    second_order: Matrix,
    second_order_limit: Vector,
) -> _Point:
    """Newton's direction towards Y·S = target·I (and s·z = target)."""
    limit, ratio = program.is_limit, at.s / at.z
    fixed = target * inverse - at.Y - _symmetric(inverse @ residual.dual @ at.Y) - second_order
    fixed_limit = np.where(
        limit, target / at.z - at.s - ratio * residual.limit - second_order_limit, 0.0
    )
    y = factor.T @ (factor @ (residual.primal - program.apply(fixed) - fixed_limit))
    combined = program.combine(y)
    return _Point(
        Y=fixed + _symmetric(inverse @ combined @ at.Y),
        S=residual.dual - combined,
        y=y,
        s=np.where(limit, fixed_limit + ratio * y, 0.0),
        z=np.where(limit, residual.limit - y, 0.0),
    )


def _step_lengths(program: SemidefiniteProgram, at: _Point, to: _Point) -> tuple[float, float]:
    """How far, at most 1, the primal and the dual side may go inside their cones."""
    limit = program.is_limit
    primal = min(_matrix_step(at.Y, to.Y), _vector_step(at.s[limit], to.s[limit]))
    dual = min(_matrix_step(at.S, to.S), _vector_step(at.z[limit], to.z[limit]))
    return primal, dual


def _matrix_step(X: Matrix, D: Matrix) -> float:
    try:
        factor = np.linalg.inv(np.linalg.cholesky(X))
    except np.linalg.LinAlgError:
        return 0.0
    smallest = float(np.linalg.eigvalsh(_symmetric(factor @ D @ factor.T))[0])
    return min(1.0, -STEP_TO_BOUNDARY / smallest) if smallest < 0 else 1.0


def _vector_step(x: Vector, d: Vector) -> float:
    shrinking = d < 0
    if not shrinking.any():
        return 1.0
    return min(1.0, STEP_TO_BOUNDARY * float((x[shrinking] / -d[shrinking]).min()))


def _symmetric(A: Matrix) -> Matrix:
    return np.asarray((A + A.T) / 2)
