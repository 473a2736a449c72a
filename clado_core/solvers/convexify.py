"""Quadratic convex reformulation: the same objective on every assignment, and convex between."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from clado_core.program import Program
from clado_core.solvers.products import ReferenceForm, reference_form
from clado_core.solvers.sdp import SemidefiniteProgram, solve_dual

RIDGE = 1e-7
"""Added to the convexified matrix, relative to max |Q|, so that it is definite in floating point
(and taken off the linear part, so nothing changes on assignments)."""


@dataclass(frozen=True, slots=True)
class Multipliers:
    """Shifts that change no assignment's objective, in reference form.

    ``diagonal[a]·(z_a² − z_a)`` and ``pair[t]·2·z_a·z_b`` are zero for every assignment (a and b
    of one decision); taking them off z'Q̃z can make it convex.

    Args:
        diagonal: Shape (w,), in units of the matrix.
        pair: Shape (t,), one per pair of kept variables of one decision, in index order.

    Source: Billionnet, Elloumi, Lambert, Extending the QCR method to general mixed-integer
    programs (2012).
    """

    diagonal: npt.NDArray[np.float64]
    pair: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ConvexForm:
    """f(z) = base + linear'z + z'Hz: convex, and the objective on every assignment.

    Args:
        form: The reference form that z belongs to.
        H: Shape (w, w), positive definite.
        linear: Shape (w,).
    """

    form: ReferenceForm
    H: npt.NDArray[np.float64]
    linear: npt.NDArray[np.float64]


def convex_form(form: ReferenceForm, multipliers: Multipliers, /) -> ConvexForm:
    """Shift Q̃ by the multipliers, and by as much more as its smallest eigenvalue still lacks.

    So any multipliers give an exact and convex form; good ones give a tight one.
    """
    H = form.quadratic - np.diag(multipliers.diagonal)
    for value, (a, b) in zip(multipliers.pair, same_decision_pairs(form), strict=True):
        H[a, b] -= value
        H[b, a] -= value
    scale = float(np.abs(form.quadratic).max(initial=0.0)) or 1.0
    smallest = float(np.linalg.eigvalsh(H)[0])
    ridge = max(-smallest, 0.0) + RIDGE * scale
    return ConvexForm(
        form=form,
        H=H + ridge * np.eye(len(H)),
        linear=form.linear + multipliers.diagonal - ridge,
    )


def best_multipliers(program: Program, form: ReferenceForm, /) -> Multipliers:
    """The multipliers with the largest continuous minimum, from the duals of an SDP.

    With Y = (1, z)(1, z)', minimize ⟨C, Y⟩ subject to Y_aa = Y_0a, Y_ab = 0 inside a decision, and
    the budgets on row 0. The equality duals are the multipliers, and the minimum of the convex
    form over the budgets is the SDP's.
    """
    scale = float(np.abs(form.quadratic).max(initial=0.0)) or 1.0
    y = solve_dual(_relaxation(program, form, scale))
    w, pairs = len(form.linear), same_decision_pairs(form)
    return Multipliers(scale * y[1 : 1 + w], scale * y[1 + w : 1 + w + len(pairs)] / 2)


def convexify(program: Program, /) -> ConvexForm:
    """The tightest convex form of a program at its budgets."""
    form = reference_form(program)
    return convex_form(form, best_multipliers(program, form))


def same_decision_pairs(form: ReferenceForm, /) -> list[tuple[int, int]]:
    """Pairs (a < b) of kept variables that belong to one decision."""
    return [
        pair
        for k in np.unique(form.decision)
        for pair in combinations(np.flatnonzero(form.decision == k).tolist(), 2)
    ]


def budget_rows(
    program: Program, form: ReferenceForm, /
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Budgets on z that can bind, largest coefficient 1: rows (k, w) and limits (k,)."""
    rows = (program.costs[:, form.kept] - program.costs[:, form.reference][:, form.decision]) * 1.0
    room = (program.limits - program.costs[:, form.reference].sum(axis=1)) * 1.0
    most = np.zeros((len(rows), program.n_decisions))
    for k in range(program.n_decisions):
        most[:, k] = rows[:, form.decision == k].max(axis=1, initial=0.0)
    binding = most.sum(axis=1) > room
    largest = np.abs(rows[binding]).max(axis=1, initial=1.0)
    return rows[binding] / largest[:, None], room[binding] / largest


def _relaxation(program: Program, form: ReferenceForm, scale: float) -> SemidefiniteProgram:
    """Constraint 0 is Y_00 = 1, then the diagonal, the pairs, the budgets."""
    w, pairs = len(form.linear), np.array(same_decision_pairs(form), dtype=np.int64).reshape(-1, 2)
    C = np.zeros((w + 1, w + 1))
    C[1:, 1:] = form.quadratic / scale
    C[0, 1:] = C[1:, 0] = form.linear / (2 * scale)
    budgets, room = budget_rows(program, form)

    z = np.arange(1, w + 1)
    zero = np.zeros_like(z)
    first_pair, first_budget = 1 + w, 1 + w + len(pairs)
    pair_rows = first_pair + np.arange(len(pairs))
    a, b = pairs.T + 1
    blocks = [
        (np.array([0]), np.array([0]), np.array([0]), np.array([1.0])),
        (z, z, z, np.ones(w)),
        (z, zero, z, np.full(w, -0.5)),
        (z, z, zero, np.full(w, -0.5)),
        (pair_rows, a, b, np.full(len(pairs), 0.5)),
        (pair_rows, b, a, np.full(len(pairs), 0.5)),
    ]
    for k, row in enumerate(budgets):
        blocks.append((zero + first_budget + k, zero, z, row / 2))
        blocks.append((zero + first_budget + k, z, zero, row / 2))
    rows, left, right, values = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    is_limit = np.arange(first_budget + len(budgets)) >= first_budget
    rhs = np.where(is_limit, 0.0, 0.0)
    rhs[0] = 1.0
    rhs[first_budget:] = room
    return SemidefiniteProgram(C, rows, left, right, values, rhs, is_limit)
