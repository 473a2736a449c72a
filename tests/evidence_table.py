"""What the README says of the stored evidence; every number comes from ``assets/``."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np

from clado_core.evidence import Evidence, Outcome, load_evidence
from clado_core.evidence.choices import (
    CALIBRATED_REPAIRED,
    CLADO_REPAIRED,
    DIAGONAL_REPAIRED,
    REFERENCES,
    REFINED_REPAIRED,
)
from clado_core.evidence.record import SUFFIX
from clado_core.evidence.summary import gains, mean_gain, significant, tight_budgets
from clado_core.records.names import CLADO, REFINED

SHOWN_BUDGETS = (2.1, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 5.0)
COLUMNS = {
    CLADO_REPAIRED: "CLADO (repaired)",
    REFINED_REPAIRED: "refined (repaired)",
    CALIBRATED_REPAIRED: "calibrated (repaired)",
    DIAGONAL_REPAIRED: "diagonal (repaired)",
    REFINED: "refined",
    CLADO: "CLADO",
    "clado-psd": "PSD (paper)",
    "clado-shrunk": "shrunk",
    "logit-gram": "logit-gram",
    "diagonal": "diagonal",
    "block": "block",
    "hawq": "HAWQ",
    "mpqco": "MPQCO",
    "uniform": "uniform",
}
KL = ", kl"
"""Ends the setting of evidence whose matrix was measured without labels."""
COMPARED = (
    (REFINED, "diagonal"),
    (REFINED, CLADO),
    (CLADO, "diagonal"),
    (CLADO, "block"),
    (CLADO, "hawq"),
    (CLADO, "mpqco"),
    (CLADO, "clado-psd"),
    (CLADO, "clado-shrunk"),
    (CLADO, "logit-gram"),
)
"""(method, what it is compared with) of the summary."""


def stored_evidence(folder: Path, /) -> list[Evidence]:
    """All evidence of the CIFAR-10 networks in a folder, setting by setting."""
    several = [load_evidence(path) for path in sorted(folder.glob(f"cifar10-*{SUFFIX}"))]
    return sorted(several, key=lambda evidence: (setting(evidence), evidence.name))


def summary_table(several: list[Evidence], /) -> str:
    """Mean differences at the tight budgets, a row per network and a mean per setting."""
    heads = [f"{COLUMNS[method]} − {COLUMNS[against]}" for method, against in COMPARED]
    lines = [
        f"| network, quantizer, menu | float | tight budgets | {' | '.join(heads)} | predicted ~ "
        "measured |",
        "|---" * (len(COMPARED) + 4) + "|",
    ]
    for name, group in groupby(several, key=setting):
        alike = list(group)
        lines += [_summary_row(evidence) for evidence in alike]
        means = [mean_gain(alike, *pair) for pair in COMPARED]
        cells = ["–" if mean is None else f"**{100 * mean:+.1f}**" for mean in means]
        lines.append(f"| **mean**, {name} | | | {' | '.join(cells)} | |")
    return "\n".join(lines)


def verdict(several: list[Evidence], /) -> str:
    """What refining, clipping and the other loss do on average, in sentences."""
    labelled = [evidence for evidence in several if not setting(evidence).endswith(KL)]
    parts = []
    for method in (REFINED, CLADO, "clado-psd", "clado-shrunk"):
        mean = mean_gain(labelled, method, "diagonal")
        won = [g for e in labelled for g in gains(e, method) if g.against == "diagonal"]
        if mean is not None:
            counts = (
                f", significantly better at {sum(g.wins for g in won)} budgets and worse at "
                f"{sum(g.losses for g in won)}"
                if method in REFERENCES
                else ""
            )
            parts.append(f"{COLUMNS[method]} {100 * mean:+.1f} points{counts}")
    sentence = f"Over diagonal, mean of the networks and settings: {'; '.join(parts)}."
    return " ".join([sentence, *_where_worse(labelled), *_by_loss(several)])


def _where_worse(several: list[Evidence]) -> list[str]:
    """How good any method is where the refined choices are behind diagonal's."""
    best = [
        max(each.top1 for each in evidence.outcomes if each.choice.budget == other.choice.budget)
        for evidence in several
        for other in evidence.of("diagonal")
        if significant(other, REFINED) < 0
    ]
    if not best:
        return []
    return [f"Where refined is worse, no method classifies more than {max(best):.0%} right."]


def _by_loss(several: list[Evidence]) -> list[str]:
    """CLADO's choices from divergences against its choices from cross-entropies."""
    known = {label(evidence): evidence for evidence in several}
    points = []
    for evidence in several:
        other = known.get(label(evidence) + KL)
        if other is not None:
            theirs = {each.choice.budget: each.top1 for each in other.of(CLADO)}
            tight = tight_budgets(evidence)
            ours = [each for each in evidence.of(CLADO) if each.choice.budget in tight]
            points.append(np.mean([theirs[each.choice.budget] - each.top1 for each in ours]))
    if not points:
        return []
    return [
        f"Measured without labels (`--loss kl`), CLADO's choices change by "
        f"{100 * np.mean(points):+.1f} points at tight budgets, mean of {len(points)}."
    ]


def accuracy_table(several: list[Evidence], /, *, repaired: bool = False) -> str:
    """Measured top-1 of every method at some budgets, as Markdown; as rounded, or as repaired."""
    lines = [
        "| network, quantizer, menu | bits | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for evidence in several:
        for budget in SHOWN_BUDGETS:
            found = {
                each.choice.method: each
                for each in evidence.outcomes
                if each.choice.budget == budget
            }
            cells = [_cell(found.get(method), repaired=repaired) for method in COLUMNS]
            lines.append(f"| {label(evidence)} | {budget:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def label(evidence: Evidence, /) -> str:
    """Network, quantizer and menu as people write them."""
    return f"{evidence.network.removeprefix('cifar10-')}, {setting(evidence)}"


def setting(evidence: Evidence, /) -> str:
    """Quantizer, menu and what is not the default, from the artifact's name."""
    granularity, menu, *others = evidence.name.partition("-per-")[2].split("-")
    return ", ".join([f"per {granularity}", "/".join(menu), *others])


def _summary_row(evidence: Evidence) -> str:
    cells = []
    for method, against in COMPARED:
        gain = next((g for g in gains(evidence, method) if g.against == against), None)
        known = gain is not None and gain.points is not None
        cells.append(f"{100 * gain.points:+.1f} ({gain.wins}:{gain.losses})" if known else "–")
    correlation = evidence.rank_correlation()
    seen = evidence.rank_correlation(held_out=False)
    along = "–" if None in (correlation, seen) else f"{correlation:.3f} ({seen:.3f})"
    return (
        f"| {label(evidence)} | {evidence.float_top1:.1%} | {len(tight_budgets(evidence))} | "
        f"{' | '.join(cells)} | {along} |"
    )


def _cell(outcome: Outcome | None, *, repaired: bool) -> str:
    if outcome is None:
        return "–"
    if repaired:
        return "–" if outcome.repaired is None else f"{outcome.repaired.top1:.1%}"
    return f"{outcome.top1:.1%}" + {1: "▼", 0: "", -1: "▲"}[significant(outcome)]
