"""Tables of what every 1-move and every 2-swap of an assignment would change."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from clado_core._typing import Choices
from clado_core.problem.program import Program

Moves = tuple[int, ...]
"""Variables to switch on: one, or two of different decisions."""


class Neighbourhood:
    """A current choice, and the change of the objective under each move from it.

    With c(a) the variable chosen where a belongs, F = Q·y and y the current choice, switching a
    on changes the objective by

        one[a] = (Q_aa + 2F_a) − (2F_c(a) − Q_c(a)c(a)),

    and switching a and b on, of different decisions, by one[a] + one[b] + cross[a, b] with

        cross[a, b] = 2(Q_ab − Q_a,c(b) − Q_c(a),b + Q_c(a),c(b)).

    All tables follow a move in O(v·B); evaluating all pairs is O(v²), vectorized.

    Args:
        program: What is minimized.
        choice: Where to start; it may break limits, moves then have to mend them.
    """

    def __init__(self, program: Program, choice: Choices, /) -> None:
        self.program = program
        self.decision = np.repeat(np.arange(program.n_decisions), program.n_choices)
        self._costs = program.costs.astype(np.float64)
        self._limits = program.limits.astype(np.float64)
        self._diagonal = program.Q.diagonal()
        self.scale = float(np.abs(program.Q).max(initial=0.0))
        self.place(choice)

    def place(self, choice: Choices, /) -> None:
        """Stand at this choice, all tables computed afresh."""
        Q = self.program.Q
        self.chosen = self.program.variables(choice)
        self._field = Q[:, self.chosen].sum(axis=1)
        here = self.chosen[self.decision]
        beside = Q[:, here]
        self._cross = 2 * (Q - beside - beside.T + beside[here])
        self._cross[np.equal.outer(self.decision, self.decision)] = math.inf
        self._refresh()

    @property
    def choice(self) -> Choices:
        """The current choice."""
        return np.asarray(self.chosen - self.program.offsets[:-1])

    @property
    def objective(self) -> float:
        """The current objective, less the program's constant."""
        return float(self._field[self.chosen].sum())

    @property
    def slack(self) -> npt.NDArray[np.float64]:
        """What is left of each limit, shape (k,); negative where it is broken."""
        return np.asarray(self._limits - self._costs[:, self.chosen].sum(axis=1))

    def apply(self, move: Moves, /) -> None:
        """Switch the move's variables on, and those they replace off."""
        Q = self.program.Q
        for a in move:
            k = self.decision[a]
            self._field += Q[:, a] - Q[:, self.chosen[k]]
            self.chosen[k] = a
        here = self.chosen[self.decision]
        for a in move:
            k = self.decision[a]
            start, stop = self.program.offsets[k : k + 2]
            rows = Q[start:stop] - Q[a]
            cross = 2 * (rows - rows[:, here])
            cross[:, start:stop] = math.inf
            self._cross[start:stop] = cross
            self._cross[:, start:stop] = cross.T
        self._refresh()

    def best_move(
        self, discouraged: npt.NDArray[np.float64] | float = 0.0, /
    ) -> tuple[float, Moves]:
        """The move with the smallest change among those that keep every limit.

        Args:
            discouraged: Shape (v,), added to the change of a move that switches the variable on;
                +inf forbids it.

        Returns:
            The change (+inf where no move is left) and the move.
        """
        single, pairs = self._changes(self.one + discouraged)
        a = int(single.argmin())
        i, j = divmod(int(pairs.argmin()), len(single))
        if single[a] <= pairs[i, j]:
            return float(single[a]), (a,)
        return float(pairs[i, j]), (i, j)

    def ranked_moves(self, n: int, /) -> list[Moves]:
        """The n moves with the smallest change that keep every limit, best first."""
        single, pairs = self._changes(self.one)
        pairs[np.tril_indices_from(pairs)] = math.inf
        changes = np.concatenate([single, pairs.ravel()])
        order = np.argsort(changes, kind="stable")[:n].tolist()
        v = len(single)
        return [(m,) if m < v else divmod(m - v, v) for m in order if math.isfinite(changes[m])]

    def _changes(
        self, one: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Changes of 1-moves (v,) and of 2-swaps (v, v); +inf where a limit would break."""
        single = one.copy()
        pairs = self._cross + one
        pairs += one[:, None]
        for cost, room in zip(self.extra, self.slack, strict=True):
            single[cost > room] = math.inf
            pairs[np.add.outer(cost, cost) > room] = math.inf
        return single, pairs

    def _refresh(self) -> None:
        """one, shape (v,), +inf at chosen variables; extra, shape (k, v): what a move costs."""
        twice = 2 * self._field
        keep = (twice - self._diagonal)[self.chosen]
        self.one = self._diagonal + twice - keep[self.decision]
        self.one[self.chosen] = math.inf
        self.extra = self._costs - self._costs[:, self.chosen][:, self.decision]
