"""DAQP's tree over one program: its arrays, one search, and choices that are cut off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clado_core._typing import Choices
from clado_core.errors import SolverError
from clado_core.problem.program import Program
from clado_core.solvers.convexify import ConvexForm, budget_rows
from clado_core.solvers.incumbent import PROOF_TOLERANCE
from clado_core.solvers.node_bound import UNBOUNDED

OPTIMAL, INFEASIBLE, CYCLING, TIME_LIMIT = 1, -1, -2, (-7, 5)
"""DAQP's exit flags; 5 also comes at a time limit (0.11). "Infeasible" under a bound on the
objective means that nothing better than the bound exists."""

BINARY = 16
"""DAQP's mark of a row that must hold at one of its bounds."""

PRIMAL_TOLERANCES = (1e-8, 1e-7, 1e-6)
"""Tried in turn where DAQP cycles (exit flag −2). A looser one accepts more points as feasible, so
it can only lower what is proven."""

ITERATIONS = 2**31 - 1
"""DAQP's own limit counts active-set steps of the whole tree; the time limit is the one we use."""

SMALLEST_TOLERANCE = 1e-9
"""What the proof gives up at least, relative to max |Q̃|: DAQP's values are good to about 1e-10."""


class Tree:
    """DAQP's arrays for one program; its variables are z in branching order, in units of scale."""

    def __init__(self, program: Program, convex: ConvexForm) -> None:
        form, order = convex.form, np.argsort(-convex.H.diagonal(), kind="stable")
        self._program, self._convex, self._order = program, convex, order
        self._scale = form.scale
        self._H = 2 * convex.H[np.ix_(order, order)] / self._scale
        self._linear = convex.linear[order] / self._scale
        budgets, room = budget_rows(program, form)
        crowded = np.flatnonzero(program.n_choices > 2)
        one_hot = np.equal.outer(crowded, form.decision) * 1.0
        self._rows = np.concatenate([budgets, one_hot])[:, order]
        self._limits = np.concatenate([room, np.ones(len(crowded))])

    def tolerance(self, objective: float) -> float:
        """What the proof gives up, in units of the objective."""
        return max(PROOF_TOLERANCE * abs(objective), SMALLEST_TOLERANCE * self._scale)

    def search(self, target: float, time_limit_s: float | None) -> tuple[int, Choices]:
        """Look for the best choice with an objective below ``target``: exit flag and choice."""
        if time_limit_s == 0:
            return TIME_LIMIT[0], np.zeros(0, dtype=np.int64)
        bound = min((target - self._convex.form.base) / self._scale, UNBOUNDED)
        flag, z = self._run(bound, time_limit_s)
        if flag not in (OPTIMAL, INFEASIBLE, *TIME_LIMIT):
            raise SolverError(f"DAQP stopped with its exit flag {flag}, which should not happen.")
        return flag, self._choice(z)

    def forbid(self, choice: Choices) -> None:
        """Cut one choice off: not all of its variables at once."""
        form = self._convex.form
        chosen = self._program.variables(choice)
        kept = np.isin(form.kept, chosen) * 1.0
        # A reference that is chosen counts as 1 − Σ z of its decision.
        at_reference = np.isin(form.reference, chosen)
        row = kept - at_reference[form.decision]
        self._rows = np.concatenate([self._rows, row[None, self._order]])
        limit = self._program.n_decisions - 1.0 - at_reference.sum()
        self._limits = np.append(self._limits, limit)

    @property
    def _n_variables(self) -> int:
        return len(self._linear)

    def _run(self, bound: float, time_limit_s: float | None) -> tuple[int, npt.NDArray[np.float64]]:
        import daqp

        n = self._n_variables
        sense = np.zeros(n + len(self._limits), dtype=np.intc)
        sense[:n] = BINARY
        for primal_tolerance in PRIMAL_TOLERANCES:
            z, _, flag, _ = daqp.solve(
                self._H,
                self._linear,
                np.ascontiguousarray(self._rows),
                np.concatenate([np.ones(n), self._limits]),
                np.concatenate([np.zeros(n), np.full(len(self._limits), -UNBOUNDED)]),
                sense,
                primal_tol=primal_tolerance,
                iter_limit=ITERATIONS,
                fval_bound=bound,
                time_limit=time_limit_s or 0.0,
                # H is definite by construction: no regularization that would change the problem.
                eps_prox=0.0,
            )
            if flag != CYCLING:
                break
        return int(flag), np.asarray(z)

    def _choice(self, z: npt.NDArray[np.float64]) -> Choices:
        form, program = self._convex.form, self._program
        value = np.zeros(program.n_variables)
        value[form.kept[self._order]] = z
        value[form.reference] = 1 - np.bincount(
            form.decision[self._order], weights=z, minlength=program.n_decisions
        )
        groups = np.split(value, program.offsets[1:-1])
        return np.array([group.argmax() for group in groups], dtype=np.int64)
