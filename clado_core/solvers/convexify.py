"""Quadratic convex reformulation: the same objective on every assignment, and convex between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core.problem.program import Program
from clado_core.solvers.reference_form import ReferenceForm, reference_form
from clado_core.solvers.sdp import SemidefiniteProgram, solve_dual

RIDGE = 1e-7
"""Added to the convexified matrix, relative to max |Q|, so that it is definite in floating point
(and taken off the linear part, so nothing changes on assignments)."""


@dataclass(frozen=True, slots=True)
class ConvexForm:
    """f(z) = base + linear'z + z'Hz: convex, and the objective on every assignment.

    Args:
        form: The reference form that z belongs to; it holds the base.
        H: Shape (w, w), positive definite; as ``form.quadratic`` between different decisions.
        linear: Shape (w,).

    Source: Billionnet, Elloumi, Lambert, Extending the QCR method to general mixed-integer
    programs (2012).
    """

    form: ReferenceForm
    H: npt.NDArray[np.float64]
    linear: npt.NDArray[np.float64]


def convex_form(form: ReferenceForm, shifts: npt.NDArray[np.float64], /) -> ConvexForm:
    """Take the shifts off Q̃, and as much more as its smallest eigenvalue still lacks.

    An assignment has z_a² = z_a, and z_a·z_b = 0 inside a decision. So on assignments z'Q̃z does
    not change if entries inside a decision are shifted at will and the diagonal's shift is added
    to the linear part: any shifts give an exact form, good ones a tight one.

    Args:
        form: What to convexify.
        shifts: Shape (w, w), symmetric, zero between different decisions.
    """
    H = form.quadratic - shifts
    smallest = float(np.linalg.eigvalsh(H)[0])
    H[np.diag_indices_from(H)] += max(-smallest, 0.0) + RIDGE * form.scale
    return ConvexForm(form=form, H=H, linear=form.linear - H.diagonal())


def best_shifts(program: Program, form: ReferenceForm, /) -> npt.NDArray[np.float64]:
    """The shifts with the largest continuous minimum over the budgets, from the duals of an SDP.

    With Y = (1, z)(1, z)', minimize ⟨C, Y⟩ subject to Y_aa = Y_0a, Y_ab = 0 inside a decision, and
    the budgets on row 0. The duals of these equations are the shifts, and the minimum of the
    convex form over the budgets is the SDP's.

    Returns:
        Shape (w, w), symmetric, zero between different decisions.
    """
    y = form.scale * solve_dual(relaxation(program, form, form.scale))
    w = len(form.linear)
    shifts = np.diag(y[1 : 1 + w])
    a, b = same_decision_pairs(form)
    shifts[a, b] = shifts[b, a] = y[1 + w : 1 + w + len(a)] / 2
    return shifts


def convexify(program: Program, /) -> ConvexForm:
    """The tightest convex form of a program at its budgets."""
    form = reference_form(program)
    return convex_form(form, best_shifts(program, form))


def same_decision_pairs(
    form: ReferenceForm, /
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs a < b of kept variables that belong to one decision, as two arrays."""
    a, b = np.nonzero(np.triu(np.equal.outer(form.decision, form.decision), k=1))
    return a, b


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


def relaxation(program: Program, form: ReferenceForm, scale: float, /) -> SemidefiniteProgram:
    """The semidefinite program whose duals are the best shifts, its objective divided by a scale.

    Constraint 0 is Y_00 = 1, then come the diagonal, the pairs, and the budgets.
    """
    w = len(form.linear)
    C = np.zeros((w + 1, w + 1))
    C[1:, 1:] = form.quadratic / scale
    C[0, 1:] = C[1:, 0] = form.linear / (2 * scale)
    budgets, room = budget_rows(program, form)

    z = np.arange(1, w + 1)
    zero = np.zeros_like(z)
    a, b = (side + 1 for side in same_decision_pairs(form))
    pair = np.arange(len(a)) + 1 + w
    half = np.full(len(a), 0.5)
    first_budget = 1 + w + len(a)
    blocks = [
        (np.array([0]), np.array([0]), np.array([0]), np.array([1.0])),
        (z, z, z, np.ones(w)),
        (z, zero, z, np.full(w, -0.5)),
        (z, z, zero, np.full(w, -0.5)),
        (pair, a, b, half),
        (pair, b, a, half),
    ]
    for k, row in enumerate(budgets):
        blocks.append((zero + first_budget + k, zero, z, row / 2))
        blocks.append((zero + first_budget + k, z, zero, row / 2))
    rows, left, right, values = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    order = np.argsort(rows, kind="stable")
    rows, left, right, values = rows[order], left[order], right[order], values[order]
    is_limit = np.arange(first_budget + len(budgets)) >= first_budget
    rhs = np.zeros(len(is_limit))
    rhs[0] = 1.0
    rhs[first_budget:] = room
    return SemidefiniteProgram(C, rows, left, right, values, rhs, is_limit)
