"""Candidates and pairs that a doubly non-negative bound rules out, before a tree is searched."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clado_core.solvers.convexify import ConvexForm, convexify
from clado_core.solvers.doubly_nonnegative import (
    Splitting,
    bound_of,
    least_objectives,
    starting_point,
)
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.lifted import Vector, lift, narrowed
from clado_core.solvers.local_search import descend

STEPS_PER_CHECK = 25
"""Steps between two bounds; a bound costs about two."""

PATIENCE = 6
"""Checks without enough progress after which the tree has the better use of the time."""

PROGRESS = 0.85
"""Factor by which the gap must shrink within that patience, where no candidate goes."""

SECONDS_PER_CUBE = 6e-9
"""Of the first round, with the form's size; later ones are as long as the last."""

WORTHWHILE = 0.05
"""Share of the candidates to rule out before the program is written anew."""


@dataclass
class _Search:
    """Where the relaxation of the incumbent's program stands.

    ``least`` (v,) is the best bound found for each candidate, ``quiet`` the checks since there was
    progress, ``gap`` the relaxation's own gap at that time: a tree may have closed the incumbent's
    but for its tolerance.
    """

    incumbent: Incumbent
    state: Splitting
    least: Vector
    gap: float = math.inf
    gone: int = 0
    quiet: int = 0


def shrink(
    incumbent: Incumbent, convex: ConvexForm, time_limit_s: float | None, gap_limit: float, /
) -> None:
    """Rule out what no better answer uses, as long as that makes progress; proves the bounds.

    A candidate whose least objective is that of the incumbent or more goes; a pair of candidates
    like it is forbidden, which makes the next bounds tighter. The relaxation's point, rounded, is
    where descents start. Leaves the tightest convex form of what is left.

    Args:
        incumbent: Has an answer, and something left to decide.
        convex: A convex form of its program, whose bound is where this starts.
        time_limit_s: Of the whole solve.
        gap_limit: That is enough.
    """
    program = incumbent.program
    lifted = lift(program)
    round_s = SECONDS_PER_CUBE * lifted.size**3
    if not _is_time_for(round_s, incumbent, time_limit_s):
        return
    state = Splitting(lifted, *starting_point(lifted, convex))
    search = _Search(incumbent, state, np.full(program.n_variables, -np.inf))
    while search.quiet < PATIENCE and _is_time_for(round_s, incumbent, time_limit_s):
        begun_s = incumbent.elapsed_s
        _bound(search)
        if incumbent.is_within(gap_limit):
            return
        _round(search)
        _rule_out(search)
        if incumbent.is_settled:
            return
        search.state.run(STEPS_PER_CHECK)
        round_s = incumbent.elapsed_s - begun_s
    _rule_out(search, 0.0)
    if incumbent.is_settled:
        return
    if incumbent.program is not program:
        left_s = incumbent.left_s(time_limit_s)
        incumbent.convex = incumbent.program, convexify(incumbent.program, time_limit_s=left_s)


def _is_time_for(round_s: float, incumbent: Incumbent, time_limit_s: float | None) -> bool:
    """Whether a round as long as the last ends in time."""
    left_s = incumbent.left_s(time_limit_s)
    return left_s is None or left_s > round_s


def _bound(search: _Search) -> None:
    """Bounds of all assignments, of each candidate, and of each pair."""
    incumbent, state = search.incumbent, search.state
    lifted, program = state.lifted, incumbent.program
    least, pairs = least_objectives(lifted, state.Z, incumbent.objective)
    bound = bound_of(lifted, least)
    incumbent.prove(bound)
    search.least = np.maximum(search.least, least)
    forbidden = lifted.forbidden | ((pairs >= incumbent.objective) & ~lifted.inside)
    assert incumbent.choice is not None
    chosen = program.variables(incumbent.choice)
    forbidden[np.ix_(chosen, chosen)] = False
    if (forbidden != lifted.forbidden).any():
        state.lifted = lifted.forbidding(forbidden)
    gone = int((search.least >= incumbent.objective).sum())
    gap = incumbent.gap_of(bound)
    if gone > search.gone or gap <= PROGRESS * search.gap:
        search.gone, search.gap, search.quiet = gone, gap, 0
    else:
        search.quiet += 1


def _round(search: _Search) -> None:
    """Descend from the assignment that is nearest to the relaxation's point."""
    program = search.incumbent.program
    parts = np.split(search.state.y, program.offsets[1:-1])
    nearest = np.array([part.argmax() for part in parts], dtype=np.int64)
    for choice in descend(program, nearest):
        search.incumbent.offer(choice)


def _rule_out(search: _Search, worthwhile: float = WORTHWHILE) -> None:
    """Go on with a smaller program where more than a share of the candidates has gone."""
    incumbent, state = search.incumbent, search.state
    program = incumbent.program
    assert incumbent.choice is not None
    dropped = search.least >= incumbent.objective
    dropped[program.variables(incumbent.choice)] = False
    if dropped.sum() <= worthwhile * len(dropped):
        return
    incumbent.rule_out(dropped)
    if incumbent.is_settled:
        return
    narrow, T, entries = narrowed(state.lifted, incumbent.program)
    Z, Y = T.T @ state.Z @ T, state.Y[np.ix_(entries, entries)]
    search.state = Splitting(narrow, Z, Y)
    search.least, search.gone = np.full(narrow.n_variables, -np.inf), 0
