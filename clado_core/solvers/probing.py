"""What a sum of squares costs at least where variables are on: a probe of all of them at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from clado_core.solvers.lifted import LiftedProgram, Matrix, Vector

ROUNDING = 1e-13
"""Of a diagonal entry: what the inverse's entries lose in double precision, with room."""

KEPT = 1 - 1e-6
"""Share of a minimum that is claimed, for what its small systems lose."""


class Probe:
    """The least u'Su of points with u_0 = 1 and some variables on, S ⪰ 0 on the lifted form's span.

    With P = V·(V'SV + ε)⁻¹·V' and E the entries of u that are fixed, to c, the least
    u'(S + ε)u is c'(P_EE)⁻¹c, one small system for each candidate instead of one program; and
    u'u ≤ ``lifted.longest`` for assignments.

    Args:
        lifted: The form; its decisions and its basis V.
        spectrum: Eigenvalues of V'SV, shape (w,), none negative.
        vectors: Their eigenvectors, shape (w, w).
        ridge: ε > 0, in units of the objective.
    """

    def __init__(
        self, lifted: LiftedProgram, spectrum: Vector, vectors: Matrix, ridge: float, /
    ) -> None:
        self._lifted = lifted
        self._lost = ridge * lifted.longest
        half = lifted.basis @ (vectors / np.sqrt(spectrum + ridge))
        self._P = half @ half.T
        diagonal = self._P.diagonal()
        # A larger diagonal can only lower what is claimed.
        room = ROUNDING * (diagonal + np.sqrt(diagonal * diagonal.sum()))
        self._P[np.diag_indices_from(self._P)] += room

    def singles(self) -> Vector:
        """Where a variable is on and the others of its decision are off, shape (v,)."""
        offsets = self._lifted.program.offsets
        found = np.zeros(self._lifted.n_variables)
        for start, stop in pairwise(offsets.tolist()):
            # The last of a decision follows from the others and u_0.
            entries = np.concatenate([[0], np.arange(1 + start, stop)])
            fixed = np.vstack([np.ones(stop - start), np.eye(stop - start)[:-1]])
            inverse = np.linalg.inv(self._P[np.ix_(entries, entries)])
            found[start:stop] = (fixed * (inverse @ fixed)).sum(axis=0)
        return self._claimed(found)

    def pairs(self) -> Matrix:
        """Where two variables are on, shape (v, v); of one decision: nothing."""
        v = self._lifted.n_variables
        first, beside = self._P[0, 0], self._P[0, 1 : v + 1]
        # u_0 taken out: the rest of a system of three is one of two.
        centred = self._P[1 : v + 1, 1 : v + 1] - np.outer(beside, beside) / first
        missing, spread = 1 - beside / first, centred.diagonal()
        determinant = np.multiply.outer(spread, spread) - centred**2
        determinant[self._lifted.inside] = np.inf
        squares = np.multiply.outer(missing**2, spread)
        products = np.multiply.outer(missing, missing) * centred
        return self._claimed(1 / first + (squares + squares.T - 2 * products) / determinant)

    def _claimed(self, least: Matrix) -> Matrix:
        return np.asarray(np.maximum(KEPT * least - self._lost, 0.0))
