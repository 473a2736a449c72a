"""Many tabu walks at once, in and out of the budgets, every step one set of array operations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from clado_core._typing import Choices
from clado_core.problem.program import Program

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TENURE = (4, 12)
"""Steps for which a variable switched off stays off; drawn anew at every step. With 3 to 9, a
56-layer network's hardest budgets missed their optimum seven times as often."""

PENALTY_STEP = 1.6
"""Factor on a walk's penalty after a step outside the budgets, its inverse after one inside."""

PENALTY_RANGE = 1e12
"""A penalty stays within this factor of the first ones' middle: one that shrank through a thousand
steps inside would take as many outside to count again."""

PATIENCE = (10, 20)
"""Steps without a walk's new best after which it starts again from a crossover of two bests: the
first walk's and the last's. With 10 to 20 for 100, 72 layers of five choices with the strongest
interactions end three times nearer to the best known, and of 128 runs on a 56-layer network and a
transformer none misses it; with less than 8 a few do."""

REDRAWN = 0.02
"""Share of the decisions that a crossover draws at random."""

STEPS_PER_REPORT = 32
"""A step takes 0.1 ms, so bests are handed out, and the clock looked at, every few."""

IMPROVEMENT = 1e-12
"""Smallest improvement that counts, relative to the largest |Q|: below it is rounding."""


def tabu_walks(
    program: Program, starts: Integers, rng: np.random.Generator, n_steps: int, /
) -> Iterator[Choices]:
    """Walk from all starts at once; yields better and better feasible choices.

    Each walk takes, at every step, the 1-move with the least change of

        objective + penalty · Σ_k max(0, cost_k − limit_k) / limit_k

    among those that switch on nothing lately switched off (a feasible new best of the walk is
    always allowed). The penalty grows while the walk breaks a budget and shrinks while it keeps
    all, so that the walk crosses the border again and again, where the good assignments are: two
    1-moves, one out and one in, make a swap at the price of O(v) instead of O(v²).

    Args:
        program: What is minimized.
        starts: Choices, shape (W, d), feasible or not; at least one.
        rng: Of tenures and restarts.
        n_steps: Steps of every walk.

    Source: strategic oscillation (Glover and Hao, Efficient evaluations for solving large 0-1
    unconstrained quadratic optimisation problems, 2010; Glover, Tabu search, 1989); restarts by
    crossover as in memetic search for QUBO (Lü, Glover, Hao 2010).
    """
    walks = _Walks(program, starts)
    handed_out = np.inf
    for step in range(1, n_steps + 1):
        walks.take_step(step, rng)
        walks.restart_stale(rng)
        if step % STEPS_PER_REPORT == 0 or step == n_steps:
            w = int(walks.best.argmin())
            if walks.best[w] < handed_out:
                handed_out = walks.best[w]
                yield walks.best_chosen[w] - program.offsets[:-1]


class _Walks:
    """The state of W walks.

    chosen (W, d) are variables, field (W, v) is Q·y of each, cost (W, K) what each uses. ``record``
    (W,) is a walk's best since its start, ``best`` (W,) its best of all.
    """

    def __init__(self, program: Program, starts: Integers) -> None:
        n_walks, n_variables = len(starts), program.n_variables
        self.program = program
        self.decision = np.repeat(np.arange(program.n_decisions), program.n_choices)
        self.rows = np.arange(n_walks)
        self.row_starts = n_variables * self.rows[:, None]
        self.diagonal = program.Q.diagonal()
        middle = float(np.abs(program.Q).sum()) / (2 * max(n_variables, 1))
        self.least = IMPROVEMENT * float(np.abs(program.Q).max(initial=0.0))
        # Which penalty suits a program is unknown, so the walks begin with a range of them.
        self.penalty = middle * np.geomspace(0.1, 10.0, n_walks)
        self.penalties = middle / PENALTY_RANGE, middle * PENALTY_RANGE
        self.patience = np.geomspace(*PATIENCE, n_walks)
        self.chosen = np.zeros_like(starts)
        self.field = np.zeros((n_walks, n_variables))
        self.objective = np.zeros(n_walks)
        # Whole numbers below 2⁵³ are exact as floats, and faster among floats.
        self.costs = program.costs.astype(np.float64)
        self.limits = program.limits.astype(np.float64)
        self.cost = np.zeros((n_walks, len(program.limits)))
        self.released = np.zeros((n_walks, n_variables), dtype=np.int64)
        self.stale = np.zeros(n_walks, dtype=np.int64)
        self.record = np.full(n_walks, np.inf)
        self.best = np.full(n_walks, np.inf)
        self._place(self.rows, program.offsets[:-1] + starts)
        self.best_chosen = self.chosen.copy()
        self._remember(self._feasible())

    def take_step(self, step: int, rng: np.random.Generator) -> None:
        """Move every walk once, and adapt its penalty."""
        program = self.program
        doubled = 2 * self.field
        chosen = self.chosen + self.row_starts
        keep = doubled.take(chosen) - self.diagonal.take(self.chosen)
        change = doubled + self.diagonal
        change -= keep.take(self.decision, axis=1)
        excess, feasible = self._excess_after_moves()
        objective = self.objective[:, None] + change
        score = change + self.penalty[:, None] * excess
        improves = feasible & (objective < (self.record - self.least)[:, None])
        np.copyto(score, np.inf, where=(self.released > step) & ~improves)
        score.put(chosen, np.inf)

        move = score.argmin(axis=1)
        k = self.decision[move]
        dropped = self.chosen[self.rows, k]
        # Where everything is forbidden the first variable is taken, which may be on already.
        self.objective = np.where(move == dropped, self.objective, objective[self.rows, move])
        self.field += program.Q[move] - program.Q[dropped]
        self.cost += (self.costs[:, move] - self.costs[:, dropped]).T
        self.chosen[self.rows, k] = move
        self.released[self.rows, dropped] = step + rng.integers(*TENURE, len(move))
        inside = self._feasible()
        self.penalty *= np.where(inside, 1 / PENALTY_STEP, PENALTY_STEP)
        self.penalty.clip(*self.penalties, out=self.penalty)
        self._remember(inside)

    def restart_stale(self, rng: np.random.Generator) -> None:
        """Put walks that found nothing new for long on a crossover of two walks' bests."""
        stale = np.flatnonzero(self.stale >= self.patience)
        if not len(stale):
            return
        shape = (len(stale), self.program.n_decisions)
        first, second = (
            self.best_chosen[rng.integers(0, len(self.rows), len(stale))] for _ in range(2)
        )
        child = np.where(rng.random(shape) < 0.5, first, second)
        drawn = self.program.offsets[:-1] + rng.integers(0, self.program.n_choices, shape)
        self._place(stale, np.where(rng.random(shape) < REDRAWN, drawn, child))
        self.record[stale] = np.inf
        self.stale[stale] = 0
        self.released[stale] = 0

    def _place(self, walks: Integers, chosen: Integers) -> None:
        program = self.program
        self.chosen[walks] = chosen
        for w, variables in zip(walks, chosen, strict=True):
            self.field[w] = program.Q[variables].sum(axis=0)
        self.objective[walks] = np.take_along_axis(self.field[walks], chosen, 1).sum(axis=1)
        self.cost[walks] = self.costs[:, chosen].sum(axis=2).T

    def _excess_after_moves(self) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Relative violation after each move, summed over limits, shape (W, v); which have none."""
        excess = np.zeros_like(self.field)
        for cost, used, limit in zip(self.costs, self.cost.T, self.limits, strict=True):
            without = (used - limit)[:, None] - cost[self.chosen]
            over = without.take(self.decision, axis=1)
            over += cost
            np.maximum(over, 0, out=over)
            over /= max(limit, 1)
            excess += over
        return excess, excess == 0

    def _feasible(self) -> npt.NDArray[np.bool_]:
        return np.asarray((self.cost <= self.limits).all(axis=1))

    def _remember(self, inside: npt.NDArray[np.bool_]) -> None:
        """Note new bests of walks and count the steps without."""
        new = inside & (self.objective < self.record - self.least)
        self.record = np.where(new, self.objective, self.record)
        self.stale = np.where(new, 0, self.stale + 1)
        better = new & (self.objective < self.best - self.least)
        self.best = np.where(better, self.objective, self.best)
        self.best_chosen[better] = self.chosen[better]
