"""What evidence says in few numbers: gains where bits are scarce, and who wins how surely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clado_core.evidence.choices import METHODS
from clado_core.evidence.record import Evidence, Outcome
from clado_core.records.names import CLADO

TIGHT_LOSS = 0.02
"""A budget is tight where the additive model or a uniform choice loses this much accuracy."""
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Gain:
    """A method against another over the tight budgets.

    Args:
        method: One of ``REFERENCES``.
        against: The other method.
        budgets: The tight budgets at which both have a choice, average bits.
        points: Mean difference of top-1 accuracy, as a fraction; positive where the method is
            better.
        wins: Budgets where it is significantly better, of all budgets, tight or not.
        losses: Budgets where it is significantly worse.
    """

    method: str
    against: str
    budgets: tuple[float, ...]
    points: float | None
    wins: int
    losses: int


def tight_budgets(evidence: Evidence, /) -> tuple[float, ...]:
    """Budgets where diagonal or uniform loses 2 points or more of the float network's top-1."""
    limit = evidence.float_top1 - TIGHT_LOSS
    return tuple(
        sorted(
            {
                each.choice.budget
                for method in ("diagonal", "uniform")
                for each in evidence.of(method)
                if each.top1 <= limit
            }
        )
    )


def gains(evidence: Evidence, method: str = CLADO, /) -> tuple[Gain, ...]:
    """A method against every other that was evaluated, in the order of ``METHODS``."""
    others = [name for name in METHODS if name != method and evidence.of(name)]
    return tuple(_gain(evidence, method, name) for name in others)


def mean_points(evidence: Evidence, method: str, against: str, /) -> float | None:
    """Mean difference of top-1 at the tight budgets where both have a choice, as a fraction."""
    ours = {each.choice.budget: each.top1 for each in evidence.of(method)}
    theirs = {each.choice.budget: each.top1 for each in evidence.of(against)}
    both = [b for b in tight_budgets(evidence) if b in ours and b in theirs]
    return float(np.mean([ours[b] - theirs[b] for b in both])) if both else None


def mean_gain(several: list[Evidence], method: str, against: str, /) -> float | None:
    """Mean over networks of a method's gain at their tight budgets; None where there is none."""
    found = [mean_points(evidence, method, against) for evidence in several]
    known = [points for points in found if points is not None]
    return float(np.mean(known)) if known else None


def _gain(evidence: Evidence, method: str, against: str) -> Gain:
    others = [each for each in evidence.of(against) if method in each.paired]
    budgets = {each.choice.budget for each in others}
    return Gain(
        method,
        against,
        tuple(budget for budget in tight_budgets(evidence) if budget in budgets),
        mean_points(evidence, method, against),
        sum(significant(each, method) > 0 for each in others),
        sum(significant(each, method) < 0 for each in others),
    )


def significant(other: Outcome, method: str = CLADO, /) -> int:
    """1 where a method is significantly better than this outcome, −1 where worse, else 0."""
    paired = other.paired.get(method)
    if paired is None or paired.p >= SIGNIFICANT:
        return 0
    return 1 if paired.gained > paired.lost else -1
