"""The allocation problem as solvers see it: a quadratic program over one-hot binaries."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from clado_core._typing import Choices, CostMatrix, Limits, Offsets, VariableBits, VariableMatrix
from clado_core.problem.allocation_problem import AllocationProblem, Groups
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import BitWidths, input_bits, weight_bits
from clado_core.records.sizes import fixed_bytes


@dataclass(frozen=True, slots=True)
class Program:
    """Minimize constant + y'Qy over one-hot y with A·y ≤ limits.

    Variables are ordered by decision. A decision is a layer, or several tied ones, that still has
    a choice; pinned layers have moved into Q's diagonal (y_a² = y_a, so linear terms live there)
    and into the constant. Entries of Q between two variables of one decision are zero: exactly
    one of them is chosen, so they never count. Solvers take and return a *choice*: for each
    decision the index of its chosen variable, counted from that decision's first.

    Args:
        Q: Shape (v, v), symmetric.
        constant: What the pinned layers contribute.
        offsets: Shape (d + 1,): decision k owns variables ``offsets[k]:offsets[k + 1]``.
        bits: Shape (v,): the bit-width each variable stands for, ascending within a decision.
        costs: Shape (k, v), whole numbers: what each variable takes of each limited resource.
        limits: Shape (k,): what is left of each resource after the pinned layers.
        members: Per decision, the positions of its layers.
        fixed_bits: Per layer its pinned bit-width, 0 where there is a decision.
    """

    Q: VariableMatrix
    constant: float
    offsets: Offsets
    bits: VariableBits
    costs: CostMatrix
    limits: Limits
    members: tuple[tuple[int, ...], ...]
    fixed_bits: BitWidths

    def __post_init__(self) -> None:
        for array in (self.Q, self.offsets, self.bits, self.costs, self.limits):
            array.flags.writeable = False

    @property
    def n_decisions(self) -> int:
        """d, the number of one-hot groups."""
        return len(self.members)

    @property
    def n_variables(self) -> int:
        """v, the number of binaries."""
        return len(self.bits)

    @property
    def n_choices(self) -> Choices:
        """Choices per decision, shape (d,)."""
        return np.asarray(np.diff(self.offsets))

    @property
    def n_assignments(self) -> int:
        """Choices in all, limits aside."""
        return math.prod(self.n_choices.tolist())

    def variables(self, choice: Choices, /) -> npt.NDArray[np.int64]:
        """Indices of the chosen variables, shape (d,)."""
        return np.asarray(self.offsets[:-1] + choice)

    def objective(self, choice: Choices, /) -> float:
        """constant + y'Qy of a choice, equal to x'Gx of its assignment."""
        chosen = self.variables(choice)
        return self.constant + float(self.Q[np.ix_(chosen, chosen)].sum())

    def is_feasible(self, choice: Choices, /) -> bool:
        """Whether a choice keeps every limit (whole numbers, so no tolerance)."""
        return bool((self.costs[:, self.variables(choice)].sum(axis=1) <= self.limits).all())

    def layer_bits(self, choice: Choices, /) -> BitWidths:
        """One bit-width per layer, pinned layers included."""
        bits = np.array(self.fixed_bits, dtype=np.int64)
        for members, b in zip(self.members, self.bits[self.variables(choice)], strict=True):
            bits[list(members)] = b
        return tuple(bits.tolist())

    def choice_of(self, bits: BitWidths, /) -> Choices:
        """The choice that gives these layers' bit-widths (ties and menus must allow them)."""
        return np.array(
            [
                np.flatnonzero(self.bits[start:stop] == bits[members[0]])[0]
                for start, stop, members in zip(
                    self.offsets[:-1], self.offsets[1:], self.members, strict=True
                )
            ],
            dtype=np.int64,
        )


def without(program: Program, dropped: npt.NDArray[np.bool_], /) -> Program:
    """The program with some variables ruled out; a decision that has one left is settled.

    With S the settled variables, Q gains 2·Σ_{s∈S} Q_as on its diagonal, the constant Σ_{S×S} Q,
    and the limits lose what S costs.

    Args:
        program: What to restrict.
        dropped: Shape (v,); every decision keeps one variable at least.
    """
    left = np.add.reduceat(~dropped, program.offsets[:-1])
    alone = np.repeat(left == 1, program.n_choices)
    settled, free = np.flatnonzero(~dropped & alone), np.flatnonzero(~dropped & ~alone)
    Q = program.Q[np.ix_(free, free)]
    Q[np.diag_indices_from(Q)] += 2 * program.Q[np.ix_(free, settled)].sum(axis=1)
    fixed = np.array(program.fixed_bits, dtype=np.int64)
    for k, a in zip(np.flatnonzero(left == 1), settled, strict=True):
        fixed[list(program.members[k])] = program.bits[a]
    return Program(
        Q=Q,
        constant=program.constant + float(program.Q[np.ix_(settled, settled)].sum()),
        offsets=np.concatenate([[0], np.cumsum(left[left > 1])]).astype(np.int64),
        bits=program.bits[free],
        costs=program.costs[:, free],
        limits=program.limits - program.costs[:, settled].sum(axis=1),
        members=tuple(program.members[k] for k in np.flatnonzero(left > 1)),
        fixed_bits=tuple(fixed.tolist()),
    )


def compile_program(problem: AllocationProblem, /) -> Program:
    """Reduce a problem to the decisions that are left.

    With P the 0/1 matrix from variables to candidates and x₀ the pinned candidates,
    x = P·y + x₀, so Q = P'GP + diag(2·P'G·x₀) and the constant is x₀'G·x₀.
    """
    reduced, variables, x0 = _reduced(problem.matrix, problem.groups())
    costs, limits = _resources(problem)
    return replace(
        reduced,
        costs=variables.sums(costs.T).T,
        limits=limits - costs @ x0.astype(np.int64),
    )


@lru_cache(maxsize=16)
def _reduced(
    matrix: SensitivityMatrix, groups: Groups
) -> tuple[Program, _Variables, npt.NDArray[np.float64]]:
    """The program without limits, P and x₀: the same for every budget."""
    G = np.where(matrix.same_layer() & ~np.eye(len(matrix.G), dtype=bool), 0.0, matrix.G)
    variables, x0, free = _substitution(matrix, groups)
    members = tuple(layers for layers, _ in free)
    offsets = np.cumsum([0] + [len(menu) for _, menu in free], dtype=np.int64)

    Q = variables.sums(variables.sums(G).T)
    decision = np.repeat(np.arange(len(members)), np.diff(offsets))
    Q[np.equal.outer(decision, decision) & ~np.eye(len(Q), dtype=bool)] = 0.0
    Q[np.diag_indices_from(Q)] += 2 * variables.sums(G[:, x0 == 1].sum(axis=1))

    pinned = x0.reshape(matrix.n_layers, matrix.n_bits).astype(np.int64)
    program = Program(
        Q=(Q + Q.T) / 2,
        constant=float(x0 @ G @ x0),
        offsets=offsets,
        bits=np.array([b for _, menu in free for b in menu], dtype=np.int64),
        costs=np.zeros((0, len(Q)), dtype=np.int64),
        limits=np.zeros(0, dtype=np.int64),
        members=members,
        fixed_bits=tuple((pinned @ np.array(matrix.bit_widths)).tolist()),
    )
    return program, variables, x0


@dataclass(frozen=True, slots=True)
class _Variables:
    """P as the candidates that stand for each variable: ``rows[t]`` belongs to ``variables[t]``."""

    rows: npt.NDArray[np.int64]
    variables: npt.NDArray[np.int64]

    def sums(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """P'·values.

        No matrix product: that would go to BLAS, whose threads were measured to wait 50 ms for
        each other on a busy machine.
        """
        n = int(self.variables[-1]) + 1 if len(self.variables) else 0
        result = np.zeros((n, *values.shape[1:]), dtype=values.dtype)
        np.add.at(result, self.variables, values[self.rows])
        return result


def _substitution(
    matrix: SensitivityMatrix, groups: Groups
) -> tuple[_Variables, npt.NDArray[np.float64], list[tuple[tuple[int, ...], BitWidths]]]:
    """P, x₀ and the groups that still have a choice."""
    free = [(layers, menu) for layers, menu in groups if len(menu) > 1]
    pinned = [(layers, menu) for layers, menu in groups if len(menu) == 1]

    def candidates(layers: tuple[int, ...], bits: int) -> list[int]:
        return [i * matrix.n_bits + matrix.bit_widths.index(bits) for i in layers]

    variables = [candidates(layers, b) for layers, menu in free for b in menu]
    rows = np.array([row for chosen in variables for row in chosen], dtype=np.int64)
    columns = np.repeat(np.arange(len(variables)), [len(chosen) for chosen in variables])
    x0 = np.zeros(len(matrix.G))
    for layers, menu in pinned:
        x0[candidates(layers, menu[0])] = 1.0
    return _Variables(rows, columns), x0, free


def _resources(problem: AllocationProblem) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What each candidate takes of each limited resource, shape (k, n), and the limits (k,)."""
    matrix, budgets = problem.matrix, problem.budgets
    costs = [resource_costs(matrix, budget) for budget in budgets]
    flat = np.array(costs, dtype=np.int64).reshape(len(costs), len(matrix.G))
    # A limit above what everything takes limits nothing, and need not fit 64 bits.
    most = [int(np.max(taken, axis=1).sum()) for taken in costs]
    left = [
        limit - (fixed_bytes(matrix.layers, matrix.scheme) if budget == "budget_bytes" else 0)
        for budget, limit in budgets.items()
    ]
    return flat, np.array([min(pair) for pair in zip(left, most, strict=True)], dtype=np.int64)


def resource_costs(matrix: SensitivityMatrix, budget: str, /) -> npt.NDArray[np.int64]:
    """What each candidate takes of one resource, shape (L, B), whole numbers.

    Args:
        matrix: Its layers and bit-widths.
        budget: A field of AllocationProblem that limits the resource. Of a file's bytes, those that
            no choice changes are left out.
    """
    table, bit_widths = matrix.layers, [weight_bits(b) for b in matrix.bit_widths]
    if budget == "budget_bits":
        return np.asarray(np.multiply.outer(table.n_weights, bit_widths))
    if budget == "budget_bytes":
        packed = [[layer.weight_bytes(b) for b in bit_widths] for layer in table.layers]
        return np.array(packed, dtype=np.int64)
    acts = [input_bits(b) or matrix.scheme.activation_bits for b in matrix.bit_widths]
    return np.asarray(np.multiply.outer(table.macs, np.multiply(bit_widths, acts)))
