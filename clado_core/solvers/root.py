"""Before the first branching: candidates are ruled out, and all assignments are bounded."""

from __future__ import annotations

import numpy as np

from clado_core.solvers.convexify import ConvexForm
from clado_core.solvers.elimination import eliminate
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.node_bound import NodeBound, NodeRelaxation
from clado_core.solvers.shifts import ConvexifyingShifts, convexify_for

ROUNDS = 5
"""Each makes the program smaller and its bound tighter, by less and less."""

WORTHWHILE = 0.05
"""Share of the candidates to rule out; for fewer the relaxation is not worth solving again."""


def bound_root(
    incumbent: Incumbent, shifts: ConvexifyingShifts | None, time_limit_s: float | None, /
) -> None:
    """Shrink the incumbent's program and prove its root's bound; leaves its convex form there.

    A candidate whose reduced cost takes the root's bound above the incumbent is in no better
    answer. Without it the unit of the rest is smaller, and so are all tolerances.

    Args:
        incumbent: Has an answer.
        shifts: As for DaqpSolver.
        time_limit_s: Of the whole solve; at least one bound is found.
    """
    eliminate(incumbent, time_limit_s=time_limit_s)
    for _ in range(ROUNDS):
        if incumbent.is_settled:
            return
        convex = convexify_for(incumbent, shifts, time_limit_s=time_limit_s)
        root = NodeRelaxation(incumbent.program, convex).root()
        incumbent.prove(root.value)
        dropped = _too_dear(incumbent, convex, root)
        if dropped.sum() < WORTHWHILE * len(dropped) or incumbent.left_s(time_limit_s) == 0:
            return
        incumbent.rule_out(dropped)
        eliminate(incumbent, time_limit_s=time_limit_s)


def _too_dear(incumbent: Incumbent, convex: ConvexForm, root: NodeBound) -> np.ndarray:
    """Candidates that the root's reduced costs rule out, shape (v,)."""
    assert incumbent.choice is not None
    excess = np.zeros(incumbent.program.n_variables)
    excess[convex.form.kept] = root.excess
    excess[convex.form.reference] = root.reference_excess
    dropped = np.asarray(root.value + excess > incumbent.objective)
    dropped[incumbent.program.variables(incumbent.choice)] = False
    return dropped
