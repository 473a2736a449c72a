"""A lower bound for a part of the assignments: those that keep some candidates on or off."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from clado_core.problem.program import Program
from clado_core.solvers.convexify import ConvexForm, budget_rows

DAQP_SOLVED = 1
EQUALITY = 5
"""DAQP's mark of a row that always holds with equality."""

UNBOUNDED = 1e30
"""DAQP's infinity."""

ROUNDING = 1e-12
"""Taken off every bound, relative to the sum of the gradient's magnitudes: what adding up some
hundred terms in double precision can lose."""

BUDGET_TOLERANCE = 1e-9
"""Budgets are kept up to this share of their largest coefficient: too much is safe for a bound."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NodeBound:
    """What is known about the assignments of a node.

    Args:
        value: None has a smaller objective; +inf: there are none; −inf: nothing is known.
        z: Shape (w,), the minimizer of the continuous relaxation, as far as DAQP solved it.
        excess: Shape (w,): those that switch z_a on are above ``value`` by this much at least.
        reference_excess: Shape (d,): the same of those with a decision's reference choice.
        prices: Shape (k,): of one more of each ``budget_rows``, what the value falls by at most.
    """

    value: float
    z: Vector
    excess: Vector
    reference_excess: Vector
    prices: Vector


class NodeRelaxation:
    """The convex form over the budgets with some z fixed, minimized by DAQP, bounded by duality.

    f is convex, so f(z) ≥ f(ẑ) + ∇f(ẑ)'(z − ẑ) for any ẑ; with prices λ ≥ 0 on the budgets the
    right side's minimum over assignments is one minimum per decision. That bound holds whatever
    DAQP's accuracy is, and equals the relaxation's minimum where ẑ and λ are optimal.

    Args:
        program: The budgets.
        convex: A convex form of it.
    """

    def __init__(self, program: Program, convex: ConvexForm, /) -> None:
        self._program, self._convex = program, convex
        self._scale = convex.form.scale
        self._rows, self._room = budget_rows(program, convex.form)

    def root(self) -> NodeBound:
        """The bound of all assignments."""
        w = len(self._convex.linear)
        return self.bound(np.zeros(w), np.ones(w), np.ones(self._program.n_decisions))

    def bound(self, low: Vector, high: Vector, reference_high: Vector, /) -> NodeBound:
        """The bound of the assignments between ``low`` and ``high``.

        Args:
            low: Shape (w,), 0 or 1.
            high: Shape (w,), 0 or 1, at least ``low``.
            reference_high: Shape (d,), 0 where the reference choice is ruled out.
        """
        H, linear, decision = self._convex.H, self._convex.linear, self._convex.form.decision
        on, free = low > 0.5, np.flatnonzero(high > low + 0.5)
        unknown = self._unknown(low)
        base = self._convex.form.base + linear[on].sum() + H[np.ix_(on, on)].sum()
        room = self._room - self._rows[:, on].sum(axis=1)
        taken = np.bincount(decision[on], minlength=self._program.n_decisions).astype(np.float64)
        vacant, may_stay = taken == 0, (reference_high > 0.5) | (taken > 0)
        stuck = ~may_stay
        stuck[decision[free]] = False
        usable = free[vacant[decision[free]]]
        if (taken > 1).any() or stuck.any() or self._breaks_a_budget(usable, room, may_stay):
            return replace(unknown, value=math.inf)
        if not len(free):
            return replace(unknown, value=float(base))

        gradient = (linear[free] + 2 * H[np.ix_(free, on)].sum(axis=1)) / self._scale
        curvature = 2 * H[np.ix_(free, free)] / self._scale
        flag, part, price = self._minimize(curvature, gradient, free, room, 1 - taken, ~may_stay)
        if flag != DAQP_SOLVED:
            # Also where DAQP finds no feasible point: its word is no proof.
            return unknown
        slope = curvature @ part + gradient + price @ self._rows[:, free]
        least = np.where(may_stay, 0.0, math.inf)
        np.minimum.at(least, decision[free], slope)
        value = least.sum() - part @ curvature @ part / 2 - price @ room
        value -= ROUNDING * (1 + np.abs(slope).sum() + np.abs(price @ self._rows).sum())
        z, excess = unknown.z, unknown.excess
        z[free], excess[free] = part, self._scale * (slope - least[decision[free]])
        reference_excess = np.where(may_stay & vacant, -self._scale * least, 0.0)
        value = float(base + self._scale * value)
        return NodeBound(value, z, excess, reference_excess, self._scale * price)

    def _unknown(self, low: Vector) -> NodeBound:
        nothing = (len(low), self._program.n_decisions, len(self._room))
        return NodeBound(-math.inf, low.copy(), *(np.zeros(n) for n in nothing))

    def _breaks_a_budget(
        self, free: npt.NDArray[np.int64], room: Vector, may_stay: npt.NDArray[np.bool_]
    ) -> bool:
        """Whether even the cheapest of what is left breaks one of the budgets.

        Args:
            free: The z that may still be switched on.
            room: Shape (k,), what is left of the budgets.
            may_stay: Shape (d,): decisions that need none of them.
        """
        for row, left in zip(self._rows, room, strict=True):
            least = np.where(may_stay, 0.0, math.inf)
            np.minimum.at(least, self._convex.form.decision[free], row[free])
            if least.sum() > left + BUDGET_TOLERANCE:
                return True
        return False

    def _minimize(
        self,
        curvature: npt.NDArray[np.float64],
        gradient: Vector,
        free: npt.NDArray[np.int64],
        room: Vector,
        vacancies: Vector,
        must: npt.NDArray[np.bool_],
    ) -> tuple[int, Vector, Vector]:
        """DAQP's exit flag, the minimizer over the free z, and the prices of the budgets."""
        import daqp

        n, decision = len(free), self._convex.form.decision[free]
        used = np.unique(decision)
        rows = np.concatenate([self._rows[:, free], np.equal.outer(used, decision) * 1.0])
        upper = np.concatenate([np.ones(n), room, vacancies[used]])
        lower = np.full(len(upper), -UNBOUNDED)
        lower[:n] = 0.0
        first_used = n + len(room)
        sense = np.zeros(len(upper), dtype=np.intc)
        sense[first_used:][must[used]] = EQUALITY
        lower[first_used:][must[used]] = 1.0
        z, _, flag, info = daqp.solve(
            curvature, gradient, rows, upper, lower, sense, primal_tol=1e-8, eps_prox=0.0
        )
        price = np.maximum(np.asarray(info["lam"])[n:first_used], 0.0)
        return int(flag), np.asarray(z), price
