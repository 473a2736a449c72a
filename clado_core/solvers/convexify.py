"""Quadratic convex reformulation: the same objective on every assignment, and convex between."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core.problem.program import Program
from clado_core.solvers.conic import TIME_LIMIT_S, solve_dual_with_cvxpy
from clado_core.solvers.reference_form import ReferenceForm, reference_form
from clado_core.solvers.sdp import SemidefiniteProgram, solve_dual

RIDGE = 1e-7
"""Added to the convexified matrix, relative to max |Q|, so that it is definite in floating point
(and taken off the linear part, so nothing changes on assignments)."""

LEAST_TIME_S = 1.0
"""CVXPY needs this long to write a program down."""

ACCEPTED_ERROR = 1e-3
"""Of multipliers; a looser bound costs some nodes, no correctness. Rounding leaves up to 3e-5."""


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
    # Without a decision that is left there is nothing to convexify.
    smallest = float(np.linalg.eigvalsh(H)[0]) if len(H) else 0.0
    H[np.diag_indices_from(H)] += max(-smallest, 0.0) + RIDGE * form.scale
    return ConvexForm(form=form, H=H, linear=form.linear - H.diagonal())


def best_shifts(
    program: Program, form: ReferenceForm, /, *, time_limit_s: float | None = None
) -> npt.NDArray[np.float64]:
    """The shifts with the largest continuous minimum over the budgets, from the duals of an SDP.

    With Y = (1, z)(1, z)', minimize ⟨C, Y⟩ subject to Y_aa = Y_0a, Y_ab = 0 inside a decision, and
    the budgets on row 0. The duals of these equations are the shifts, and the minimum of the
    convex form over the budgets is the SDP's.

    Args:
        program: The budgets.
        form: Its reference form.
        time_limit_s: At which the multipliers so far are taken: a looser form, exact all the same.

    Returns:
        Shape (w, w), symmetric, zero between different decisions.
    """
    y = form.scale * _best_multipliers(relaxation(program, form), time_limit_s)
    w = len(form.linear)
    shifts = np.diag(y[1 : 1 + w])
    a, b = same_decision_pairs(form)
    shifts[a, b] = shifts[b, a] = y[1 + w : 1 + w + len(a)] / 2
    return shifts


def _best_multipliers(
    sdp: SemidefiniteProgram, time_limit_s: float | None
) -> npt.NDArray[np.float64]:
    """By our own method; where it stops far from the best, CVXPY's solver may come closer."""
    started = time.perf_counter()
    found = solve_dual(sdp, time_limit_s=time_limit_s)
    left_s = TIME_LIMIT_S
    if time_limit_s is not None:
        left_s = min(left_s, time_limit_s - (time.perf_counter() - started))
    if found.error <= ACCEPTED_ERROR or left_s < LEAST_TIME_S:
        return found.y
    other = solve_dual_with_cvxpy(sdp, time_limit_s=left_s)
    return found.y if other is None else other


def convexify(program: Program, /, *, time_limit_s: float | None = None) -> ConvexForm:
    """The tightest convex form of a program at its budgets, as far as the time allows."""
    form = reference_form(program)
    return convex_form(form, best_shifts(program, form, time_limit_s=time_limit_s))


def carried_over(convex: ConvexForm, wide: Program, program: Program, /) -> ConvexForm:
    """A convex form of a program, from one of another program of the same matrix.

    With z₀ = T·z + constant the wide program's binaries in terms of the program's, the wide form
    H₀ becomes T'H₀T, and what this lacks of the program's own quadratic part are its shifts.

    Args:
        convex: Of ``wide``.
        wide: Has every candidate of ``program``, perhaps in decisions of fewer layers.
        program: With candidates ruled out, layers tied or pinned, or other budgets.
    """
    form = reference_form(program)
    T = _binaries_of(wide, program, convex.form, form)
    shifts = form.quadratic - T.T @ convex.H @ T
    # Between decisions it is zero already, up to rounding.
    inside = np.equal.outer(form.decision, form.decision)
    return convex_form(form, np.where(inside, shifts, 0.0))


def _binaries_of(
    wide: Program, program: Program, wide_form: ReferenceForm, form: ReferenceForm
) -> npt.NDArray[np.float64]:
    """T, shape (w₀, w): how the wide program's kept candidates change with the program's z."""
    decision_of = {layer: k for k, members in enumerate(wide.members) for layer in members}
    candidates = np.zeros((wide.n_variables, program.n_variables))
    for k, members in enumerate(program.members):
        for a in range(program.offsets[k], program.offsets[k + 1]):
            for m in {decision_of[layer] for layer in members}:
                start, stop = wide.offsets[m : m + 2]
                candidates[start:stop, a] = wide.bits[start:stop] == program.bits[a]
    changes = candidates[:, form.kept] - candidates[:, form.reference[form.decision]]
    return np.asarray(changes[wide_form.kept])


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
    rows, room = _binding_budgets(program, form)
    units = budget_units(program, form)
    return rows / units[:, None], room / units


def budget_units(program: Program, form: ReferenceForm, /) -> npt.NDArray[np.float64]:
    """What a coefficient of 1 in ``budget_rows`` stands for, in the budgets' own units, (k,)."""
    rows, _ = _binding_budgets(program, form)
    return np.asarray(np.abs(rows).max(axis=1, initial=1.0))


def _binding_budgets(
    program: Program, form: ReferenceForm
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rows = (program.costs[:, form.kept] - program.costs[:, form.reference][:, form.decision]) * 1.0
    room = (program.limits - program.costs[:, form.reference].sum(axis=1)) * 1.0
    most = np.zeros((len(rows), program.n_decisions))
    for k in range(program.n_decisions):
        most[:, k] = rows[:, form.decision == k].max(axis=1, initial=0.0)
    binding = most.sum(axis=1) > room
    return rows[binding], room[binding]


def relaxation(program: Program, form: ReferenceForm, /) -> SemidefiniteProgram:
    """The semidefinite program whose duals are the best shifts, its objective divided by the scale.

    Constraint 0 is Y_00 = 1, then come the diagonal, the pairs, and the budgets.
    """
    w = len(form.linear)
    C = np.zeros((w + 1, w + 1))
    C[1:, 1:] = form.quadratic / form.scale
    C[0, 1:] = C[1:, 0] = form.linear / (2 * form.scale)
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
