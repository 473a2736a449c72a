"""What the answers at some budgets say about others.

The optimum never rises with the budget. So a choice found for a smaller budget answers a larger
one too, and a bound proven for a larger budget holds for a smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from clado_core.problem.solution import Solution, with_bound


class ProvenBound(NamedTuple):
    """No choice within a budget has a smaller x'Gx than this.

    Args:
        budget_bits: The budget, in bits of searched weights; it holds for smaller ones too.
        value: The bound; −inf says nothing.
        prover: Who proved it, as ``Solution.solver`` names solvers.
    """

    budget_bits: int
    value: float
    prover: str


def shared_answers(
    budgets_bits: Iterable[int], found: Iterable[Solution], bounds: Iterable[ProvenBound], /
) -> tuple[Solution | None, ...]:
    """The best choice found that fits each budget, with the tightest bound that holds there.

    Sorting apart, the time grows with budgets + choices + bounds, not with their product.

    Args:
        budgets_bits: Budgets in bits of searched weights, in any order, shape (p,).
        found: Choices of one matrix; of those with equal x'Gx the smallest counts.
        bounds: Proven for that matrix.

    Returns:
        One answer per budget, None where no choice is as small.
    """
    budgets = list(budgets_bits)
    by_size = sorted(found, key=lambda each: (each.assignment.size_bits, each.objective))
    by_budget = sorted(bounds)
    tightest: dict[int, tuple[float, str]] = {}
    best_bound = (-math.inf, "")
    for budget in sorted(set(budgets), reverse=True):
        while by_budget and by_budget[-1].budget_bits >= budget:
            best_bound = max(best_bound, by_budget.pop()[1:])
        tightest[budget] = best_bound
    answers: dict[int, Solution | None] = {}
    best, next_one = None, 0
    for budget in sorted(tightest):
        while next_one < len(by_size) and by_size[next_one].assignment.size_bits <= budget:
            if best is None or by_size[next_one].objective < best.objective:
                best = by_size[next_one]
            next_one += 1
        answers[budget] = None if best is None else with_bound(best, *tightest[budget])
    return tuple(answers[budget] for budget in budgets)


class ProvenWithin(NamedTuple):
    """No choice within several limits has a smaller x'Gx than this.

    Args:
        limits: One of each resource; it holds for smaller ones too.
        value: The bound; −inf says nothing.
        prover: As for ``ProvenBound``.
    """

    limits: tuple[int, ...]
    value: float
    prover: str


def best_answer(
    limits: tuple[int, ...],
    found: Iterable[tuple[tuple[int, ...], Solution]],
    bounds: Iterable[ProvenWithin],
    /,
) -> Solution | None:
    """The best choice found that keeps several limits, with the tightest bound that holds there.

    Args:
        limits: One of each resource.
        found: What a choice takes of each, and the choice.
        bounds: Proven for the same matrix.

    Returns:
        None where no choice that was found keeps them all.
    """
    fitting = [each for taken, each in found if _are_within(taken, limits)]
    if not fitting:
        return None
    holding = [(b.value, b.prover) for b in bounds if _are_within(limits, b.limits)]
    best = min(fitting, key=lambda each: each.objective)
    return with_bound(best, *max(holding, default=(-math.inf, "")))


def _are_within(taken: tuple[int, ...], limits: tuple[int, ...]) -> bool:
    return all(use <= limit for use, limit in zip(taken, limits, strict=True))
