"""Candidates that no better answer uses: ruled out by what they contribute at least."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from clado_core.problem.program import Program
from clado_core.solvers.incumbent import Incumbent

ROUNDING = 1e-13
"""Taken off every sum, relative to its terms' magnitudes: what double precision can lose in it."""

ROUNDS = 20
"""A candidate less lowers what others contribute at least; a few rounds see the end of it."""

WORTH_CAPPING = 1e-3
"""Capping weakens bounds a little, so it must shrink the largest entry by this factor."""

TINY = 1e-290

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


def eliminate(incumbent: Incumbent, /, *, time_limit_s: float | None = None) -> None:
    """Rule out candidates by budgets and by least contributions, and prove what these prove.

    Every assignment has one candidate of each decision, so the smallest least contribution inside
    a decision is a bound on all assignments.

    Args:
        incumbent: Has an answer.
        time_limit_s: Of the whole solve; at least one round is made.

    Source: dead-end elimination (Desmet, De Maeyer, Hazes, Lasters, Nature 356, 1992), with an
    answer's objective as the threshold.
    """
    for _ in range(ROUNDS):
        if incumbent.is_settled:
            return
        assert incumbent.choice is not None
        program = incumbent.program
        least = least_objectives(program)
        dropped = least >= incumbent.objective
        dropped[program.variables(incumbent.choice)] = False
        if not dropped.any():
            incumbent.prove(float(np.minimum.reduceat(least, program.offsets[:-1]).max()))
            break
        incumbent.rule_out(dropped)
        if incumbent.left_s(time_limit_s) == 0:
            return
    if not incumbent.is_settled:
        incumbent.replace_program(capped(incumbent.program, incumbent.objective))


def capped(program: Program, threshold: float, /) -> Program:
    """Lower interactions that no assignment of at most a threshold has, so that they set no unit.

    With Q' the entries between decisions cut off at a level, an assignment without a cut pair keeps
    its objective. One with a cut pair costs at least that pair's least objective under Q'. Where
    this is above the threshold for all cut pairs, Q' has the same assignments up to the threshold;
    a higher level then does too, so the lowest is found by halving the powers of ten.

    Args:
        program: At least one decision.
        threshold: Objectives up to it matter.

    Returns:
        The program itself where its largest entry would not become much smaller.
    """
    largest = float(program.Q.max(initial=0.0))
    if largest < TINY:
        return program
    lowest, kept, top = int(np.log10(TINY)), program, int(np.ceil(np.log10(largest)))
    while lowest < top:
        middle = (lowest + top) // 2
        lower, cut = _cut_off(program, 10.0**middle)
        if (least_with_pairs(lower)[1][cut] > threshold).all():
            kept, top = lower, middle
        else:
            lowest = middle + 1
    worthwhile = float(kept.Q.max()) <= WORTH_CAPPING * largest
    return kept if worthwhile else program


def least_objectives(program: Program, /) -> Vector:
    """What an assignment with each variable costs at least, shape (v,); +inf: none is feasible.

    With R_b = Σ_k min_{c∈k} Q_bc over the decisions but b's own, an assignment with a of decision
    d costs at least

        constant + Q_aa + Σ_{k≠d} min_{b∈k} (Q_bb + 2·Q_ab + R_b − min_{c∈d} Q_bc).

    Args:
        program: At least one decision.
    """
    return np.where(_fits(program), least_with_pairs(program)[0], np.inf)


def least_with_pairs(program: Program, /) -> tuple[Vector, Matrix]:
    """As ``least_objectives`` without limits, (v,), and for each pair of variables, (v, v)."""
    first, d = program.offsets[:-1], program.n_decisions
    own = np.equal.outer(np.repeat(np.arange(d), program.n_choices), np.arange(d))
    nearest = np.where(own, 0.0, np.minimum.reduceat(program.Q, first, axis=1))
    diagonal = program.Q.diagonal()
    # [a, b]: what b adds beside a. Entries inside a's own decision are not used.
    beside_own = np.repeat(nearest, program.n_choices, axis=1).T
    added = 2 * program.Q - beside_own
    added -= ROUNDING * (2 * np.abs(program.Q) + np.abs(beside_own))
    added += diagonal + nearest.sum(axis=1)
    added -= ROUNDING * (np.abs(diagonal) + np.abs(nearest).sum(axis=1))
    cheapest = np.where(own, 0.0, np.minimum.reduceat(added, first, axis=1))
    alone = program.constant + diagonal
    least = alone + cheapest.sum(axis=1)
    least -= ROUNDING * (abs(program.constant) + np.abs(diagonal) + np.abs(cheapest).sum(axis=1))
    pairs = least[:, None] - np.repeat(cheapest, program.n_choices, axis=1) + added
    pairs -= ROUNDING * (np.abs(least)[:, None] + np.abs(added))
    return least, np.maximum(pairs, pairs.T)


def _cut_off(program: Program, level: float) -> tuple[Program, npt.NDArray[np.bool_]]:
    """The program with its interactions cut off at a level, and which were, shape (v, v)."""
    cut = level < program.Q
    cut[np.diag_indices_from(cut)] = False
    return replace(program, Q=np.where(cut, level, program.Q)), cut


def _fits(program: Program) -> npt.NDArray[np.bool_]:
    """Whether each variable keeps every limit beside the cheapest of the others, shape (v,)."""
    first = program.offsets[:-1]
    cheapest = np.minimum.reduceat(program.costs, first, axis=1)
    extra = program.costs - np.repeat(cheapest, program.n_choices, axis=1)
    room = program.limits - cheapest.sum(axis=1)
    return np.asarray((extra <= room[:, None]).all(axis=0))
