"""Problems without interactions are multiple-choice knapsacks: HiGHS proves them at once."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from clado_core._typing import Choices
from clado_core.problem.program import Program
from clado_core.solvers.elimination import eliminate
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.quiet import quiet_stdout

logger = logging.getLogger(__name__)

UNIT = 1e6
"""What the largest loss becomes, so that HiGHS's absolute gap of 1e-6 is 1e-12 of it."""

LOST = 1e-6
"""Of a loss in these units, for each variable: ten times what HiGHS's dual tolerance leaves."""

ROUNDS = 3
"""Each without the candidates that the last one's answer rules out, and in a smaller unit."""

MOST_FORBIDDEN = 20
"""Choices over a budget by less than HiGHS's tolerance, cut off one by one."""


def is_linear(program: Program, /) -> bool:
    """Whether no two decisions interact."""
    return not np.count_nonzero(program.Q - np.diag(program.Q.diagonal()))


def prove_linear(incumbent: Incumbent, time_limit_s: float | None, gap_limit: float, /) -> None:
    """Find and prove the best choice of a linear program with HiGHS.

    Args:
        incumbent: With an answer or without; its program is linear.
        time_limit_s: Of the whole solve; at the limit the bound so far stands.
        gap_limit: That is enough.

    Source: Huangfu, Hall, Parallelizing the dual revised simplex method (2018).
    """
    for _ in range(ROUNDS):
        _solve(incumbent, time_limit_s, gap_limit)
        if incumbent.choice is None or incumbent.is_within(gap_limit):
            return
        if incumbent.left_s(time_limit_s) == 0:
            return
        # One loss far above the others sets the unit: without it the rest is proven.
        eliminate(incumbent, time_limit_s=time_limit_s)
        if incumbent.is_settled:
            return


def _solve(incumbent: Incumbent, time_limit_s: float | None, gap_limit: float) -> None:
    """HiGHS's answer; those that break a budget by less than its tolerance are cut off."""
    forbidden: list[Choices] = []
    while len(forbidden) <= MOST_FORBIDDEN and incumbent.left_s(time_limit_s) != 0:
        left_s = incumbent.left_s(time_limit_s)
        choice, bound = _minimize(incumbent.program, forbidden, left_s, gap_limit)
        # Nothing lies below it but what was cut off, which breaks a budget.
        incumbent.prove(bound)
        if choice is None:
            return
        if incumbent.program.is_feasible(choice):
            incumbent.offer(choice)
            incumbent.prove(bound)
            return
        forbidden.append(choice)


def _minimize(
    program: Program, forbidden: list[Choices], left_s: float | None, gap_limit: float
) -> tuple[Choices | None, float]:
    """HiGHS's choice, None where it has none, and its bound."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    losses = program.Q.diagonal()
    least = np.minimum.reduceat(losses, program.offsets[:-1])
    above = losses - np.repeat(least, program.n_choices)
    scale = float(above.max()) / UNIT or 1.0
    rows, lower, upper = _constraints(program, forbidden)
    with quiet_stdout():
        found = milp(
            above / scale,
            integrality=np.ones(program.n_variables, dtype=np.int64),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(rows, lower, upper),
            options={"mip_rel_gap": gap_limit, "time_limit": np.inf if left_s is None else left_s},
        )
    base = program.constant + float(least.sum())
    bound = -np.inf if found.mip_dual_bound is None else float(found.mip_dual_bound)
    lost = LOST * program.n_variables
    if found.x is None:
        logger.warning("HiGHS found no assignment: %s", found.message)
        return None, base + scale * (bound - lost)
    parts = np.split(found.x, program.offsets[1:-1])
    choice = np.array([part.argmax() for part in parts], dtype=np.int64)
    return choice, base + scale * (bound - lost)


def _constraints(
    program: Program, forbidden: list[Choices]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """One variable of each decision, the budgets as shares of their room, and the cuts."""
    d, v = program.n_decisions, program.n_variables
    decision = np.repeat(np.arange(d), program.n_choices)
    one_hot = np.equal.outer(np.arange(d), decision) * 1.0
    cheapest = np.minimum.reduceat(program.costs, program.offsets[:-1], axis=1)
    room = np.maximum(program.limits - cheapest.sum(axis=1), 1)[:, None]
    extra = program.costs - np.repeat(cheapest, program.n_choices, axis=1)
    has_room = (program.limits - cheapest.sum(axis=1)) > 0
    cuts = np.zeros((len(forbidden), v))
    for cut, choice in zip(cuts, forbidden, strict=True):
        cut[program.variables(choice)] = 1.0
    rows = np.concatenate([one_hot, extra / room, cuts])
    upper = np.concatenate([np.ones(d), has_room * 1.0, np.full(len(forbidden), d - 1.0)])
    lower = np.full(len(rows), -np.inf)
    lower[:d] = 1.0
    return rows, lower, upper
