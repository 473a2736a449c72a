"""Problems that hypothesis draws: every kind of wish and budget, alone and together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from clado_core import AllocationProblem
from clado_core.problem.allocation_problem import BUDGETS
from clado_core.problem.program import Program
from clado_core.records.scheme import BitWidths, input_bits, weight_bits
from tests.core.instances import MENUS, random_matrix

SLACKS = st.sampled_from((0.0, 0.1, 1.0))


@dataclass(frozen=True)
class Case:
    """What a problem is made of; made in the test, since checks of types there draw at random.

    Args:
        menu: The matrix's.
        seed: Of the matrix.
        kind: As for ``random_matrix``.
        bits: An assignment that keeps all wishes and budgets.
        wishes: Pins, ties, menus and smallest bit-widths.
        slacks: Budget → its share above what ``bits`` take.
    """

    menu: BitWidths
    seed: int
    kind: str
    bits: BitWidths
    wishes: dict[str, Any]
    slacks: dict[str, float]

    def problem(self) -> AllocationProblem:
        """The problem itself."""
        matrix = random_matrix(
            np.random.default_rng(self.seed),
            n_layers=len(self.bits),
            bits=self.menu,
            kind=self.kind,
        )
        kept = AllocationProblem(matrix).assignment(self.bits)
        budgets = {
            name: int(getattr(kept, BUDGETS[name][0]) * (1 + slack))
            for name, slack in self.slacks.items()
        }
        return AllocationProblem(matrix, **self.wishes, **budgets)


@st.composite
def cases(draw: st.DrawFn, *, max_layers: int = 5) -> Case:
    """Wishes and budgets around one assignment that keeps all of them."""
    menu = draw(st.sampled_from(MENUS))
    n_layers = draw(st.integers(1, max_layers))
    tied = draw(st.lists(st.integers(0, n_layers - 1), max_size=3, unique=True))
    bits = [draw(st.sampled_from(menu)) for _ in range(n_layers)]
    for i in tied[1:]:
        bits[i] = bits[tied[0]]
    return Case(
        menu=menu,
        seed=draw(st.integers(0, 2**16)),
        kind=draw(st.sampled_from(("indefinite", "psd", "sparse"))),
        bits=tuple(bits),
        wishes=draw(_wishes(menu, bits, tied)),
        slacks=draw(
            st.dictionaries(st.sampled_from(sorted(BUDGETS)), st.sampled_from((0, 0.1, 1)))
        ),
    )


@st.composite
def _wishes(draw: st.DrawFn, menu: BitWidths, bits: list[int], tied: list[int]) -> dict[str, Any]:
    """Wishes that the given bits keep."""
    layers = st.sets(st.integers(0, len(bits) - 1), max_size=2)
    entries = st.sets(st.sampled_from(menu))
    pins = {f"l{i}": bits[i] for i in draw(layers)}
    allowed = {f"l{i}": tuple(draw(entries) | {bits[i]}) for i in draw(layers)}
    least = {
        f"l{i}": draw(st.sampled_from([b for b in menu if _is_at_least(bits[i], b)]))
        for i in draw(layers)
    }
    if draw(st.booleans()):
        least["l*"] = min(map(weight_bits, bits))
    ties = (tuple(f"l{i}" for i in tied),) if len(tied) > 1 else ()
    return {"pins": pins, "allowed": allowed, "min_bits": least, "ties": ties}


def keeps(problem: AllocationProblem, bits: BitWidths) -> bool:
    """Whether bits keep every wish and budget, from their definitions alone."""
    names, assignment = problem.matrix.layers.names, problem.assignment(bits)
    chosen = dict(zip(names, bits, strict=True))
    limits = (
        (problem.budget_bits, assignment.size_bits),
        (problem.budget_bytes, assignment.size_bytes),
        (problem.budget_bops, assignment.bops),
    )
    return (
        all(limit is None or used <= limit for limit, used in limits)
        and all(chosen[name] == b for name, b in problem.pins.items())
        and all(chosen[name] in menu for name, menu in problem.allowed.items())
        and all(len({chosen[name] for name in tie}) == 1 for tie in problem.ties)
        and all(
            _is_at_least(chosen[name], least)
            for pattern, least in problem.min_bits.items()
            for name in names
            if pattern in ("l*", name)
        )
    )


def _is_at_least(bits: int, least: int) -> bool:
    """Weights, and inputs where the minimum names them."""
    inputs, least_inputs = input_bits(bits), input_bits(least)
    within = least_inputs is None or (inputs is not None and inputs >= least_inputs)
    return within and weight_bits(bits) >= weight_bits(least)


def all_choices(program: Program) -> list[np.ndarray]:
    """Every choice of a program, feasible or not."""
    return [np.array(c, dtype=np.int64) for c in np.ndindex(*program.n_choices.tolist())]
