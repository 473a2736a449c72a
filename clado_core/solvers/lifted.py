"""A program in the products of its variables: what a doubly non-negative relaxation is about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.linalg

from clado_core.problem.program import Program

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LiftedProgram:
    """Minimize ⟨C, U⟩ over U = uu' with u = (1, y, s): one-hot y, and slacks s of the budgets.

    With e_a what variable a costs beyond the cheapest of its decision, and r the room that these
    leave, a budget reads Σ e_a·y_a / r + s = 1 with s ≥ 0. All of u is non-negative, so all of U
    is; slack times variable is the budget times that variable. U is zero where two variables of
    one decision, or of a forbidden pair, meet. U_aa = U_0a for variables.

    Args:
        program: Not settled.
        forbidden: Shape (v, v), symmetric: pairs that no answer of interest has.
    """

    program: Program
    forbidden: Mask

    @property
    def n_variables(self) -> int:
        """v, of the program."""
        return self.program.n_variables

    @property
    def size(self) -> int:
        """N = 1 + v + budgets that can bind."""
        return 1 + self.n_variables + len(self.binding)

    @property
    def longest(self) -> float:
        """What u'u of an assignment is at most: u_0, one variable a decision, and the slacks."""
        return float(1 + self.program.n_decisions + len(self.binding))

    @cached_property
    def decision(self) -> npt.NDArray[np.int64]:
        """Shape (v,): the decision that each variable belongs to."""
        return np.repeat(np.arange(self.program.n_decisions), self.program.n_choices)

    @cached_property
    def inside(self) -> Mask:
        """Shape (v, v): pairs of one decision, the diagonal included."""
        return np.equal.outer(self.decision, self.decision)

    @cached_property
    def binding(self) -> npt.NDArray[np.int64]:
        """Which of the program's limits an assignment can break."""
        most = np.maximum.reduceat(self.program.costs, self.program.offsets[:-1], axis=1)
        return np.flatnonzero(most.sum(axis=1) > self.program.limits)

    @cached_property
    def room(self) -> Vector:
        """Of the binding budgets: the limit less the cheapest of every decision, at least 1."""
        program = self.program
        cheapest = np.minimum.reduceat(program.costs, program.offsets[:-1], axis=1)
        room = (program.limits - cheapest.sum(axis=1))[self.binding]
        return np.asarray(np.maximum(room, 1), dtype=np.float64)

    @cached_property
    def shares(self) -> Matrix:
        """e / r, shape (budgets, v): what each variable takes of the room."""
        program = self.program
        cheapest = np.minimum.reduceat(program.costs, program.offsets[:-1], axis=1)
        extra = program.costs - np.repeat(cheapest, program.n_choices, axis=1)
        return np.asarray(extra[self.binding] / self.room[:, None])

    @cached_property
    def C(self) -> Matrix:
        """The objective, shape (N, N): linear terms in row 0, products between decisions."""
        v, Q = self.n_variables, self.program.Q
        C = np.zeros((self.size, self.size))
        C[1 : v + 1, 1 : v + 1] = Q
        np.fill_diagonal(C, 0.0)
        C[0, 1 : v + 1] = C[1 : v + 1, 0] = Q.diagonal() / 2
        C[0, 0] = self.program.constant
        return C

    @cached_property
    def equations(self) -> Matrix:
        """A·u = 0: one row per decision, Σ y_a − u_0, then one per budget; shape (·, N)."""
        v, d = self.n_variables, self.program.n_decisions
        A = np.zeros((d + len(self.binding), self.size))
        A[:, 0] = -1.0
        A[:d, 1 : v + 1] = np.equal.outer(np.arange(d), self.decision)
        A[d:, 1 : v + 1] = self.shares
        A[d:, v + 1 :] = np.eye(len(self.binding))
        return A

    @cached_property
    def basis(self) -> Matrix:
        """Orthonormal columns that span the solutions of the equations: U = V·R·V'."""
        return np.asarray(scipy.linalg.null_space(self.equations))

    @cached_property
    def zero(self) -> Mask:
        """Where U is zero, shape (N, N)."""
        v = self.n_variables
        zero = np.zeros((self.size, self.size), dtype=bool)
        zero[1 : v + 1, 1 : v + 1] = (self.inside & ~np.eye(v, dtype=bool)) | self.forbidden
        return zero

    def forbidding(self, forbidden: Mask, /) -> LiftedProgram:
        """The same with other forbidden pairs; what does not depend on them is not made again."""
        other = LiftedProgram(self.program, forbidden)
        known = {k: value for k, value in self.__dict__.items() if k not in {"forbidden", "zero"}}
        other.__dict__.update(known)
        return other

    def point(self, y: Vector, /) -> Vector:
        """u of a point of the program's relaxation, its slacks cut off at 0."""
        slack = np.maximum(1.0 - self.shares @ y, 0.0)
        return np.concatenate([[1.0], y, slack])


def lift(program: Program, /) -> LiftedProgram:
    """A program without forbidden pairs."""
    v = program.n_variables
    return LiftedProgram(program, np.zeros((v, v), dtype=bool))


def narrowed(
    wide: LiftedProgram, program: Program, /
) -> tuple[LiftedProgram, Matrix, npt.NDArray[np.int64]]:
    """The lifted form of a program with fewer candidates, and how the wide one's u follow from it.

    Args:
        wide: The lifted form before candidates were ruled out.
        program: Not settled; its decisions are decisions of the wide one.

    Returns:
        The narrow form, with the forbidden pairs that are left; T, shape (N, n), with
        u_wide = T·u; and for each entry of u the wide one's that it is, shape (n,).
    """
    kept = _positions(wide.program, program)
    narrow = LiftedProgram(program, wide.forbidden[np.ix_(kept, kept)])
    v, n = wide.n_variables, narrow.n_variables
    T = np.zeros((wide.size, narrow.size))
    T[0, 0] = 1.0
    T[1 + kept, 1 + np.arange(n)] = 1.0
    T[1 + _settled(wide.program, program), 0] = 1.0
    same = [list(wide.binding).index(k) for k in narrow.binding]
    # What is left of a budget is the same amount; where the budget can no longer be broken it is
    # what the variables leave.
    T[1 + v :] = T[0] - wide.shares @ T[1 : 1 + v]
    T[1 + v + np.array(same, dtype=np.int64)] = 0.0
    for k, j in enumerate(same):
        T[1 + v + j, 1 + n + k] = narrow.room[k] / wide.room[j]
    entries = np.concatenate([[0], 1 + kept, 1 + v + np.array(same, dtype=np.int64)])
    return narrow, T, entries


def _positions(wide: Program, program: Program) -> npt.NDArray[np.int64]:
    """Where the program's variables stand among the wide one's."""
    decision_of = {members: k for k, members in enumerate(wide.members)}
    found = []
    for k, members in enumerate(program.members):
        start, stop = wide.offsets[decision_of[members] :][:2]
        own = program.bits[program.offsets[k] : program.offsets[k + 1]]
        found.append(start + np.flatnonzero(np.isin(wide.bits[start:stop], own)))
    return np.concatenate(found).astype(np.int64)


def _settled(wide: Program, program: Program) -> npt.NDArray[np.int64]:
    """Variables of the wide program that every assignment of the other has."""
    left = set(program.members)
    return np.array(
        [
            start + int(np.flatnonzero(wide.bits[start:stop] == program.fixed_bits[members[0]])[0])
            for members, start, stop in zip(
                wide.members, wide.offsets[:-1], wide.offsets[1:], strict=True
            )
            if members not in left
        ],
        dtype=np.int64,
    )
