"""A tighter relaxation than the semidefinite one: all products of variables are non-negative too.

Minimize ⟨C, U⟩ over U ⪰ 0, U ≥ 0 with A·U = 0 and the pattern of ``LiftedProgram``. Split into
U = V·R·V' with R ⪰ 0 and a Y that keeps signs and pattern, with multipliers Z of Y = V·R·V', it is
solved by two projections in turn; any Z gives a bound, so it may stop at any time.

Source: Oliveira, Wolkowicz, Xu, ADMM for the SDP relaxation of the QAP (2018); the reformulation's
duals as a start are ours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clado_core.problem.program import Program
from clado_core.solvers.blas import one_thread
from clado_core.solvers.convexify import ConvexForm, budget_units
from clado_core.solvers.elimination import least_with_pairs
from clado_core.solvers.lifted import LiftedProgram, Matrix, Vector
from clado_core.solvers.node_bound import NodeRelaxation
from clado_core.solvers.probing import Probe

DUAL_STEP = 1.618
"""Of the multipliers; convergence is known up to (1 + √5)/2."""

PENALTY = 0.05
"""Of Y ≠ V·R·V', in units of |Z| / |Y| at the start. Near good multipliers a small one is better:
between 0.02 and 0.1 the bounds after 400 steps are alike, and with a penalty that balances the
residuals, which grows tenfold, they fall below where they began."""

GROWTH, LARGEST = 1.2, 1.0
"""Factor after every run, and where it ends, in the same units: a larger penalty spreads the
multipliers, and with them more candidates can be ruled out by the same bound."""

ROUNDING = 1e-13
"""Of a spectral norm: what eigenvalues and the basis lose in double precision, with room."""

RIDGE = 0.5
"""Share of the gap that the probe's ridge takes from every bound."""

ABOVE_ALL = 8.0
"""Largest entries over which a forbidden pair is lifted, so that no minimum chooses it."""


class Splitting:
    """The two projections' state, its objective divided by ``scale``.

    Args:
        lifted: What is relaxed.
        Z: Multipliers to start from, shape (N, N), in units of the objective.
        Y: Where to start, shape (N, N).
    """

    def __init__(self, lifted: LiftedProgram, Z: Matrix, Y: Matrix, /) -> None:
        self.lifted = lifted
        self.scale = float(np.abs(lifted.C).max()) or 1.0
        self._C = lifted.C / self.scale
        self._Z = Z / self.scale
        self.Y = Y
        self._penalty = PENALTY * float(np.linalg.norm(self._Z) / np.linalg.norm(Y)) or PENALTY
        self._largest = self._penalty / PENALTY * LARGEST

    @property
    def Z(self) -> Matrix:
        """The multipliers, in units of the objective."""
        return self.scale * self._Z

    @property
    def y(self) -> Vector:
        """The variables, shape (v,): near an assignment where the relaxation is tight."""
        return self.Y[0, 1 : self.lifted.n_variables + 1]

    def run(self, n_steps: int, /) -> None:
        """Take some steps."""
        with one_thread():
            for _ in range(n_steps):
                self._step()
        self._penalty = min(GROWTH * self._penalty, self._largest)

    def _step(self) -> None:
        V = self.lifted.basis
        R = V.T @ (self.Y + self._Z / self._penalty) @ V
        values, vectors = np.linalg.eigh((R + R.T) / 2)
        positive = values > 0
        half = V @ (vectors[:, positive] * np.sqrt(values[positive]))
        U = half @ half.T
        self.Y = self._nearest(U - (self._C + self._Z) / self._penalty)
        self._Z += DUAL_STEP * self._penalty * (self.Y - U)

    def _nearest(self, X: Matrix) -> Matrix:
        """The nearest matrix between 0 and 1 with the pattern."""
        variables = np.arange(1, self.lifted.n_variables + 1)
        Y = np.clip(X, 0.0, 1.0)
        Y[self.lifted.zero] = 0.0
        y = np.clip((X[variables, variables] + 2 * X[0, variables]) / 3, 0.0, 1.0)
        Y[variables, variables] = Y[0, variables] = Y[variables, 0] = y
        Y[0, 0] = 1.0
        return Y


def starting_point(lifted: LiftedProgram, convex: ConvexForm, /) -> tuple[Matrix, Matrix]:
    """Multipliers whose bound is the convex form's root, and the Y of its minimizer.

    The form is f(z) = (z − ẑ)'H(z − ẑ) + terms that are linear in u. The square is Ŝ ⪰ 0, what is
    left of C is M, which reduced costs and the budgets' prices make non-negative, and Z = M − C.

    Args:
        lifted: Of the form's program.
        convex: A convex form of it.
    """
    root = NodeRelaxation(lifted.program, convex).root()
    form, z, d = convex.form, root.z, lifted.program.n_decisions
    kept = 1 + form.kept
    M = np.zeros_like(lifted.C)
    inside = np.equal.outer(form.decision, form.decision)
    M[np.ix_(kept, kept)] = np.where(inside, -convex.H, 0.0)
    M[0, 0] = form.base - z @ convex.H @ z
    row = form.linear / 2 + convex.H @ z
    M[0, kept] += row
    M[kept, 0] += row
    # Multiples of the equations change nothing, and take the sign from linear terms.
    prices = root.prices * lifted.room / budget_units(lifted.program, form)
    for equation, price in zip(lifted.equations[d:], prices, strict=True):
        _add(M, price * equation)
    v = lifted.n_variables
    linear = M.diagonal()[1 : v + 1] + 2 * M[0, 1 : v + 1]
    least = np.minimum.reduceat(linear, lifted.program.offsets[:-1])
    for equation, part in zip(lifted.equations[:d], least, strict=True):
        _add(M, -part * equation)
    u = lifted.point(_variables(lifted, convex, z))
    return M - lifted.C, np.outer(u, u)


def _add(M: Matrix, terms: Vector) -> None:
    """Add u_0·(terms'u) to u'Mu."""
    M[0] += terms / 2
    M[:, 0] += terms / 2


def _variables(lifted: LiftedProgram, convex: ConvexForm, z: Vector) -> Vector:
    """All variables of a point that is given by the kept ones."""
    y, form = np.zeros(lifted.n_variables), convex.form
    y[form.kept] = z
    y[form.reference] = 1 - np.bincount(
        form.decision, weights=z, minlength=lifted.program.n_decisions
    )
    return np.clip(y, 0.0, 1.0)


def least_objectives(
    lifted: LiftedProgram, Z: Matrix, objective: float, /
) -> tuple[Vector, Matrix]:
    """What any assignment with a variable, or with two, costs at least, whatever Z is.

    With Z less the part of V'ZV that is positive, −u'Zu is a sum of squares for every assignment,
    and its objective is u'(C + Z)u and that sum. Of the first part slacks are dropped where they
    add, and written out where they take; what is left is a program, which least objectives are
    known of. The second is probed.

    Args:
        lifted: What is bounded.
        Z: Shape (N, N), symmetric, in units of the objective.
        objective: Of an answer: bounds near it are what matters.

    Returns:
        Shape (v,), and shape (v, v) for pairs; those of forbidden pairs mean nothing.
    """
    V = lifted.basis
    with one_thread():
        values, vectors = np.linalg.eigh(V.T @ Z @ V)
        positive = values > 0
        half = V @ (vectors[:, positive] * np.sqrt(values[positive]))
        Z = Z - half @ half.T
        above = np.linalg.eigvalsh(V.T @ Z @ V)[-1]
        lost = max(float(above), 0.0) + ROUNDING * float(np.linalg.norm(Z))
        rest = _without_slacks(lifted, lifted.C + Z, lifted.longest * lost)
        least, pairs = least_with_pairs(rest)
        gap = objective - bound_of(lifted, least)
        if gap > 0:
            probe = Probe(lifted, np.maximum(-values, 0.0), vectors, RIDGE * gap / lifted.longest)
            least, pairs = least + probe.singles(), pairs + probe.pairs()
    return least, np.maximum(pairs, np.maximum.outer(least, least))


def bound_of(lifted: LiftedProgram, least: Vector) -> float:
    """What follows for all assignments: each has one variable of every decision."""
    return float(np.minimum.reduceat(least, lifted.program.offsets[:-1]).max())


def _without_slacks(lifted: LiftedProgram, M: Matrix, doubt: float) -> Program:
    """A program whose objective is nowhere above u'Mu − doubt on the program's assignments."""
    v, K = lifted.n_variables, len(lifted.binding)
    Q, constant = M[1 : v + 1, 1 : v + 1].copy(), M[0, 0] - doubt
    linear = 2 * M[0, 1 : v + 1]
    for k in range(K):
        row = M[1 + v + k]
        # s is within 0 and 1: s² and s·s' take no more than s does.
        others = np.minimum(row[1 + v : 2 + v + k], 0.0) * np.where(np.arange(k + 1) < k, 2, 1)
        alone = min(2 * row[0] + others.sum(), 0.0)
        beside = 2 * np.minimum(row[1 : v + 1], 0.0)
        share = lifted.shares[k]
        constant += alone
        linear = linear - alone * share + beside
        Q -= (np.outer(beside, share) + np.outer(share, beside)) / 2
    Q[np.diag_indices(v)] += linear
    Q = (Q + Q.T) / 2
    level = ABOVE_ALL * float(np.abs(Q).max())
    Q[lifted.zero[1 : v + 1, 1 : v + 1]] = 0.0
    Q[lifted.forbidden] = level
    return replace(lifted.program, Q=Q, constant=constant)
