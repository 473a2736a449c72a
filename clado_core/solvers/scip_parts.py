"""What both of SCIP's formulations share: binaries, budgets, and errors in call-backs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from clado_core.problem.program import Program
from clado_core.solvers.sdp import Vector


def add_binaries(model: Any, program: Program, linear: Vector, /) -> list[Any]:
    """One binary per variable with its objective coefficient, one-hot per decision, in budgets.

    Each limit is a knapsack of whole numbers, which SCIP keeps exactly. Every decision takes its
    cheapest variable's cost anyway, so only what is above it counts; dividing by the common
    divisor and rounding the capacity down changes nothing either.
    """
    from pyscipopt import quicksum

    x = [model.addVar(vtype="B", obj=c) for c in linear]
    for start, stop in pairwise(program.offsets):
        model.addCons(quicksum(x[start:stop]) == 1)
    first = program.offsets[:-1]
    cheapest = np.minimum.reduceat(program.costs, first, axis=1)
    extra = program.costs - np.repeat(cheapest, program.n_choices, axis=1)
    for weights, capacity in zip(extra, program.limits - cheapest.sum(axis=1), strict=True):
        if np.maximum.reduceat(weights, first).sum() <= capacity:
            continue
        unit = np.gcd.reduce(weights)
        terms = [(v, int(w // unit)) for v, w in zip(x, weights, strict=True) if w]
        model.addConsKnapsack([v for v, _ in terms], [w for _, w in terms], int(capacity // unit))
    return x


class Guard:
    """Keeps the first error of a call-back: SCIP's C code cannot carry it; raise it afterwards."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def run(self, model: Any, action: Callable[[], Any], otherwise: Any) -> Any:
        """What ``action`` returns; after an error, in any call, stop SCIP and return otherwise."""
        from pyscipopt.scip import PY_SCIP_STAGE as SCIP_STAGE

        if self.error is None:
            try:
                return action()
            except BaseException as error:
                self.error = error
        if model.getStage() == SCIP_STAGE.SOLVING:
            model.interruptSolve()
        return otherwise

    def check(self) -> None:
        """Raise the error that was kept."""
        if self.error is not None:
            raise self.error


EVENTS = ("BESTSOLFOUND", "DUALBOUNDIMPROVED", "NODESOLVED")


def listen(model: Any, guard: Guard, report: Callable[[], None], /) -> None:
    """Call ``report`` at every better answer or bound, and after every node."""
    from pyscipopt import Eventhdlr
    from pyscipopt.scip import PY_SCIP_EVENTTYPE as SCIP_EVENTTYPE

    class Listener(Eventhdlr):
        def eventinit(self) -> None:
            for event in EVENTS:
                self.model.catchEvent(getattr(SCIP_EVENTTYPE, event), self)

        def eventexec(self, event: Any) -> None:
            guard.run(self.model, report, None)

    model.includeEventhdlr(Listener(), "clado", "reports answers and bounds")
