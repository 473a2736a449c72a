"""SCIP's convex formulation: a quadratic relaxation bounds each node instead of an LP."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clado_core._typing import Choices
from clado_core.problem.program import Program
from clado_core.solvers.convexify import ConvexForm
from clado_core.solvers.node_bound import NodeBound, NodeRelaxation, Vector
from clado_core.solvers.scip_parts import Guard, add_binaries

INTEGRAL = 1e-6
"""A z this close to 0 or 1 needs no branching."""

VALUE_TOLERANCE = 1e-9
"""How far, in SCIP's units, t may be below the objective of its assignment."""


class ConvexObjective:
    """Minimize t ≥ f(z) where f is convex, by three plug-ins around one relaxation.

    A *relaxation handler* bounds each node with DAQP, switches off candidates whose excess takes
    them above the incumbent, and offers integral minimizers. A *constraint handler* keeps t ≥ f
    and branches on the fractional z with the largest curvature, which is a low bit-width of a
    layer that matters much.

    Args:
        model: Gets the binaries, t and the plug-ins.
        program: What to minimize.
        convex: A convex form of it.
        scale: Unit of the objective.
        guard: Keeps errors of call-backs.
    """

    def __init__(
        self, model: Any, program: Program, convex: ConvexForm, scale: float, guard: Guard, /
    ) -> None:
        self.binaries = add_binaries(model, program, np.zeros(program.n_variables))
        self.t = model.addVar(lb=None, obj=1.0)
        self._model, self._program, self._form = model, program, convex.form
        self._scale = scale
        self._order = np.argsort(-convex.H.diagonal(), kind="stable")
        self._relaxation = NodeRelaxation(program, convex)
        self._node: tuple[int, bytes] | None = None
        self._bound = NodeBound(-math.inf, *[np.zeros(0)] * 4)
        # Enforced before integrality (priority 0), so that branching is ours.
        model.includeConshdlr(
            _constraint_handler(self, guard),
            "convex objective",
            "t ≥ f(z)",
            enfopriority=10**6,
            chckpriority=-(10**6),
            needscons=False,
        )
        model.includeRelax(_relaxation_handler(self, guard), "convex relaxation", "bounds nodes")

    def value(self, choice: Choices) -> float:
        """t of a choice."""
        return self._program.objective(choice) / self._scale

    def choice(self, x: Vector) -> Choices:
        """The choice of values of x, shape (v,)."""
        groups = np.split(x, self._program.offsets[1:-1])
        return np.array([group.argmax() for group in groups], dtype=np.int64)

    def is_correct(self, solution: Any) -> bool:
        """Whether a solution's t is at least its objective."""
        x = np.array([self._model.getSolVal(solution, v) for v in self.binaries])
        t = float(self._model.getSolVal(solution, self.t))
        return t >= self.value(self.choice(x)) - VALUE_TOLERANCE

    def relax(self) -> float:
        """Bound the current node, in SCIP's units, and use what the bound tells."""
        low, high = self._local_bounds()
        key = (self._model.getCurrentNode().getNumber(), low.tobytes() + high.tobytes())
        if key != self._node:
            kept, reference = self._form.kept, self._form.reference
            self._bound = self._relaxation.bound(low[kept], high[kept], high[reference])
            self._node = key
            if math.isfinite(self._bound.value):
                self._use(self._bound)
        return self._bound.value / self._scale

    def branch(self) -> bool:
        """Make two children; False where the node is a single assignment, which is then tried."""
        low, high = self._local_bounds()
        free = (high - low)[self._form.kept][self._order] > 0.5
        z = self._bound.z[self._order]
        fractional = free & (z > INTEGRAL) & (z < 1 - INTEGRAL)
        candidates = self._order[fractional if fractional.any() else free]
        if not len(candidates):
            self._offer(low[self._form.kept])
            return False
        a = int(candidates[0])
        variable = self._model.getTransformedVar(self.binaries[self._form.kept[a]])
        estimate = max(self._bound.value / self._scale, -self._model.infinity())
        likely_on = self._bound.z[a] > 0.5
        on = self._model.createChild(float(likely_on), estimate)
        self._model.chgVarLbNode(on, variable, 1.0)
        off = self._model.createChild(float(not likely_on), estimate)
        self._model.chgVarUbNode(off, variable, 0.0)
        return True

    def _use(self, bound: NodeBound) -> None:
        if not ((bound.z > INTEGRAL) & (bound.z < 1 - INTEGRAL)).any():
            self._offer(bound.z)
        cutoff = self._model.getCutoffbound() * self._scale
        for a in np.flatnonzero((bound.excess > 0) & (bound.value + bound.excess > cutoff)):
            variable = self._model.getTransformedVar(self.binaries[self._form.kept[a]])
            self._model.tightenVarUb(variable, 0.0)

    def _offer(self, z: Vector) -> None:
        """Give SCIP the assignment of an integral z, where it is feasible and better."""
        x = np.zeros(self._program.n_variables)
        x[self._form.kept] = np.round(z)
        x[self._form.reference] = 1 - np.bincount(
            self._form.decision, weights=np.round(z), minlength=self._program.n_decisions
        )
        choice = self.choice(x)
        value = self.value(choice)
        if self._program.is_feasible(choice) and value < self._model.getCutoffbound():
            solution = self._model.createSol()
            for variable, x_a in zip(self.binaries, x, strict=True):
                self._model.setSolVal(solution, variable, x_a)
            self._model.setSolVal(solution, self.t, value)
            self._model.trySol(solution, printreason=False)

    def _local_bounds(self) -> tuple[Vector, Vector]:
        # Presolving is off, so every binary has its own transformed variable.
        transformed = [self._model.getTransformedVar(v) for v in self.binaries]
        low = np.array([v.getLbLocal() for v in transformed])
        high = np.array([v.getUbLocal() for v in transformed])
        return np.round(low), np.round(high)


def set_parameters(model: Any, /) -> None:
    """Only tree, propagation and our plug-ins: no LP, and no reasoning that does not know f."""
    from pyscipopt.scip import PY_SCIP_PARAMSETTING as SCIP_PARAMSETTING

    model.setHeuristics(SCIP_PARAMSETTING.OFF)
    model.setSeparating(SCIP_PARAMSETTING.OFF)
    model.setPresolve(SCIP_PARAMSETTING.OFF)
    model.setParam("lp/solvefreq", -1)
    # SCIP sees no coefficients of f. Layers of one size then look alike to its symmetry detection
    # and dual reductions, which cut the optimum off (found by comparing with enumeration).
    model.setParam("misc/usesymmetry", 0)
    model.setParam("misc/allowstrongdualreds", False)
    model.setParam("misc/allowweakdualreds", False)


def _relaxation_handler(objective: ConvexObjective, guard: Guard) -> Any:
    from pyscipopt.scip import PY_SCIP_RESULT as RESULT
    from pyscipopt.scip import Relax

    class Relaxation(Relax):
        def relaxexec(self) -> dict[str, Any]:
            bound = guard.run(self.model, objective.relax, -math.inf)
            if bound == math.inf:
                return {"result": RESULT.CUTOFF}
            return {"result": RESULT.SUCCESS, "lowerbound": max(bound, -self.model.infinity())}

    return Relaxation()


def _constraint_handler(objective: ConvexObjective, guard: Guard) -> Any:
    from pyscipopt import Conshdlr
    from pyscipopt.scip import PY_SCIP_RESULT as RESULT

    class Objective(Conshdlr):
        def conscheck(self, constraints: Any, solution: Any, *options: Any) -> dict[str, Any]:
            correct = guard.run(self.model, lambda: objective.is_correct(solution), False)
            return {"result": RESULT.FEASIBLE if correct else RESULT.INFEASIBLE}

        def consenfolp(self, *state: Any) -> dict[str, Any]:
            return self._enforce()

        def consenfops(self, *state: Any) -> dict[str, Any]:
            return self._enforce()

        def consenforelax(self, *state: Any) -> dict[str, Any]:
            return self._enforce()

        def _enforce(self) -> dict[str, Any]:
            branched = guard.run(self.model, objective.branch, True)
            if guard.error is not None:
                return {"result": RESULT.INFEASIBLE}
            return {"result": RESULT.BRANCHED if branched else RESULT.CUTOFF}

        def conslock(self, constraint: Any, kind: Any, locks_down: int, locks_up: int) -> None:
            # t may not fall; any change of a binary may break t ≥ f.
            self.model.addVarLocks(objective.t, locks_down, locks_up)
            for variable in objective.binaries:
                self.model.addVarLocks(variable, locks_down + locks_up, locks_down + locks_up)

    return Objective()
