"""What the README says of networks as they are shipped; every number comes from ``assets/``."""

from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control

from clado_core.evidence import Evidence, Outcome
from clado_core.evidence.choices import (
    CALIBRATED_REPAIRED,
    CLADO_REPAIRED,
    DIAGONAL_REPAIRED,
    REFINED_REPAIRED,
)
from clado_core.records.names import CLADO, UNIFORM
from tests.evidence_table import label

LEADING_BUDGETS = (2.1, 2.25, 2.5, 3.0, 4.0)
TIGHTEST = (2.25, 2.5)
SCARCE = 3.0
"""Bits are scarce up to here."""
COLUMNS = {
    DIAGONAL_REPAIRED: "diagonal",
    CLADO_REPAIRED: "CLADO",
    CALIBRATED_REPAIRED: "calibrated",
    REFINED_REPAIRED: "refined",
}
RANKED = ("nearest", "nearest, diagonal", "repaired", "repaired, diagonal", "calibrated")
RATE = 0.05
"""Of false discoveries among all that are called significant."""


def with_repair(several: list[Evidence], /) -> list[Evidence]:
    """Evidence of networks that were also run as repaired."""
    return [evidence for evidence in several if evidence.repair is not None]


def shipped_table(several: list[Evidence], /) -> str:
    """Measured top-1 at some budgets: CLADO's choice rounded, and methods' choices repaired."""
    lines = [
        "| network, quantizer, menu | bits | rounded: CLADO | repaired: uniform | "
        + " | ".join(f"repaired: {name}" for name in COLUMNS.values())
        + " | float |",
        "|---" * (len(COLUMNS) + 5) + "|",
    ]
    for evidence in with_repair(several):
        for budget in LEADING_BUDGETS:
            rounded = _at(evidence, CLADO, budget)
            if rounded is None:
                continue
            cells = [f"{rounded.top1:.1%}", _uniform_cell(evidence, budget)]
            cells += [_cell(_at(evidence, method, budget)) for method in COLUMNS]
            lines.append(
                f"| {label(evidence)} | {budget:g} | {' | '.join(cells)} | "
                f"{evidence.float_top1:.1%} |"
            )
    return "\n".join(lines)


def shipped_verdict(several: list[Evidence], /) -> str:
    """What repairing and choosing are worth, in sentences, whatever they say."""
    known = with_repair(several)
    worth = [
        outcome.repaired.top1 - outcome.top1
        for evidence in known
        for outcome in evidence.of(CLADO)
        if outcome.choice.budget in TIGHTEST and outcome.repaired is not None
    ]
    over_uniform = [
        _top1(_at(evidence, CLADO_REPAIRED, budget)) - _top1(_uniform(evidence, budget))
        for evidence in known
        for budget in TIGHTEST
    ]
    return " ".join(
        [
            f"At {TIGHTEST[0]:g} and {TIGHTEST[1]:g} bits repairing one and the same choice is "
            f"worth {_points(worth)} points, mean of {_count(known)}; choosing "
            "by CLADO on the repaired quantizer instead of the largest uniform bit-width within "
            f"the budget {_points(over_uniform)} points more.",
            _against(known, CLADO_REPAIRED, DIAGONAL_REPAIRED),
            _against(known, CLADO_REPAIRED, CALIBRATED_REPAIRED),
            _against(known, REFINED_REPAIRED, CLADO_REPAIRED),
        ]
    )


def ranking_table(several: list[Evidence], /) -> str:
    """Rank correlation of predicted and measured loss among random assignments of one size."""
    lines = [
        "| network, quantizer, menu | bits | pairs, rounded | diagonal, rounded | pairs, "
        "repaired | diagonal, repaired | calibrated, repaired |",
        "|---" * 7 + "|",
    ]
    for evidence in with_repair(several):
        for ranking in evidence.rankings:
            cells = [f"{value:.2f}" if (value := ranking.by[name]) else "–" for name in RANKED]
            lines.append(f"| {label(evidence)} | {ranking.avg_bits:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _against(several: list[Evidence], method: str, other: str) -> str:
    """One method against another, both repaired, wherever bits are scarce."""
    gaps, ps, signs = [], [], []
    for evidence in several:
        for theirs in evidence.of(other):
            if theirs.choice.budget > SCARCE or theirs.repaired is None:
                continue
            paired = theirs.repaired.paired.get(method)
            if paired is not None:
                gaps.append((paired.gained - paired.lost) / evidence.n)
                ps.append(paired.p)
                signs.append(np.sign(paired.gained - paired.lost))
    sure = false_discovery_control(ps) < RATE if ps else np.zeros(0, dtype=bool)
    better, worse = (int((sure & (np.array(signs) == sign)).sum()) for sign in (1, -1))
    return (
        f"{COLUMNS[method]} − {COLUMNS[other]}, repaired, up to {SCARCE:g} bits: {_points(gaps)} "
        f"points on average, significantly better at {better} and worse at {worse} of {len(gaps)} "
        "budgets (McNemar's exact test, Benjamini–Hochberg at 5 %)."
    )


def _count(several: list[Evidence]) -> str:
    return f"{len(several)} network{'s and settings' if len(several) != 1 else ' and setting'}"


def _points(fractions: list[float]) -> str:
    return f"{100 * float(np.mean(fractions)):+.1f}" if fractions else "–"


def _at(evidence: Evidence, method: str, budget: float) -> Outcome | None:
    return next((o for o in evidence.of(method) if o.choice.budget == budget), None)


def _uniform(evidence: Evidence, budget: float) -> Outcome:
    """The largest uniform bit-width within a budget."""
    return [o for o in evidence.of(UNIFORM) if o.choice.budget <= budget][-1]


def _uniform_cell(evidence: Evidence, budget: float) -> str:
    outcome = _uniform(evidence, budget)
    return f"{_top1(outcome):.1%} ({outcome.choice.budget:g})"


def _top1(outcome: Outcome | None) -> float:
    assert outcome is not None and outcome.repaired is not None, "evidence without a choice"
    return outcome.repaired.top1


def _cell(outcome: Outcome | None) -> str:
    return "–" if outcome is None or outcome.repaired is None else f"{outcome.repaired.top1:.1%}"
